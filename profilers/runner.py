"""What profiling asks of the machine that runs the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from latency_tables.target import Target

DISTURBED_SHARE = 0.25
"""A session with a larger share of disturbed samples is measured again, if there is time."""


@dataclass(frozen=True, kw_only=True)
class OperatorTimes:
    """One operator of a network as the runtime ran it.

    Attributes:
        name: the runtime's name for it.
        samples_ms: one time for each run that was kept; their mean alone where the device tells
            no more.
    """

    name: str
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OperatorSession:
    """Times of every operator of a network, freshly loaded.

    Attributes:
        operators: in execution order.
        disturbed: share of the samples that other load disturbed, in [0, 1].
    """

    operators: tuple[OperatorTimes, ...]
    disturbed: float


@dataclass(frozen=True, kw_only=True)
class LatencySession:
    """End-to-end latencies of a network, freshly loaded, without a profiler.

    Attributes:
        samples_ms: one for each run that was kept; the median alone where the device tells no
            more.
        runs: how many runs these stand for.
        disturbed: share of them that other load disturbed, in [0, 1].
    """

    samples_ms: tuple[float, ...]
    runs: int
    disturbed: float


class Runner(Protocol):
    """Runs TFLite files on one target and times them."""

    @property
    def target(self) -> Target:
        """Where the times come from."""

    def prepare(self, paths: Sequence[Path]) -> None:
        """Get ready for measuring these files, a batch of them, without a pause in between."""

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        """Times of every operator.

        Raises:
            ModelRejected: the runtime does not take the file.
        """

    def latencies(self, path: Path, *, runs: int, warmup: int) -> LatencySession:
        """End-to-end latencies.

        Raises:
            ModelRejected: the runtime does not take the file.
        """

    def conditions(self) -> Mapping[str, str | float]:
        """What the machine was like in the last session: load, MHz, temperature, time."""
