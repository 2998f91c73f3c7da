"""Functions that the tests of executors send to worker processes; importable by name there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

loaded: list[int] = []


def load(count: int) -> None:
    loaded.extend(range(count))


def start() -> None:
    """Nothing that items need."""


def fail_to_load() -> None:
    raise RuntimeError("no data here")


def add_loaded(number: int) -> int:
    return number + len(loaded)


def pid_after_a_moment(_item: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def environment_and_threads(_item: int) -> tuple[dict[str, str], int]:
    import torch

    return dict(os.environ), torch.get_num_threads()


def square_or_fail(number: int) -> int:
    if number == 3:
        raise ValueError("three is not allowed")
    return number**2


class FussyError(Exception):
    """Cannot be unpickled: needs an argument that pickling does not keep."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"fussy about {reason}")


def fail_fussily(_item: int) -> None:
    raise FussyError(reason="pickles")


def die_once(task: tuple[str, int]) -> int:
    """Killed with SIGKILL the first time that it is asked to square 2."""
    folder, number = task
    marker = Path(folder) / "died"
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def always_die(task: tuple[str, int]) -> None:
    folder, number = task
    (Path(folder) / f"attempt-{number}-{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long(folder: str) -> None:
    (Path(folder) / f"{os.getpid()}.started").touch()
    time.sleep(120)


def wait_for_gate(task: tuple[str, int]) -> int:
    """Tell that the item was begun and wait until the test lets it finish."""
    folder, number = task
    (Path(folder) / f"{number}-{os.getpid()}.started").touch()
    while not (Path(folder) / "gate").exists():
        time.sleep(0.01)
    return number
