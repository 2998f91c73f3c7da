"""How a profile is taken: what must be equal before two profiles of one target are merged."""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("float32", "int8")


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """Settings of one profile.

    Attributes:
        sessions: Times that each model is loaded afresh, in shuffled order.
        runs: Counted runs of a session.
        warmup: Runs before them that are not counted.
        threads: Threads that a model may use.
        precision: "float32" or "int8".
    """

    sessions: int = 2
    runs: int = 20
    warmup: int = 3
    threads: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, least in (("sessions", 1), ("runs", 1), ("warmup", 0), ("threads", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} is {value}; give at least {least}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; give one of {', '.join(PRECISIONS)}"
            )
