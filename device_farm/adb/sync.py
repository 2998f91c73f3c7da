"""Files to and from a phone.

Source: AOSP packages/modules/adb, SYNC.TXT. Version 1 of the requests, which every phone knows.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from device_farm.adb.stream import Link, Stream, StreamReader
from device_farm.errors import (
    ConnectionLost,
    DeviceTimeout,
    NoSpace,
    OutputTooLarge,
    ProtocolViolation,
    PullFailed,
    PushFailed,
)

# A transfer may take as long as it likes while it moves.
STALL_TIMEOUT_S = 30.0
_HEADER = struct.Struct("<4sI")
_MAX_DATA_BYTES = 64 << 10
_DATA_PER_WRITE = 4  # fewer round trips for the same bytes
_REMEDIES = {
    "Permission denied": "write below /data/local/tmp, or pull what the shell user may read",
    "Read-only file system": "write below /data/local/tmp",
}


def push_file(link: Link, source: IO[bytes], remote: str, mode: int) -> None:
    """Send a file.

    Raises:
        NoSpace: The phone's disk is full.
        PushFailed: The phone refuses it for another reason.
    """
    with _sync(link) as stream:
        try:
            _send_file(stream, source, os.fsencode(remote), mode)
        except ConnectionLost:
            # a phone that refuses a file may close at once: its reason is still to be read
            _read_verdict(stream, remote)
            raise
        _read_verdict(stream, remote)


def pull_file(link: Link, remote: str, sink: IO[bytes], max_bytes: int) -> None:
    """Receive a file.

    Raises:
        PullFailed: The phone cannot read it.
        OutputTooLarge: It has more than `max_bytes`.
    """
    path = os.fsencode(remote)
    received = 0
    with _sync(link) as stream:
        reader = StreamReader(stream)
        stream.write(_HEADER.pack(b"RECV", len(path)) + path, _deadline())
        while True:
            kind, length = _HEADER.unpack(reader.exactly(_HEADER.size, _deadline()))
            if kind == b"DONE":
                return
            if length > _MAX_DATA_BYTES or kind not in (b"DATA", b"FAIL"):
                raise ProtocolViolation(link.serial, f"unknown answer {kind!r} to a pull")
            data = reader.exactly(length, _deadline())
            if kind == b"FAIL":
                reason = data.decode(errors="backslashreplace")
                raise PullFailed(link.serial, f"cannot pull {remote!r}: {reason}", _remedy(reason))
            received += length
            if received > max_bytes:
                raise OutputTooLarge(link.serial, f"{remote!r} has over {max_bytes} bytes")
            sink.write(data)


def _send_file(stream: Stream, source: IO[bytes], path: bytes, mode: int) -> None:
    """Send all parts, and stop early when the phone has something to say."""
    request = b"%s,%d" % (path, mode)
    parts = [_HEADER.pack(b"SEND", len(request)) + request]
    while data := source.read(_MAX_DATA_BYTES):
        parts.append(_HEADER.pack(b"DATA", len(data)) + data)
        if len(parts) >= _DATA_PER_WRITE:
            stream.write(b"".join(parts), _deadline())
            parts.clear()
            if stream.has_answer():
                return
    parts.append(_HEADER.pack(b"DONE", int(time.time())))
    stream.write(b"".join(parts), _deadline())


def _read_verdict(stream: Stream, remote: str) -> None:
    """Read how the phone took the file."""
    reader = StreamReader(stream)
    verdict, length = _HEADER.unpack(reader.exactly(_HEADER.size, _deadline()))
    if verdict == b"OKAY":
        return
    if verdict != b"FAIL" or length > _MAX_DATA_BYTES:
        raise ProtocolViolation(stream.serial, f"unknown answer {verdict!r} to a push")
    reason = reader.exactly(length, _deadline()).decode(errors="backslashreplace")
    what = f"cannot push {remote!r}: {reason}"
    if "No space left" in reason:
        raise NoSpace(stream.serial, what)
    raise PushFailed(stream.serial, what, _remedy(reason))


@contextmanager
def _sync(link: Link) -> Iterator[Stream]:
    try:
        stream = link.open(b"sync:", _deadline())
        try:
            yield stream
        finally:
            stream.close()
    except DeviceTimeout as error:
        raise ConnectionLost(link.serial, f"no progress for {STALL_TIMEOUT_S} s") from error


def _remedy(reason: str) -> str | None:
    return next((remedy for words, remedy in _REMEDIES.items() if words in reason), None)


def _deadline() -> float:
    return time.monotonic() + STALL_TIMEOUT_S
