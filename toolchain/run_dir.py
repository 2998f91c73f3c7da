"""The folder of a run: everything that a search was, found and made.

::

    RUN/
      config.json         what was asked for, with seeds; and the versions that ran
      latency.table       the table it was searched with
      doubtful.journal, learned.table
                          where doubtful candidates are measured: these, and the table with them
      teacher.safetensors, supernet.safetensors, supernet.jsonl, supernet.json
                          where candidates share weights: see `shared_weights.py`
      candidates.jsonl    one line for each network judged, as it was finished
      search.json         the answer and the walk to it
      training.jsonl      one line for each epoch of the final training
      checkpoint.safetensors, weights.safetensors
      test.json, predictions.png
                          the result on the test data, and some of it drawn
      network.onnx, network.tflite, network.json (the card)
      network.int8.tflite, network.int8.json, network.words.txt
                          in 8-bit integers; of a language model, the words
      benchmark.json      predicted against measured, the verdict
      report.html

Files are written whole or not at all; lines are appended and flushed to the disk one by one, so
that kill -9 loses at most the line being written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from toolchain.atomic import atomic_path
from toolchain.errors import RunUnusable

CONFIG = "config.json"
LOCK = "lock"
TABLE = "latency.table"
LEARNED = "learned.table"
DOUBTFUL = "doubtful.journal"


class RunDirectory:
    """One run's folder.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], *, resume: bool) -> RunDirectory:
        """Make a folder for this configuration, or go on in one made for the same.

        Args:
            path: the folder.
            config: plain JSON values; what makes the run what it is.
            resume: whether an existing run is gone on with.

        Raises:
            RunUnusable: the folder holds a run and ``resume`` is off, or one of another
                configuration, or something that is no run; or it cannot be written.
        """
        cls.require_usable(path, resume=resume)
        run = cls(path)
        if run.has(CONFIG):
            run._require_same(config)
            return run
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunUnusable(f"cannot make the run folder {path}: {error}") from error
        run.write_json(CONFIG, config)
        return run

    @classmethod
    def require_usable(cls, path: Path, *, resume: bool) -> None:
        """Check, before any work is done for it, that a folder can become or go on as a run.

        Raises:
            RunUnusable: it holds a run and ``resume`` is off, or something that is no run.
        """
        if (path / CONFIG).exists():
            if not resume:
                raise RunUnusable(f"{path} already holds a run; add --resume to go on with it")
        elif path.exists() and (not path.is_dir() or _names(path) - {LOCK}):
            raise RunUnusable(f"{path} exists and is no run; choose another folder")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run.

        Raises:
            RunUnusable: the folder is no run.
        """
        if not (path / CONFIG).is_file():
            raise RunUnusable(f"{path} is no run: it has no {CONFIG}. Make one: pocketnas search")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            RunUnusable: another process holds it.
        """
        with (self.path / LOCK).open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                owner = handle.read().strip() or "unknown"
                raise RunUnusable(
                    f"{self.path} is in use by process {owner}; wait for it or stop it"
                ) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    @contextmanager
    def forgotten_on_failure(self) -> Iterator[None]:
        """Make the folder usable again if what follows fails before it has found anything.

        Otherwise settings that turn out to be impossible would stay with the folder for good.
        """
        try:
            yield
        except Exception:
            journal = {DOUBTFUL, f"{DOUBTFUL}.lock"}
            if not _names(self.path) - {CONFIG, LOCK, TABLE, *journal}:
                for name in (*journal, TABLE, CONFIG):
                    (self.path / name).unlink(missing_ok=True)
            raise

    @property
    def table_path(self) -> Path | None:
        """The table to predict with, as far as the search has taught it; None without one."""
        return next((self.path / name for name in (LEARNED, TABLE) if self.has(name)), None)

    @property
    def config(self) -> dict[str, Any]:
        """What the run was made with."""
        return self.read_json(CONFIG)

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.path / name).is_file()

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file.

        Raises:
            RunUnusable: it is not there or damaged.
        """
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunUnusable(f"cannot read {self.path / name}: {error}") from error
        return content

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file whole.

        Raises:
            RunUnusable: the disk is full or the folder not writable.
        """
        self.write_text(name, json.dumps(content, indent=1) + "\n")

    def write_text(self, name: str, content: str) -> None:
        """Write a text file whole.

        Raises:
            RunUnusable: the disk is full or the folder not writable.
        """
        self.write_bytes(name, content.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            RunUnusable: the disk is full or the folder not writable.
        """
        try:
            with atomic_path(self.path / name) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise RunUnusable(f"cannot write {self.path / name}: {error}") from error

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Append one line to a journal and have it on the disk before going on.

        Raises:
            RunUnusable: the disk is full or the folder not writable.
        """
        try:
            with (self.path / name).open("a+b") as handle:
                _end_torn_line(handle)
                handle.write(json.dumps(record).encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise RunUnusable(f"cannot write {self.path / name}: {error}") from error

    def records(self, name: str) -> list[dict[str, Any]]:
        """The journal's lines; one torn by a crash is left out."""
        try:
            lines = (self.path / name).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if (record := _parse(line)) is not None]

    def _require_same(self, config: Mapping[str, Any]) -> None:
        mine = _flat(self.config)
        theirs = _flat(json.loads(json.dumps(config)))
        differing = [
            f"{key} was {mine.get(key)!r}, now {theirs.get(key)!r}"
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key) and not key.startswith("versions.")
        ]
        if differing:
            raise RunUnusable(
                f"{self.path} was made with other settings: {'; '.join(differing)}. "
                "Resume with the same ones or choose another folder"
            )


def _names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def _end_torn_line(handle: IO[bytes]) -> None:
    """Close a line that a crash left open, so that the next one starts on its own."""
    if handle.seek(0, os.SEEK_END) == 0:
        return
    handle.seek(-1, os.SEEK_END)
    if handle.read(1) != b"\n":
        handle.write(b"\n")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
