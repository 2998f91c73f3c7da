"""The seam between the ways to a phone and what is done over them.

A route knows how to reach a phone; connecting gives a link; a link opens streams, one for each
ADB service. Shell and file transfer are written once, over streams.

A deadline is a reading of `time.monotonic()`.
"""

from __future__ import annotations

import time
from typing import Protocol

from device_farm.errors import ConnectionLost


class Stream(Protocol):
    """Bytes to and from one service on the phone."""

    serial: str

    def read(self, deadline: float) -> bytes:
        """The next bytes, at least one; empty when the phone closed the stream.

        Raises:
            DeviceTimeout: Nothing came until the deadline.
            ConnectionLost: The phone went away.
        """

    def write(self, data: bytes, deadline: float) -> None:
        """Send all of `data`; raises as `read` does."""

    def has_answer(self) -> bool:
        """Whether `read` would return at once."""

    def close(self) -> None:
        """End the stream on both sides; never fails."""


class Link(Protocol):
    """A connection to a phone, which several threads may use at once."""

    serial: str
    features: frozenset[str]

    def open(self, service: bytes, deadline: float) -> Stream:
        """Start a service such as `sync:`.

        Raises:
            ServiceRefused: The phone does not offer it.
        """

    def close(self) -> None:
        """Let go of the phone; never fails."""


class Route(Protocol):
    """A way to a phone; connecting again after a loss is fine."""

    @property
    def serial(self) -> str:
        """The name that tells this phone from all others."""

    def connect(self, timeout_s: float) -> Link:
        """Reach the phone.

        Raises:
            DeviceUnreachable: It does not answer there.
            DeviceUnauthorized: It does not trust this machine.
        """


class StreamReader:
    """Reads a stream in pieces of wanted sizes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def exactly(self, count: int, deadline: float) -> bytes:
        """The next `count` bytes.

        Raises:
            ConnectionLost: The stream ended before.
        """
        while len(self._buffer) < count:
            data = self._stream.read(deadline)
            if not data:
                raise ConnectionLost(self._stream.serial, "the phone closed a stream too early")
            self._buffer += data
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece


def seconds_left(deadline: float) -> float:
    """Time until the deadline; never 0, which means forever to libusb."""
    return max(0.001, deadline - time.monotonic())
