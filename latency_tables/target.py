"""A target: everything that must be equal before two latencies may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from latency_tables.errors import TargetMismatch


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where and how a latency was measured.

    Attributes:
        device: name a person knows the device by, such as ``Pixel 8`` or ``host``.
        fingerprint: build fingerprint of the device; of the host, its CPU model and kernel.
        soc: system on chip, or CPU model.
        abi: instruction set, such as ``arm64-v8a`` or ``x86_64``.
        runtime: name of the inference runtime.
        runtime_version: its version.
        runtime_sha256: hash of the binary that ran.
        delegate: what executed the operators, such as ``xnnpack``.
        precision: element type of the networks.
        threads: threads the runtime was given.
        cpu_mask: hexadecimal mask of the CPUs it might use; ``all`` when not pinned.
        clock: which clock the end-to-end latencies come from: ``thread-cpu`` or ``wall``.
    """

    device: str
    fingerprint: str
    soc: str
    abi: str
    runtime: str
    runtime_version: str
    runtime_sha256: str
    delegate: str = "xnnpack"
    precision: str = "float32"
    threads: int = 1
    cpu_mask: str = "all"
    clock: str = "thread-cpu"

    def __str__(self) -> str:
        cpus = "" if self.cpu_mask == "all" else f", CPUs {self.cpu_mask}"
        return (
            f"{self.device} ({self.soc}), {self.runtime} {self.runtime_version} "
            f"{self.delegate} {self.precision}, {self.threads} thread(s){cpus}"
        )

    def to_json(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, str | int]) -> Target:
        """The target that ``to_json`` wrote.

        Raises:
            ValueError: a field is absent or unknown.
        """
        try:
            return cls(**data)  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(f"not a target: {error}") from error

    def differences(self, other: Target) -> tuple[str, ...]:
        """Every field that differs, with both values, in words; empty for equal targets."""
        return tuple(
            f"{field.name} is {getattr(self, field.name)!r} against {getattr(other, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )

    def require_same(self, other: Target) -> None:
        """Refuse to go on with latencies of another target.

        Raises:
            TargetMismatch: names every field that differs.
        """
        differing = self.differences(other)
        if differing:
            raise TargetMismatch(
                "these latencies are of different targets: "
                + "; ".join(differing)
                + ". Profile this target and use its own table"
            )
