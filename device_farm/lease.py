"""Who uses which phone: a lock on a file, which all processes of this user respect.

The kernel frees the lock when its process ends, however it ends. The file itself stays: deleting
it would let two processes lock two files of the same name.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from device_farm.errors import DeviceLeased, LeaseUnusable, printable

_POLL_S = 0.05
# `holder_of` locks for an instant to see whether a holder lives; that is no reason to refuse.
_LEAST_WAIT_S = 0.2
_MAX_NOTE_BYTES = 4096
_MAX_NAME = 200  # of at most 12 bytes in JSON
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that uses a phone.

    Attributes:
        pid: Its number; 0 when it has not told yet.
        command: Its program and the first argument; safe to print.
        since: When it took the phone, in seconds since 1970.
    """

    pid: int
    command: str
    since: float

    def __str__(self) -> str:
        if self.pid == 0:
            return "another process"
        began = time.localtime(self.since)
        is_today = began[:3] == time.localtime()[:3]
        moment = time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", began)
        return f"pid {self.pid}, {self.command}, since {moment}"


def lease_folder() -> Path:
    """Where the locks lie: `leases` in `$POCKETNAS_CACHE`, by default in `~/.cache/pocketnas`."""
    cache = Path(os.environ.get("POCKETNAS_CACHE") or "~/.cache/pocketnas")
    return cache.expanduser() / "leases"


class Lease:
    """The right to use one phone; held from `take` to `release`, or as a context manager.

    Attributes:
        key: The phone's identity, which is the same through USB, TCP and adb servers.
    """

    def __init__(self, key: str, *, wait_s: float = 0.0) -> None:
        self.key = key
        self._wait_s = wait_s
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self.take(self._wait_s)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, wait_s: float = 0.0, cancelled: threading.Event | None = None) -> None:
        """Lock the phone for this holder.

        Args:
            wait_s: How long to wait for another holder to let go.
            cancelled: Once set, nothing is waited for any more.

        Raises:
            DeviceLeased: Another holder has it; the message names the process.
            LeaseUnusable: The lock's file cannot be written.
        """
        assert self._descriptor is None
        cancelled = cancelled or threading.Event()
        deadline = time.monotonic() + max(wait_s, _LEAST_WAIT_S)
        descriptor = _open(self.key, _path(self.key), os.O_RDWR | os.O_CREAT)
        try:
            while not _lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > deadline or cancelled.is_set():
                    raise _leased(self.key, _read_note(descriptor))
                cancelled.wait(_POLL_S)
            _write_note(self.key, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one have it; more than once is no error."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a forked child that inherited it
        except OSError as error:  # closing unlocks as well
            _LOGGER.warning("%s: the note of its holder stays: %s", printable(self.key), error)
        finally:
            os.close(descriptor)


def lease(key: str, *, wait_s: float = 0.0) -> Lease:
    """The lease of a phone, to be used in a `with` statement; see Lease."""
    return Lease(key, wait_s=wait_s)


def holder_of(key: str) -> Holder | None:
    """Who uses a phone; None when it is free.

    Raises:
        LeaseUnusable: The lock's file cannot be read.
    """
    path = _path(key)
    if not path.exists():
        return None
    descriptor = _open(key, path, os.O_RDONLY)
    try:
        # a holder that was killed leaves its note: only the lock tells whether it lives
        if os.fstat(descriptor).st_size == 0 or _lock(descriptor, fcntl.LOCK_SH):
            return None
        return _read_note(descriptor)
    finally:
        os.close(descriptor)


def _path(key: str) -> Path:
    """The lock's file; a phone may call itself anything, so the name is a hash."""
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return lease_folder() / f"{digest[:32]}.lock"


def _open(key: str, path: Path, flags: int) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LeaseUnusable(key, f"cannot open {path}: {error.strerror}") from error


def _lock(descriptor: int, kind: int) -> bool:
    """Lock without waiting; whether it worked."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_note(key: str, descriptor: int) -> None:
    """Tell other processes who holds the lock."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    note = {
        "pid": os.getpid(),
        "command": " ".join(words)[:_MAX_NAME],
        "since": time.time(),
        "phone": key[:_MAX_NAME],
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
    except OSError as error:
        raise LeaseUnusable(key, f"cannot write the lock's note: {error.strerror}") from error


def _read_note(descriptor: int) -> Holder:
    """What the holder of the lock told about itself."""
    try:
        note = json.loads(os.pread(descriptor, _MAX_NOTE_BYTES, 0))
        return Holder(
            pid=int(note["pid"]),
            command=printable(str(note["command"])),
            since=float(note["since"]),
        )
    except (ValueError, KeyError, TypeError):  # it is about to write it
        return Holder(pid=0, command="", since=0.0)


def _leased(key: str, holder: Holder) -> DeviceLeased:
    pids = frozenset({holder.pid} - {0})
    return DeviceLeased(key, f"in use by {holder}", holder_pids=pids)
