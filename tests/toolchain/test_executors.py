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
from ray_cluster import pids_with

from toolchain.errors import WorkerLost
from toolchain.executors import Executor, ProcessExecutor, SerialExecutor
from toolchain.ray_executor import RayExecutor
from toolchain.worker_pool import WORKER_ENVIRONMENT

HERE = Path(__file__).parent
MakeExecutor = Callable[..., Executor]


@pytest.fixture(params=["processes", pytest.param("ray", marks=pytest.mark.ray)])
def executor_of(request: pytest.FixtureRequest) -> MakeExecutor:
    """An executor with so many workers and an initializer, of each kind that has workers."""

    def make(workers: int, initializer: Callable[[], None] | None = None) -> Executor:
        if request.param == "processes":
            return ProcessExecutor(workers, initializer)
        return RayExecutor(request.getfixturevalue("cluster"), initializer, workers)

    return make


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


def test_workers_load_once_and_outlive_a_call(jobs: ModuleType, executor_of: MakeExecutor) -> None:
    with executor_of(2, partial(jobs.load, 100)) as executor:
        for _ in range(2):
            results = dict(executor.map(jobs.add_loaded, range(9)))
            assert results == {index: index + 100 for index in range(9)}
        first = {pid for _, pid in executor.map(jobs.pid_after_a_moment, range(4))}
        second = {pid for _, pid in executor.map(jobs.pid_after_a_moment, range(4))}
    assert len(first) == 2
    assert second == first
    assert os.getpid() not in first
    wait_until(lambda: not any(is_alive(pid) for pid in first))


def test_no_more_workers_start_than_there_are_items(
    jobs: ModuleType, executor_of: MakeExecutor
) -> None:
    with executor_of(8) as executor:
        assert len({pid for _, pid in executor.map(jobs.pid_after_a_moment, [0])}) == 1
        assert list(executor.map(jobs.square_or_fail, [])) == []


def test_workers_have_one_torch_thread_and_this_process_keeps_its_environment(
    jobs: ModuleType,
    executor_of: MakeExecutor,
) -> None:
    before = dict(os.environ)
    with executor_of(1) as executor:
        ((_, (environment, threads)),) = executor.map(jobs.environment_and_threads, [0])
    assert threads == 1
    assert environment.items() >= WORKER_ENVIRONMENT.items()
    assert dict(os.environ) == before


def test_an_exception_arrives_with_type_item_and_traceback_and_workers_are_fit_for_more(
    jobs: ModuleType, executor_of: MakeExecutor
) -> None:
    with executor_of(2) as executor:
        with pytest.raises(ValueError, match="three is not allowed") as caught:
            list(executor.map(jobs.square_or_fail, [3, 3, 3]))
        notes = "\n".join(caught.value.__notes__)
        assert "while evaluating 3" in notes
        assert "in square_or_fail" in notes
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


LOST = r"3 attempts, at last (with exit code -9|on \S+), while evaluating \('.*', 7\)"


def test_an_item_that_kills_every_worker_is_named_after_three_attempts(
    jobs: ModuleType, executor_of: MakeExecutor, tmp_path: Path
) -> None:
    with (
        executor_of(1) as executor,
        pytest.raises(WorkerLost, match=LOST),
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
    jobs: ModuleType, executor_of: MakeExecutor, tmp_path: Path, number: int, starts: int
) -> None:
    tasks = [(str(tmp_path), item) for item in range(2)]
    arguments = [str(tmp_path), str(int(number)), str(starts)]
    with (
        executor_of(2) as executor,
        subprocess.Popen([sys.executable, "-c", SIGNALLER, *arguments]) as signaller,
    ):
        assert sorted(executor.map(jobs.wait_for_gate, tasks)) == [(0, 0), (1, 1)]
        assert signaller.wait(timeout=10) == 0
    assert len(started_pids(tmp_path)) == starts


def test_a_call_that_is_given_up_leaves_no_worker_busy(
    jobs: ModuleType, executor_of: MakeExecutor, tmp_path: Path
) -> None:
    with executor_of(2) as executor:
        results = executor.map(jobs.square_or_fail, [1, 2, 4, 5, 6])
        next(results)
        results.close()
        assert sorted(executor.map(jobs.square_or_fail, [1, 2])) == [(0, 1), (1, 4)]


PARENT = """
import sys
sys.path[:0] = {path!r}
import executor_jobs
from toolchain.executors import make_executor

if __name__ == "__main__":
    with make_executor(executor_jobs.start, workers=2, ray={ray!r}) as executor:
        list(executor.map(executor_jobs.sleep_long, [sys.argv[1]] * 4))
"""


@pytest.fixture(params=[None, pytest.param("local", marks=pytest.mark.ray)])
def parent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with two busy workers, in a process group of its own."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(path=[str(HERE), str(HERE.parents[1])], ray=request.param))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(HERE), "POCKETNAS_PARENT": str(tmp_path)},
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
        # Agents of a local Ray whose driver is killed need up to a minute to notice.
        for pid in pids_with(str(tmp_path)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=10)


def test_ctrl_c_stops_the_workers_promptly(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=10)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not pids_with(str(tmp_path)))


def test_workers_die_with_a_parent_that_is_killed(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    parent.kill()
    parent.wait(timeout=10)
    wait_until(lambda: not any(is_alive(pid) for pid in started_pids(tmp_path)), timeout_s=15)


def test_at_least_one_worker_is_needed() -> None:
    with pytest.raises(ValueError, match="0 workers"):
        ProcessExecutor(0)
