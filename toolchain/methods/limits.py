"""Limits on what a network may cost besides milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits, checked before anything is trained; None for none.

    Attributes:
        max_macs: multiply-accumulates.
        max_params: weights and biases, batch norm excluded.
        max_memory_bytes: peak memory of activations in float32, as `count.py` defines it.
    """

    max_macs: int | None = None
    max_params: int | None = None
    max_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, limit in self._given():
            if limit < 1:
                raise ValueError(f"{name} must be at least 1, got {limit}")

    def admits(self, *, macs: int, params: int, memory_bytes: int) -> bool:
        """Whether a network with these counts keeps all of them."""
        used = {"max_macs": macs, "max_params": params, "max_memory_bytes": memory_bytes}
        return all(used[name] <= limit for name, limit in self._given())

    def __str__(self) -> str:
        return ", ".join(f"{name} {limit:,}" for name, limit in self._given())

    def _given(self) -> list[tuple[str, int]]:
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, limit) for name, limit in values if limit is not None]
