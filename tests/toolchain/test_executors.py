from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from toolchain.errors import WorkerLost
from toolchain.executors import WORKER_ENVIRONMENT, Executor, ProcessExecutor, SerialExecutor

HERE = Path(__file__).parent


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Functions that a spawned process can import, however pytest imported this file."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("executor_jobs")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead but not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(is_so: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


def started_pids(folder: Path) -> list[int]:
    return [int(file.stem.split("-")[-1]) for file in folder.glob("*.started")]


def test_the_serial_executor_goes_in_order(jobs: ModuleType) -> None:
    assert list(SerialExecutor().map(jobs.square_or_fail, [1, 2, 5])) == [(0, 1), (1, 4), (2, 25)]


@pytest.mark.parametrize("kind", [SerialExecutor, partial(ProcessExecutor, 1)])
def test_executors_are_interchangeable(
    jobs: ModuleType, kind: Callable[[Callable[[], None]], Executor]
) -> None:
    jobs.loaded.clear()
    with kind(partial(jobs.load, 10)) as executor:
        assert list(executor.map(jobs.add_loaded, [1, 2])) == [(0, 11), (1, 12)]


def test_the_serial_executor_names_the_item_that_failed(jobs: ModuleType) -> None:
    with pytest.raises(ValueError, match="three is not allowed") as caught:
        list(SerialExecutor().map(jobs.square_or_fail, [1, 3]))
    assert caught.value.__notes__ == ["while evaluating 3"]


def test_workers_load_once_and_outlive_a_call(jobs: ModuleType) -> None:
    with ProcessExecutor(2, partial(jobs.load, 100)) as executor:
        for _ in range(2):
            results = dict(executor.map(jobs.add_loaded, range(9)))
            assert results == {index: index + 100 for index in range(9)}
        first = {pid for _, pid in executor.map(jobs.pid_after_a_moment, range(4))}
        second = {pid for _, pid in executor.map(jobs.pid_after_a_moment, range(4))}
    assert len(first) == 2
    assert second == first
    assert os.getpid() not in first
    assert not any(is_alive(pid) for pid in first)


def test_no_more_workers_start_than_there_are_items(jobs: ModuleType) -> None:
    with ProcessExecutor(8) as executor:
        assert len({pid for _, pid in executor.map(jobs.pid_after_a_moment, [0])}) == 1
        assert list(executor.map(jobs.square_or_fail, [])) == []


def test_workers_have_one_torch_thread_and_this_process_keeps_its_environment(
    jobs: ModuleType,
) -> None:
    before = dict(os.environ)
    with ProcessExecutor(1) as executor:
        ((_, (environment, threads)),) = executor.map(jobs.environment_and_threads, [0])
    assert threads == 1
    assert environment.items() >= WORKER_ENVIRONMENT.items()
    assert dict(os.environ) == before


def test_an_exception_arrives_with_its_type_the_item_and_the_workers_traceback(
    jobs: ModuleType,
) -> None:
    with (
        ProcessExecutor(2) as executor,
        pytest.raises(ValueError, match="three is not allowed") as caught,
    ):
        list(executor.map(jobs.square_or_fail, range(5)))
    notes = "\n".join(caught.value.__notes__)
    assert "while evaluating 3" in notes
    assert "in square_or_fail" in notes


def test_workers_are_fit_for_the_next_call_after_an_exception(jobs: ModuleType) -> None:
    with ProcessExecutor(2) as executor:
        with pytest.raises(ValueError, match="three"):
            list(executor.map(jobs.square_or_fail, [3, 3, 3]))
        assert sorted(executor.map(jobs.square_or_fail, [1, 2])) == [(0, 1), (1, 4)]


def test_an_exception_that_cannot_travel_arrives_as_its_text(jobs: ModuleType) -> None:
    with (
        ProcessExecutor(1) as executor,
        pytest.raises(RuntimeError, match="FussyError: fussy about pickles"),
    ):
        list(executor.map(jobs.fail_fussily, [0]))


