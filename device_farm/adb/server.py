"""Phones that a running adb server holds, here or on another machine."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import NoReturn
from weakref import WeakSet

from device_farm.adb.deadline_socket import DeadlineSocket
from device_farm.adb.foreign import own_errors
from device_farm.adb.stream import seconds_left
from device_farm.errors import (
    AdbServerUnreachable,
    ConnectionLost,
    DeviceError,
    DeviceNotFound,
    DeviceOffline,
    DevicePermissionDenied,
    DeviceTimeout,
    DeviceUnauthorized,
    DeviceUnreachable,
    ProtocolViolation,
    ServiceRefused,
)

_READ_BYTES = 1 << 16
# Any other could smuggle a request: the server splits `host-serial:SERIAL:features` at colons,
# and a phone chooses its serial, such as `x:forward:tcp:1234;tcp`.
_PLAIN_SERIAL = re.compile(r"[^:]+(:[0-9]{1,5})?")
_ADDRESS = re.compile(r"[\w.-]+:[0-9]{1,5}", re.ASCII)
# What the server says, in the order in which to look for it.
_REFUSALS: tuple[tuple[str, type[DeviceError]], ...] = (
    ("unauthorized", DeviceUnauthorized),
    ("still authorizing", DeviceOffline),  # for a moment, also with a phone that trusts it
    ("permission", DevicePermissionDenied),
    ("not found", DeviceNotFound),
    ("no devices", DeviceNotFound),
    ("offline", DeviceOffline),
    ("still connecting", DeviceOffline),
)


@dataclass(frozen=True, kw_only=True)
class ServerDevice:
    """A phone in the server's list.

    Attributes:
        serial: The server's name for it.
        state: `device` when usable; else `unauthorized`, `offline`, `no permissions`, ...
    """

    serial: str
    state: str


@dataclass(frozen=True, kw_only=True)
class AdbServer:
    """The adb server at `host:port`; by default the one on this machine."""

    host: str = "127.0.0.1"
    port: int = 5037

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def devices(self, timeout_s: float) -> list[ServerDevice]:
        """Every phone that the server knows, usable or not.

        Raises:
            AdbServerUnreachable: No server listens there.
        """
        lines = self.query("host:devices", timeout_s).splitlines()
        pairs = [line.partition("\t") for line in lines if "\t" in line]
        return [ServerDevice(serial=serial, state=state) for serial, _, state in pairs]

    def query(self, request: str, timeout_s: float) -> str:
        """The server's answer to a request such as `host:devices`."""
        return self.ask(str(self), [request.encode()], time.monotonic() + timeout_s)

    def ask(self, serial: str, requests: list[bytes], deadline: float) -> str:
        """The answer to the last of several requests on one connection."""
        stream = self.open(serial, requests, deadline)
        try:
            length = stream.number(deadline)
            return stream.exactly(length, deadline).decode(errors="backslashreplace")
        finally:
            stream.close()

    def open(self, serial: str, requests: list[bytes], deadline: float) -> ServerStream:
        """Send requests one after the other; the stream then belongs to the last one."""
        try:
            with own_errors(serial):
                connected = DeadlineSocket.connect(self.host, self.port, seconds_left(deadline))
        except (DeviceUnreachable, DeviceTimeout) as error:
            what = f"no adb server at {self}: {error.what}"
            raise AdbServerUnreachable(serial, what) from error
        stream = ServerStream(serial, connected)
        try:
            for request in requests:
                stream.write(b"%04x" % len(request) + request, deadline)
                stream.require_okay(request, deadline)
        except DeviceError as error:
            stream.close()
            if isinstance(error, DeviceTimeout):
                raise DeviceOffline(serial, f"no answer through adb server {self}") from error
            raise
        return stream


LOCAL_SERVER = AdbServer()


class ServerStream:
    """A socket to the adb server that is joined to a service on a phone; see Stream."""

    def __init__(self, serial: str, connected: DeadlineSocket) -> None:
        self.serial = serial
        self._socket = connected

    def read(self, deadline: float) -> bytes:
        """See Stream.read."""
        with own_errors(self.serial):
            return self._socket.receive(_READ_BYTES, deadline)

    def write(self, data: bytes, deadline: float) -> None:
        """See Stream.write."""
        with own_errors(self.serial):
            self._socket.send(data, deadline)

    def has_answer(self) -> bool:
        """See Stream.has_answer."""
        return self._socket.has_data()

    def close(self) -> None:
        """See Stream.close."""
        self._socket.close()

    def exactly(self, count: int, deadline: float) -> bytes:
        """`count` bytes and not one more, which would belong to the service."""
        data = b""
        while len(data) < count:
            with own_errors(self.serial):
                piece = self._socket.receive(count - len(data), deadline)
            if not piece:
                raise ConnectionLost(self.serial, "the adb server closed the connection")
            data += piece
        return data

    def number(self, deadline: float) -> int:
        """A length: four hexadecimal digits."""
        digits = self.exactly(4, deadline)
        try:
            return int(digits, 16)
        except ValueError:
            raise ProtocolViolation(self.serial, f"not an adb server: {digits!r}") from None

    def require_okay(self, request: bytes, deadline: float) -> None:
        """Read the server's verdict on a request."""
        verdict = self.exactly(4, deadline)
        if verdict == b"FAIL":
            text = self.exactly(self.number(deadline), deadline)
            _refuse(self.serial, request, text.decode(errors="backslashreplace"))
        if verdict != b"OKAY":
            raise ProtocolViolation(self.serial, f"not an adb server: {verdict!r}")


class ServerLink:
    """A phone behind an adb server; see Link."""

    def __init__(self, server: AdbServer, serial: str, features: frozenset[str]) -> None:
        self.serial = serial
        self.features = features
        self._server = server
        self._streams: WeakSet[ServerStream] = WeakSet()

    def open(self, service: bytes, deadline: float) -> ServerStream:
        """See Link.open."""
        transport = b"host:transport:" + self.serial.encode()
        stream = self._server.open(self.serial, [transport, service], deadline)
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """See Link.close; whoever waits for a stream is woken, as on the other routes."""
        for stream in list(self._streams):
            stream.close()


@dataclass(frozen=True, kw_only=True)
class ServerRoute:
    """The phone that an adb server knows as `serial`."""

    serial: str
    server: AdbServer = LOCAL_SERVER

    def connect(self, timeout_s: float) -> ServerLink:
        """See Route.connect."""
        deadline = time.monotonic() + timeout_s
        transport = b"host:transport:" + self.serial.encode()
        # `features` is answered from the server's memory: ask the phone itself for a sign of life
        self.server.open(self.serial, [transport], deadline).close()
        if _PLAIN_SERIAL.fullmatch(self.serial):
            requests = [f"host-serial:{self.serial}:features".encode()]
        else:
            requests = [transport, b"host:features"]  # servers before 30 want a lone phone here
        features = self.server.ask(self.serial, requests, deadline)
        return ServerLink(self.server, self.serial, frozenset(features.split(",")))


def _refuse(serial: str, request: bytes, text: str) -> NoReturn:
    """Raise the error that the server's own text stands for."""
    for words, kind in _REFUSALS:
        if words in text:
            # a server that was started anew has forgotten the phones in the network
            is_forgotten = kind is DeviceNotFound and _ADDRESS.fullmatch(serial)
            remedy = f"connect it again with `adb connect {serial}`" if is_forgotten else None
            raise kind(serial, f"adb server: {text}", remedy)
    raise ServiceRefused(serial, f"adb server refuses {request!r}: {text}")
