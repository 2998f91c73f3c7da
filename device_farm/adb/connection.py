"""ADB packets to and from one phone: adb-shell's handshake, our streams.

From adb-shell 0.4.4 come the handshake with its RSA authentication, the packet format and the USB
transport. Not used are the verbs of its AdbDevice: they lose refusals and failure texts, spin or
lose packets on timeouts, and let one silent shell block every other thread.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from adb_shell import constants
from adb_shell.adb_device import _AdbIOManager
from adb_shell.adb_message import AdbMessage, checksum
from adb_shell.hidden_helpers import _AdbTransactionInfo

from device_farm.adb.foreign import PAIR, own_errors
from device_farm.adb.keys import AdbKey
from device_farm.adb.stream import seconds_left
from device_farm.adb.tls import client_context
from device_farm.errors import (
    ConnectionLost,
    DeviceError,
    DeviceOffline,
    DeviceTimeout,
    DeviceUnauthorized,
    ProtocolViolation,
    ServiceRefused,
)

AUTH_TIMEOUT_S = 30.0
_STLS = b"STLS"
_STLS_VERSION = 0x01000000
_HEADER = struct.Struct("<6I")
# A phone may have one packet under way on each stream, besides an OKAY and the final CLSE.
_MAX_WAITING_PACKETS = 16
_SEND_CLOSE_TIMEOUT_S = 1.0
_HOST_FEATURES = b"features=shell_v2,cmd,stat_v2,ls_v2"

_LOGGER = logging.getLogger(__name__)


class Transport(Protocol):
    """What adb-shell calls a transport; see its BaseTransport."""

    def connect(self, transport_timeout_s: float) -> None:
        """Open it."""

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        """Some bytes."""

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        """All of the bytes."""

    def close(self) -> None:
        """Close it."""


class _Packet(NamedTuple):
    command: bytes
    arg0: int
    arg1: int
    data: bytes


class AdbConnection(_AdbIOManager):  # type: ignore[misc]  # adb-shell has no annotations
    """One connection to a phone, on which several threads may have streams.

    There is no reader thread. Of the threads that wait for a packet one reads, hands on what
    belongs to others, and wakes them; so the connection works as long as anybody waits.

    Attributes:
        serial: The phone, as the user named it.
        banner: How the phone introduced itself.
        features: What its daemon can do, such as `shell_v2`.
    """

    def __init__(
        self, transport: Transport, serial: str, key_directory: Path | None = None
    ) -> None:
        super().__init__(transport)
        self.serial = serial
        self.banner = ""
        self.features: frozenset[str] = frozenset()
        self.max_data = 0
        self._key_directory = key_directory
        self._trust_remedy: str | None = None
        self._partial = bytearray()
        self._arrived = threading.Condition()
        self._is_reading = False
        self._inboxes: dict[int, deque[_Packet]] = {}
        self._last_id = 0
        self._failure: DeviceError | None = None

    def connect_phone(self, timeout_s: float, auth_timeout_s: float) -> None:
        """Shake hands; see Route.connect.

        Args:
            timeout_s: How long the phone may take to answer.
            auth_timeout_s: How long the user may take to accept the prompt on the phone.
        """
        info = _AdbTransactionInfo(None, None, timeout_s, timeout_s)
        key = AdbKey(self._key_directory)
        try:
            with own_errors(self.serial):
                _, self.max_data = self.connect(
                    _HOST_FEATURES, [key.signer], auth_timeout_s, self._on_prompt, info
                )
        except (DeviceTimeout, ConnectionLost) as error:
            self.close()
            if self._trust_remedy is not None:
                raise DeviceUnauthorized(
                    self.serial, "the phone did not accept this machine", self._trust_remedy
                ) from error
            if isinstance(error, DeviceTimeout):
                raise DeviceOffline(self.serial, f"no answer within {timeout_s} s") from error
            raise
        except DeviceError:
            self.close()
            raise

    def open(self, service: bytes, deadline: float) -> PacketStream:
        """See Link.open."""
        with self._arrived:
            self._last_id += 1
            local_id = self._last_id
            self._inboxes[local_id] = deque()
        try:
            self.send_packet(constants.OPEN, local_id, 0, service + b"\0", deadline)
            answer = self.receive(local_id, deadline)
            if answer.command == constants.CLSE:
                raise ServiceRefused(self.serial, f"the phone refuses the service {service!r}")
        except DeviceError:
            self.forget(local_id)
            raise
        return PacketStream(self, local_id, answer.arg0)

    def close(self) -> None:
        """Close the transport and wake every waiting thread; never fails."""
        self._fail(ConnectionLost(self.serial, "the connection was closed"))

    def send_packet(
        self, command: bytes, arg0: int, arg1: int, data: bytes, deadline: float
    ) -> None:
        """Send one packet; one that cannot be sent whole ends the connection."""
        info = _AdbTransactionInfo(None, None, None, seconds_left(deadline))
        try:
            with self._failing_for_good(), self._transport_lock:
                self._require_alive()
                self._send(AdbMessage(command, arg0, arg1, data), info)
        except DeviceTimeout as error:
            self._fail(ConnectionLost(self.serial, "the phone takes no data"))
            raise ConnectionLost(self.serial, "the phone takes no data") from error

    def receive(self, local_id: int, deadline: float) -> _Packet:
        """The next packet for a stream."""
        with self._arrived:
            inbox = self._inboxes[local_id]
            while not inbox:
                self._require_alive()
                if self._is_reading:
                    if not self._arrived.wait(seconds_left(deadline)):
                        raise DeviceTimeout(self.serial, "no answer in time")
                else:
                    self._read_for_all(deadline)
            return inbox.popleft()

    def has_packet(self, local_id: int) -> bool:
        """Whether a packet waits for a stream."""
        return bool(self._inboxes[local_id])

    def forget(self, local_id: int) -> None:
        """Drop a stream and whatever still arrives for it."""
        with self._arrived:
            self._inboxes.pop(local_id, None)

    def _read_for_all(self, deadline: float) -> None:
        """Read one packet with the lock released, and put it where it belongs."""
        self._is_reading = True
        self._arrived.release()
        try:
            with self._failing_for_good():
                packet = self._read_packet(deadline)
        finally:
            self._arrived.acquire()
            self._is_reading = False
            self._arrived.notify_all()
        inbox = self._inboxes.get(packet.arg1)
        if inbox is None:
            return  # late packets of a stream that is closed here
        inbox.append(packet)
        if len(inbox) > _MAX_WAITING_PACKETS:
            self._fail(ProtocolViolation(self.serial, "the phone sends without waiting"))

    def _read_packet(self, deadline: float) -> _Packet:
        """Read one packet; a timeout keeps what has arrived for the next call."""
        self._fill(_HEADER.size, deadline)
        command, arg0, arg1, length, check, magic = _HEADER.unpack_from(self._partial)
        if command ^ magic != 0xFFFFFFFF or length > constants.MAX_ADB_DATA:
            raise ProtocolViolation(self.serial, f"not ADB: {bytes(self._partial)!r}")
        self._fill(_HEADER.size + length, deadline)
        data = bytes(self._partial[_HEADER.size :])
        self._partial.clear()
        if checksum(data) != check:
            raise ProtocolViolation(self.serial, "a packet has a wrong checksum")
        return _Packet(command.to_bytes(4, "little"), arg0, arg1, data)

    def _fill(self, size: int, deadline: float) -> None:
        while len(self._partial) < size:
            if time.monotonic() > deadline:
                raise DeviceTimeout(self.serial, "no answer in time")
            self._partial += self._transport.bulk_read(
                size - len(self._partial), seconds_left(deadline)
            )

    def _read_packet_from_device(self, adb_info: Any) -> tuple[bytes, int, int, bytes]:
        """What adb-shell's handshake reads with; knows STLS and keeps the banner."""
        packet = self._read_packet(time.monotonic() + adb_info.transport_timeout_s)
        if packet.command == _STLS and self._trust_remedy is None:
            self._trust_remedy = PAIR
            self._start_tls(adb_info.transport_timeout_s)
            return self._read_packet_from_device(adb_info)
        if packet.command == constants.CNXN:
            self.banner = packet.data.rstrip(b"\0").decode(errors="backslashreplace")
            self.features = _features(self.banner)
        return packet

    def _start_tls(self, timeout_s: float) -> None:
        """Accept the phone's offer of TLS."""
        start_tls = getattr(self._transport, "start_tls", None)
        if start_tls is None:
            raise ProtocolViolation(self.serial, "the phone asks for TLS on a cable")
        command = int.from_bytes(_STLS, "little")
        header = _HEADER.pack(command, _STLS_VERSION, 0, 0, 0, command ^ 0xFFFFFFFF)
        self._transport.bulk_write(header, timeout_s)
        start_tls(client_context(AdbKey(self._key_directory)), timeout_s)

    def _on_prompt(self, _: object) -> None:
        """Tell the user to look at the phone."""
        self._trust_remedy = DeviceUnauthorized.default_remedy
        _LOGGER.warning(
            "%s asks whether to trust this machine: %s", self.serial, self._trust_remedy
        )

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        """Translate errors; all but timeouts end the connection."""
        try:
            with own_errors(self.serial):
                yield
        except DeviceTimeout:
            raise
        except DeviceError as error:
            self._fail(error)
            raise

    def _fail(self, error: DeviceError) -> None:
        self._failure = self._failure or error
        self._transport.close()
        with self._arrived:
            self._arrived.notify_all()

    def _require_alive(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)