def test_an_initializer_that_fails_is_told(jobs: ModuleType) -> None:
    with (
        ProcessExecutor(1, jobs.fail_to_load) as executor,
        pytest.raises(RuntimeError, match="no data here"),
    ):
        list(executor.map(jobs.add_loaded, [0]))


def test_an_item_whose_worker_was_killed_is_tried_again(jobs: ModuleType, tmp_path: Path) -> None:
    tasks = [(str(tmp_path), number) for number in range(5)]
    with ProcessExecutor(2) as executor:
        results = dict(executor.map(jobs.die_once, tasks))
    assert results == {number: number**2 for number in range(5)}
    assert (tmp_path / "died").exists()


def test_an_item_that_kills_every_worker_is_named_after_three_attempts(
    jobs: ModuleType, tmp_path: Path
) -> None:
    with (
        ProcessExecutor(1) as executor,
        pytest.raises(WorkerLost, match=r"3 attempts.* code -9, while evaluating \('.*', 7\)"),
    ):
        list(executor.map(jobs.always_die, [(str(tmp_path), 7)]))
    assert len(list(tmp_path.glob("attempt-7-*"))) == 3


SIGNALLER = """
import os, sys, time
from pathlib import Path
folder, number, starts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
while len(found := sorted(folder.glob("*.started"))) < 2:
    time.sleep(0.02)
os.kill(int(found[0].stem.split("-")[1]), number)
time.sleep(0.2)
while len(list(folder.glob("*.started"))) < starts:
    time.sleep(0.02)
(folder / "gate").touch()
"""


@pytest.mark.parametrize(("number", "starts"), [(signal.SIGKILL, 3), (signal.SIGINT, 2)])
def test_a_killed_worker_loses_no_item_and_a_worker_leaves_ctrl_c_to_its_parent(
    jobs: ModuleType, tmp_path: Path, number: int, starts: int
) -> None:
    tasks = [(str(tmp_path), item) for item in range(2)]
    arguments = [str(tmp_path), str(int(number)), str(starts)]
    with (
        ProcessExecutor(2) as executor,
        subprocess.Popen([sys.executable, "-c", SIGNALLER, *arguments]) as signaller,
    ):
        assert sorted(executor.map(jobs.wait_for_gate, tasks)) == [(0, 0), (1, 1)]
        assert signaller.wait(timeout=10) == 0
    assert len(started_pids(tmp_path)) == starts


def test_a_call_that_is_given_up_leaves_no_worker_busy(jobs: ModuleType, tmp_path: Path) -> None:
    with ProcessExecutor(2) as executor:
        results = executor.map(jobs.square_or_fail, [1, 2, 4, 5, 6])
        next(results)
        results.close()
        assert sorted(executor.map(jobs.square_or_fail, [1, 2])) == [(0, 1), (1, 4)]


PARENT = """
import sys
sys.path[:0] = {path!r}
import executor_jobs
from toolchain.executors import ProcessExecutor

if __name__ == "__main__":
    with ProcessExecutor(2) as executor:
        list(executor.map(executor_jobs.sleep_long, [sys.argv[1]] * 4))
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with two busy workers, in a process group of its own."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(path=[str(HERE), str(HERE.parents[1])]))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(started_pids(tmp_path)) == 2)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def test_ctrl_c_stops_the_workers_promptly(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=10)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not any(is_alive(pid) for pid in started_pids(tmp_path))


def test_workers_die_with_a_parent_that_is_killed(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    parent.kill()
    parent.wait(timeout=10)
    wait_until(lambda: not any(is_alive(pid) for pid in started_pids(tmp_path)), timeout_s=5)


def test_at_least_one_worker_is_needed() -> None:
    with pytest.raises(ValueError, match="0 workers"):
        ProcessExecutor(0)
