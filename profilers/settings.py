"""How a profile is taken: what must be equal before two profiles of one target are merged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """Settings of one profile; what the runtime is told (threads, precision) is in the target.

    Attributes:
        sessions: Times at least that each model is loaded afresh, in shuffled order.
        runs: Counted runs of a session.
        warmup: Runs before them that are not counted.
        contexts: Probes that each kernel is measured in, if so many of the space run it.
        networks: Networks measured end to end, beside the probes: they correct the rows and tell
            how large the errors are that remain. The more there are, the better both are known.
    """

    sessions: int = 2
    runs: int = 20
    warmup: int = 3
    contexts: int = 3
    networks: int = 100

    def __post_init__(self) -> None:
        for name, least in (
            ("sessions", 1),
            ("runs", 1),
            ("warmup", 0),
            ("contexts", 1),
            ("networks", 1),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} is {value}; give at least {least}")