class PacketStream:
    """One stream of an AdbConnection; see Stream."""

    def __init__(self, connection: AdbConnection, local_id: int, remote_id: int) -> None:
        self.serial = connection.serial
        self._connection = connection
        self._local_id = local_id
        self._remote_id = remote_id
        self._unread = b""  # a phone may send no second packet before the first is acknowledged
        self._is_open = True

    def read(self, deadline: float) -> bytes:
        """See Stream.read."""
        while self._is_open and not self._unread:
            self._take(deadline)
        data, self._unread = self._unread, b""
        if data:
            self._send(constants.OKAY, b"", deadline)
        return data

    def write(self, data: bytes, deadline: float) -> None:
        """See Stream.write."""
        size = self._connection.max_data
        for start in range(0, len(data), size):
            self._send(constants.WRTE, data[start : start + size], deadline)
            while self._take(deadline) != constants.OKAY:
                if not self._is_open:
                    raise ConnectionLost(self.serial, "the phone closed a stream too early")

    def has_answer(self) -> bool:
        """See Stream.has_answer."""
        return bool(self._unread) or self._connection.has_packet(self._local_id)

    def close(self) -> None:
        """See Stream.close."""
        self._connection.forget(self._local_id)
        with suppress(DeviceError):  # nobody is left to be told
            self._send(constants.CLSE, b"", time.monotonic() + _SEND_CLOSE_TIMEOUT_S)

    def _take(self, deadline: float) -> bytes:
        """Receive one packet, sort it, and return its command."""
        packet = self._connection.receive(self._local_id, deadline)
        if packet.command == constants.WRTE:
            if self._unread:
                raise ProtocolViolation(self.serial, "the phone sends without waiting")
            self._unread = packet.data
        elif packet.command == constants.CLSE:
            self._is_open = False
        return packet.command

    def _send(self, command: bytes, data: bytes, deadline: float) -> None:
        self._connection.send_packet(command, self._local_id, self._remote_id, data, deadline)


def _features(banner: str) -> frozenset[str]:
    """The features in `device::ro.product.name=...;features=shell_v2,cmd`."""
    for field in banner.partition("::")[2].split(";"):
        name, _, value = field.partition("=")
        if name == "features":
            return frozenset(value.split(","))
    return frozenset()
