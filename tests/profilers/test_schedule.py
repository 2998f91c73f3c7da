from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.kernel import make_kernel
from profilers.probes import Probe
from profilers.schedule import CANARY_EVERY, ROUNDS_PER_SESSION, Schedule, Task

KERNEL = make_kernel("clamp", ((1, 4, 4, 1),), (1, 4, 4, 1))


def named(prefix: str, count: int) -> list[Probe]:
    return [
        Probe(subject=f"{prefix}{index}", kernels=(KERNEL,), build=bytes) for index in range(count)
    ]


def carried_out(schedule: Schedule, is_good: Callable[[Task], bool]) -> Iterator[Task]:
    for task in schedule:
        yield task
        schedule.settle(task, is_good=is_good(task))


def make_schedule(
    probes: int = 6, networks: int = 5, sessions: int = 3, seed: int = 0
) -> Schedule:
    return Schedule(named("p", probes), named("n", networks), sessions=sessions, seed=seed)


def counts(tasks: list[Task]) -> Counter[str]:
    return Counter(task.subject for task in tasks if task.role != "canary")


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
    tasks = [task for task in make_schedule() if task.role != "canary"]
    rounds = [tasks[start : start + 11] for start in range(0, len(tasks), 11)]
    assert len(rounds) == 3 * ROUNDS_PER_SESSION
    for number, turn in enumerate(rounds):
        assert {task.session for task in turn} == {number}
        assert len({task.subject for task in turn}) == 11
    assert [t.subject for t in rounds[0]] != [t.subject for t in rounds[1]]


def test_the_canary_is_measured_first_and_then_at_even_distances() -> None:
    tasks = list(carried_out(make_schedule(30, 15, 2), lambda _: True))
    places = [index for index, task in enumerate(tasks) if task.role == "canary"]
    assert places == list(range(0, len(tasks), CANARY_EVERY + 1))
    assert len(places) == 5
    canaries = [tasks[place] for place in places]
    assert {task.probe.subject for task in canaries} == {"n0"}
    assert [task.session for task in canaries] == list(range(5))


def test_a_disturbed_canary_is_not_repeated() -> None:
    def run(is_good: bool) -> int:
        tasks = carried_out(make_schedule(), lambda task: task.role != "canary" or is_good)
        return sum(task.role == "canary" for task in tasks)

    assert run(True) == run(False)


def test_without_networks_there_is_no_canary() -> None:
    tasks = list(carried_out(make_schedule(networks=0), lambda _: True))
    assert {task.role for task in tasks} == {"probe"}


def test_progress_counts_undisturbed_sessions() -> None:
    schedule = make_schedule(1, 0, 2)
    progress = []
    verdicts = iter([False, True, False, True])
    for task in schedule:
        schedule.settle(task, is_good=next(verdicts))
        progress.append(schedule.done)
    assert progress == [0, 1, 1, 2]
    with pytest.raises(StopIteration):
        next(verdicts)
