from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.kernel import make_kernel
from profilers.probes import Probe
from profilers.schedule import (
    BATCH,
    DRIFT,
    NARROW,
    ROUNDS_PER_SESSION,
    Batch,
    Schedule,
    Task,
    has_drifted,
)

KERNEL = make_kernel("clamp", ((1, 4, 4, 1),), (1, 4, 4, 1))


def named(prefix: str, count: int) -> list[Probe]:
    return [
        Probe(subject=f"{prefix}{index}", kernels=(KERNEL,), build=bytes) for index in range(count)
    ]


def carried_out(
    schedule: Schedule,
    is_good: Callable[[Task], bool] = lambda _: True,
    ms: Callable[[Task], float] = lambda _: 1.0,
) -> Iterator[Task]:
    for batch in schedule:
        for task in batch.tasks:
            yield task
            schedule.settle(task, ms(task), is_good=is_good(task))


def make_schedule(
    probes: int = 6, networks: int = 5, sessions: int = 3, seed: int = 0
) -> Schedule:
    return Schedule(named("p", probes), named("n", networks), sessions=sessions, seed=seed)


def counts(tasks: list[Task]) -> Counter[str]:
    return Counter(task.subject for task in tasks)


sizes = st.integers(0, 30)


@given(sizes, sizes, st.integers(1, 4), st.integers(0, 99))
def test_undisturbed_networks_are_measured_as_often_as_asked(
    probes: int, networks: int, sessions: int, seed: int
) -> None:
    schedule = make_schedule(probes, networks, sessions, seed)
    found = counts(list(carried_out(schedule, lambda _: True)))
    assert found == {
        **{f"probe p{index}": sessions for index in range(probes)},
        **{f"network n{index}": sessions for index in range(networks)},
    }
    assert schedule.done == schedule.total == found.total()


@given(sizes, sizes, st.integers(1, 4))
def test_always_disturbed_networks_are_given_up_after_their_rounds(
    probes: int, networks: int, sessions: int
) -> None:
    schedule = make_schedule(probes, networks, sessions)
    found = counts(list(carried_out(schedule, lambda _: False)))
    assert set(found.values()) <= {sessions * ROUNDS_PER_SESSION}
    assert len(found) == probes + networks
    assert schedule.done == 0


@given(st.sets(st.tuples(st.integers(0, 10), st.integers(0, 6))), st.integers(0, 9))
def test_a_disturbed_session_is_made_up_for_while_rounds_are_left(
    disturbed: set[tuple[int, int]], seed: int
) -> None:
    """Whatever is disturbed, nobody gets more or fewer sessions than the rule says."""
    sessions = 3
    schedule = make_schedule(6, 5, sessions, seed)
    subjects = [f"probe p{index}" for index in range(6)]
    subjects += [f"network n{index}" for index in range(5)]
    bad = {(subjects[index], session) for index, session in disturbed}
    tasks = list(carried_out(schedule, lambda task: (task.subject, task.session) not in bad))
    for subject, tried in counts(tasks).items():
        good = tried - sum((subject, session) in bad for session in range(tried))
        assert good == sessions or tried == sessions * ROUNDS_PER_SESSION
        assert good <= sessions
    done = [(task.subject, task.session) for task in tasks]
    assert len(set(done)) == len(done)


def test_the_order_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[Task]:
        return list(carried_out(make_schedule(seed=seed), lambda _: True))

    assert order(4) == order(4)
    assert order(4) != order(5)
    assert sorted(order(4), key=str) != order(4)


def test_every_network_has_its_turn_before_any_has_the_next() -> None:
    tasks = list(carried_out(make_schedule(), lambda _: False))
    rounds = [tasks[start : start + 11] for start in range(0, len(tasks), 11)]
    assert len(rounds) == 3 * ROUNDS_PER_SESSION
    for number, turn in enumerate(rounds):
        assert {task.session for task in turn} == {number}
        assert len({task.subject for task in turn}) == 11
    assert [t.subject for t in rounds[0]] != [t.subject for t in rounds[1]]


@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=6))
def test_a_network_whose_sessions_disagree_is_measured_on(values_ms: list[float]) -> None:
    schedule = Schedule(named("p", 1), [], sessions=3, seed=0)
    tried = len(list(carried_out(schedule, ms=lambda task: values_ms[task.session])))

    def agree(taken: list[float]) -> bool:
        return max(taken) - min(taken) <= NARROW * float(np.median(taken))

    assert tried == next((n for n in range(3, 6) if agree(values_ms[:n])), 6)


def test_every_batch_lies_between_two_canaries_which_neighbours_share() -> None:
    schedule = make_schedule(30, 15, 2)
    batches: list[Batch] = []
    for batch in schedule:
        batches.append(batch)
        for task in batch.tasks:
            schedule.settle(task, 1.0, is_good=True)
    assert [len(batch.tasks) for batch in batches] == [BATCH, BATCH, 5] * 2
    assert [batch.number for batch in batches] == list(range(6))
    for batch in batches:
        canary = named("n", 1)[0]
        assert batch.before == Task("canary", canary, batch.number)
        assert batch.after == Task("canary", canary, batch.number + 1)


def test_without_networks_there_is_no_canary() -> None:
    for batch in make_schedule(networks=0):
        assert batch.before is None
        assert batch.after is None


def test_progress_counts_undisturbed_sessions_and_the_last_when_they_agree() -> None:
    schedule = make_schedule(1, 0, 2)
    progress = []
    verdicts = iter([(1.0, False), (1.0, True), (2.0, True), (1.5, True)])
    for batch in schedule:
        (task,) = batch.tasks
        ms, is_good = next(verdicts)
        schedule.settle(task, ms, is_good=is_good)
        progress.append(schedule.done)
    assert progress == [0, 1, 1, 1]


@given(st.floats(0.001, 1e3))
def test_drift_is_told_in_both_directions(ms: float) -> None:
    assert has_drifted(ms, ms * (1 + DRIFT) * 1.01)
    assert has_drifted(ms * (1 + DRIFT) * 1.01, ms)
    assert not has_drifted(ms, ms * (1 + DRIFT) * 0.99)
