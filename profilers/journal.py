"""Measurements on disk as they are taken, so that an interrupted profile goes on where it was.

One SQLite file, one transaction per measurement, on the disk before `Journal.record` returns:
kill -9 or a power cut loses at most the measurement in flight.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from profilers.errors import (
    JournalBroken,
    JournalExists,
    JournalInUse,
    JournalMismatch,
    JournalMissing,
    JournalNotWritten,
)

JsonValue: TypeAlias = (
    "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)

_APPLICATION_ID = 0x504E4A4C  # "PNJL"
_SCHEMA_VERSION = 1
"""History of the format: 1, the first."""

_SCHEMA = f"""
BEGIN;
CREATE TABLE identity (field TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    session INTEGER NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (subject, session)
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOT_WRITTEN = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}


@dataclass(frozen=True, kw_only=True)
class JournalRow:
    """One measurement.

    Attributes:
        subject: What was measured.
        session: Which repetition, from 0.
        payload: JSON values, as they were recorded.
    """

    subject: str
    session: int
    payload: Mapping[str, Any]


class Journal:
    """A file of measurements that one process at a time may open; a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection, resources: ExitStack) -> None:
        self.path = path
        self._connection = connection
        self._resources = resources

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], identity: Mapping[str, str], *, resume: bool
    ) -> Self:
        """Create a journal, or go on with one.

        Args:
            path: The file; a lock is kept beside it, in a file that ends in ``.lock``.
            identity: What all measurements of the file have in common: target, settings, space.
            resume: Whether a journal that is there already may be added to.

        Raises:
            JournalExists: There is a journal and `resume` is false.
            JournalMismatch: The journal was created with another identity.
            JournalInUse: Another process, or this one, has the journal open.
            JournalBroken: The file is no journal, is damaged, or was written by a newer version.
            JournalNotWritten: The folder is missing, full or not writable.
        """
        path = Path(path)
        with ExitStack() as resources:
            resources.enter_context(_locked(path))
            with _translated(path):
                connection = sqlite3.connect(path, isolation_level=None)
                resources.callback(connection.close)
                if _is_empty(connection):
                    _create(connection, identity)
                else:
                    _check_format(connection, path)
                    if not resume:
                        raise JournalExists(
                            f"there is a journal at {path} already; resume it with --resume, or "
                            "give another path"
                        )
                    _check_identity(connection, path, identity)
                # FULL syncs the log at each commit; WAL's usual NORMAL only survives a kill.
                connection.execute("PRAGMA synchronous = FULL")
            return cls(path, connection, resources.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock; may be repeated."""
        self._resources.close()

    def record(self, subject: str, session: int, payload: Mapping[str, JsonValue]) -> None:
        """Write one measurement; when this returns, it is on the disk.

        Raises:
            JournalNotWritten: The disk is full or fails; earlier measurements are safe.
            JournalBroken: The file is damaged.
        """
        text = json.dumps(payload, allow_nan=False)
        with _translated(self.path):
            try:
                self._connection.execute(
                    "INSERT INTO measurement (subject, session, payload) VALUES (?, ?, ?)",
                    (subject, session, text),
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(
                    f"session {session} of {subject!r} is in {self.path} already; ask has() first"
                ) from error

    def has(self, subject: str, session: int) -> bool:
        """Whether a measurement is there."""
        with _translated(self.path):
            found = self._connection.execute(
                "SELECT 1 FROM measurement WHERE subject = ? AND session = ?", (subject, session)
            )
            return found.fetchone() is not None

    def count(self) -> int:
        """Number of measurements."""
        with _translated(self.path):
            (count,) = self._connection.execute("SELECT count(*) FROM measurement").fetchone()
            return int(count)

    def rows(self) -> Iterator[JournalRow]:
        """All measurements in the order in which they were recorded.

        Raises:
            JournalBroken: The file is damaged.
        """
        with _translated(self.path):
            yield from _rows(self._connection)


def read_journal(path: Path) -> tuple[dict[str, str], list[JournalRow]]:
    """Identity and measurements of a journal that is there already.

    Raises:
        JournalMissing: There is no such file.
        JournalInUse: A process is still writing to it.
        JournalBroken: The file is no journal, is damaged, or was written by a newer version.
    """
    if not path.exists():
        raise JournalMissing(
            f"there is no journal {path}; it is written beside its table by: pocketnas profile"
        )
    with _locked(path), _translated(path), closing(sqlite3.connect(path)) as connection:
        _check_format(connection, path)
        identity = dict(connection.execute("SELECT field, value FROM identity"))
        return identity, list(_rows(connection))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock_path = path.with_name(path.name + ".lock")
    try:
        # Not truncated before the lock is ours: the text is the pid of its holder.
        file = lock_path.open("a+", encoding="ascii")
    except OSError as error:
        raise JournalNotWritten(
            f"cannot write the journal {path}: {error.strerror}; give a path in a folder that "
            "exists and is writable"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise JournalInUse(
                f"process {file.read().strip() or 'unknown'} has the journal {path} open; wait "
                "for it to end, or give another path"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        # The file stays: removing it could give two processes a lock on two files of one name.
        yield


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors that a user can meet into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The low byte is the class of the error, the rest its detail. Text that is not UTF-8 is
        # found by Python, not by SQLite, and comes without a code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _BROKEN and not isinstance(error, sqlite3.ProgrammingError):
            raise _broken(path, str(error)) from error
        if code in _NOT_WRITTEN:
            raise JournalNotWritten(
                f"cannot write the journal {path}: {error}; what was recorded before is safe: "
                "free space or mend the permissions, then resume with --resume"
            ) from error
        raise
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _broken(path, str(error)) from error


def _broken(path: Path, reason: str) -> JournalBroken:
    return JournalBroken(
        f"{path} is not a journal of this program or is damaged ({reason}); move it away and "
        "measure again, or give another path"
    )


def _rows(connection: sqlite3.Connection) -> Iterator[JournalRow]:
    for subject, session, text in connection.execute(
        "SELECT subject, session, payload FROM measurement ORDER BY id"
    ):
        yield JournalRow(subject=subject, session=session, payload=json.loads(text))


def _is_empty(connection: sqlite3.Connection) -> bool:
    # So is a journal whose creation was interrupted.
    return connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None


def _create(connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SCHEMA)
    connection.executemany("INSERT INTO identity VALUES (?, ?)", identity.items())
    connection.execute("COMMIT")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != _APPLICATION_ID:
        raise _broken(path, "a SQLite file of another program")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise JournalBroken(
            f"{path} has format {version}, this version of pocketnas reads up to "
            f"{_SCHEMA_VERSION}; update pocketnas, or give another path"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _broken(path, verdict)


def _check_identity(
    connection: sqlite3.Connection, path: Path, identity: Mapping[str, str]
) -> None:
    stored = dict(connection.execute("SELECT field, value FROM identity"))
    fields = [
        f"{field} was {stored.get(field)!r}, now {identity.get(field)!r}"
        for field in sorted(stored.keys() | identity.keys())
        if stored.get(field) != identity.get(field)
    ]
    if fields:
        raise JournalMismatch(
            f"the journal {path} belongs to another measurement: {'; '.join(fields)}; resume it "
            "with the same target and settings, or give another path"
        )
