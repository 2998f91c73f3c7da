"""Tell when this machine is disturbed, and keep the runs that were taken when it was not.

On a shared machine the same network takes one time while the core is its own and up to 1.8 times
that while a neighbour uses the other half of the core. The state changes within milliseconds, and
thread CPU time does not show it. So a fixed reference computation is timed before and after each
run, and the run is kept when both readings are near the best seen: it is judged by the
machine's state, not by its own value. What still happens between the two readings can only add
time, so the slower half of the kept runs goes too.
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Run = TypeVar("Run")

TOLERANCE = 0.08
"""Slow-down of the reference, as a fraction, beyond which a run is disturbed."""

PATIENCE_S = 0.15
"""How long to wait for undisturbed runs of one network before disturbed ones must serve."""

_WARM_UP = 1000
_IGNORED = 20
"""Smallest readings of the reference that are not trusted: the clock of a virtual machine skips
now and then, and a reading is then far too small. Readings of 0 do not count at all."""
_SIZE = 8192


@dataclass(frozen=True)
class Gated(Generic[Run]):
    """Runs that were kept.

    Attributes:
        runs: the undisturbed ones; where too few were, the least disturbed.
        disturbed: share of them that was disturbed, in [0, 1].
    """

    runs: list[Run]
    disturbed: float


class SteadyGate:
    """Takes runs while the machine is undisturbed."""

    def __init__(self) -> None:
        self._input = np.linspace(-2, 2, _SIZE, dtype=np.float32)
        self._output = np.empty_like(self._input)
        self._smallest_ns: list[int] = []
        for _ in range(_WARM_UP):
            self._reference_ns()

    def take(self, measure: Callable[[], Run], count: int) -> Gated[Run]:
        """Measure until ``count`` runs were undisturbed, or patience ends.

        Args:
            measure: takes one run.
            count: undisturbed runs after which to stop; a quarter of them is enough when
                patience ends.
        """
        deadline = time.monotonic() + PATIENCE_S
        taken: list[tuple[float, Run]] = []
        steady = 0
        before = self._reference_ns()
        while steady < count and (len(taken) < count or time.monotonic() < deadline):
            run = measure()
            after = self._reference_ns()
            slowdown = max(before, after) / self._smallest_ns[-1] - 1
            before = after
            taken.append((slowdown, run))
            steady += slowdown <= TOLERANCE
        taken.sort(key=lambda pair: pair[0])
        enough = math.ceil(count / 4)
        runs = [run for _, run in taken[: max(steady, enough)]]
        return Gated(runs, max(0.0, 1 - steady / len(runs)))

    def _reference_ns(self) -> int:
        """Thread CPU time of the reference, its data in the cache already.

        A run, above all a profiled one, empties the caches: that must not look like a neighbour.
        """
        self._compute()
        start = time.thread_time_ns()
        self._compute()
        duration_ns = time.thread_time_ns() - start
        if duration_ns:
            bisect.insort(self._smallest_ns, duration_ns)
            del self._smallest_ns[_IGNORED:]
        return duration_ns

    def _compute(self) -> None:
        np.exp(self._input, out=self._output)
        np.tanh(self._input, out=self._output)


def faster_half(samples_ms: list[float]) -> tuple[float, ...]:
    """The smaller half of the samples, in ascending order."""
    return tuple(sorted(samples_ms)[: (len(samples_ms) + 1) // 2])
