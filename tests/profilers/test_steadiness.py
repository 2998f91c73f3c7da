"""The gate under a scripted clock, so that what counts as disturbed is known exactly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from profilers import steadiness
from profilers.steadiness import PATIENCE_S, TOLERANCE, SteadyGate, faster_half

QUIET_NS = 10_000


class Clock:
    """Stands in for the operating system's clocks.

    Attributes:
        reference_ns: how long the next reading of the reference takes.
        now_s: elapsed time.
    """

    def __init__(self) -> None:
        self.reference_ns = QUIET_NS
        self.now_s = 0.0
        self._cpu_ns = 0
        self._is_running = False

    def thread_time_ns(self) -> int:
        if self._is_running:
            self._cpu_ns += self.reference_ns
        self._is_running = not self._is_running
        return self._cpu_ns

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(steadiness, "time", clock)
    return clock


class Neighbour:
    """Each run takes a millisecond and leaves the reference slowed by the next factor."""

    def __init__(self, clock: Clock, factors: Iterator[float]) -> None:
        self.taken: list[float] = []
        self._clock = clock
        self._factors = factors

    def measure(self) -> float:
        self._clock.now_s += 1e-3
        factor = next(self._factors)
        self._clock.reference_ns = round(QUIET_NS * factor)
        self.taken.append(factor)
        return factor


def forever(factor: float) -> Iterator[float]:
    while True:
        yield factor


@pytest.mark.parametrize("factor", [1.0, 0.999 + TOLERANCE])
def test_on_a_quiet_machine_it_stops_at_the_count(clock: Clock, factor: float) -> None:
    neighbour = Neighbour(clock, forever(factor))
    gated = SteadyGate().take(neighbour.measure, 8)
    assert gated.runs == neighbour.taken == [factor] * 8
    assert gated.disturbed == 0


def test_a_little_more_than_the_tolerance_is_disturbed(clock: Clock) -> None:
    gated = SteadyGate().take(Neighbour(clock, forever(1.001 + TOLERANCE)).measure, 8)
    assert gated.disturbed == 1


def test_on_a_busy_machine_it_stops_when_patience_ends(clock: Clock) -> None:
    neighbour = Neighbour(clock, forever(1.5))
    gated = SteadyGate().take(neighbour.measure, 8)
    assert clock.now_s == pytest.approx(PATIENCE_S)
    assert gated.runs == [1.5] * 2
    assert gated.disturbed == 1


def test_the_count_is_taken_even_if_it_lasts_longer_than_patience(clock: Clock) -> None:
    neighbour = Neighbour(clock, forever(1.5))
    count = round(PATIENCE_S / 1e-3) * 2
    gated = SteadyGate().take(neighbour.measure, count)
    assert len(neighbour.taken) == count
    assert len(gated.runs) == count / 4


def test_of_disturbed_runs_the_least_disturbed_serve(clock: Clock) -> None:
    # Each is judged by the readings on both sides, so that falling factors are one behind.
    factors = [1.9, 1.8, 1.7, 1.3, 1.2, 1.6, *[2.0] * 1000]
    gated = SteadyGate().take(Neighbour(clock, iter(factors)).measure, 8)
    assert gated.runs == [1.2, 1.6]
    assert gated.disturbed == 1


def test_a_run_counts_only_if_the_machine_was_quiet_before_and_after_it(clock: Clock) -> None:
    factors = [1.0, 1.5, 1.0, 1.0, 1.5, 1.5, 1.0, *[1.5] * 1000]
    neighbour = Neighbour(clock, iter(factors))
    gated = SteadyGate().take(neighbour.measure, 2)
    assert gated.runs == [1.0, 1.0]
    # The third run began while the reference was slow; the fourth did not.
    assert neighbour.taken == [1.0, 1.5, 1.0, 1.0]


@pytest.mark.parametrize(("steady", "kept", "share"), [(1, 4, 0.75), (4, 4, 0.0), (9, 9, 0.0)])
def test_the_share_is_of_the_runs_that_were_kept(
    clock: Clock, steady: int, kept: int, share: float
) -> None:
    factors = [1.0] * steady + [1.5] * 1000
    gated = SteadyGate().take(Neighbour(clock, iter(factors)).measure, 16)
    assert len(gated.runs) == kept
    assert gated.runs[:steady] == [1.0] * steady
    assert gated.disturbed == pytest.approx(share)


@pytest.mark.parametrize("skipped_ns", [0, 5])
def test_readings_that_are_far_too_small_do_not_make_quiet_runs_look_disturbed(
    clock: Clock, skipped_ns: int
) -> None:
    gate = SteadyGate()
    for _ in range(9):  # two readings each
        clock.reference_ns = skipped_ns
        gate.take(lambda: None, 1)
        clock.reference_ns = QUIET_NS
    assert gate.take(Neighbour(clock, forever(1.0)).measure, 4).disturbed == 0


def test_a_clock_that_often_reads_nothing_is_borne(clock: Clock) -> None:
    gate = SteadyGate()
    clock.reference_ns = 0
    assert gate.take(lambda: "run", 500).runs == ["run"] * 500
    clock.reference_ns = QUIET_NS
    assert gate.take(Neighbour(clock, forever(1.5)).measure, 4).disturbed == 1


def test_the_faster_half_is_ascending_and_never_empty() -> None:
    assert faster_half([3.0, 1.0, 2.0, 4.0]) == (1.0, 2.0)
    assert faster_half([3.0, 1.0, 2.0]) == (1.0, 2.0)
    assert faster_half([5.0]) == (5.0,)


def test_the_real_clock_gives_as_many_runs_as_promised() -> None:
    runs = iter(range(10**9))
    gated = SteadyGate().take(lambda: next(runs), 40)
    assert 10 <= len(gated.runs) <= 40
    assert len(set(gated.runs)) == len(gated.runs)
    assert 0 <= gated.disturbed <= 1
