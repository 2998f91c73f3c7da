"""Run the program as a user does, in a process of its own, on a task that takes seconds."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = [sys.executable, "-c", "import cli; cli.main()"]

SPACE = [
    "--set=nodes=3",
    "--set=stem_channels=16",
    "--set=scales=(1.0, 2.0)",
    "--set=base_width=32",
    "--set=replicate=(2, 2)",
    "--set=pools=(1, 2)",
]

TRAINING = [
    "--proxy-set=train_per_class=8",
    "--proxy-set=validation_per_class=4",
    "--proxy-set=training.batch_size=4",
    "--train-set=batch_size=8",
    "--epochs=2",
    "--workers=1",
]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error; fails if there are more, or results beside it."""
        (line,) = self.err.splitlines()
        assert self.out == ""
        assert self.code in (1, 2)
        return line


Call = Callable[..., Ended]


def run(*words: str | Path, **environment: str) -> Ended:
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def run_until(condition: Callable[[], bool], signal_number: int, *words: str | Path) -> Ended:
    """Run a command and, once the condition holds, signal it and its children, as Ctrl-C does."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        deadline = time.monotonic() + 200
        while process.poll() is None and not condition():
            assert time.monotonic() < deadline, "the condition did not come about"
            time.sleep(0.01)
        assert process.returncode is None, "the command ended before it could be interrupted"
        os.killpg(process.pid, signal_number)
        out, err = process.communicate(timeout=60)
    return Ended(code=process.returncode, out=out, err=err)


def cpu_seconds(*words: str) -> float:
    """Processor time of a command and of what it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*words).code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_images(root: Path, *, train: int = 16, test: int = 6) -> None:
    """Stripes down and stripes across, with noise: 24 rows and columns, grey."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(("across", "down")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 60, (24, 24)).astype(np.uint8)
                stripes = pixels.T if label else pixels
                stripes[::4] += 150
                Image.fromarray(pixels).save(folder / f"{index}.png")
