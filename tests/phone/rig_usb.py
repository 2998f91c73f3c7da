"""libusb with phones on it, as far as adb-shell uses the module `usb1`: their cables are sockets.

The bytes come from a real daemon. What a cable does differently from a socket is played here:
claims, permissions, unplugging, and transfers that time out half-way.
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest


class USBError(Exception):
    """As in usb1."""


class USBErrorAccess(USBError):
    """This user may not open the device."""


class USBErrorBusy(USBError):
    """Another process holds the interface."""


class USBErrorNoDevice(USBError):
    """The device was unplugged."""


class USBErrorNotFound(USBError):
    """There is no such thing."""


class USBErrorTimeout(USBError):
    """The transfer did not complete; `received` came so far."""

    def __init__(self, received: bytes) -> None:
        self.received = received


MAX_PACKET = 512
AWAY_S = 0.5  # how long a phone is off the bus that starts its USB anew


class Cable:
    """A phone on USB: the device and its only setting in one.

    Attributes:
        is_denied: This user may not open it.
        is_busy: Another program holds it.
        is_unplugged: It is gone.
        leaves_when_greeted: It is off the bus for a moment once it is written to.
        resets_needed: So often it must be reset before it says anything.
        resets: So often it was.
        bytes_per_transfer: A read gives up after so many bytes when it asked for more; or None.
        closed_in_use: Whether it was closed during a transfer, which libusb does not survive.
    """

    def __init__(self, serial: str, address: tuple[str, int]) -> None:
        self.serial = serial
        self.is_denied = False
        self.is_busy = False
        self.is_unplugged = False
        self.leaves_when_greeted = False
        self.resets_needed = 0
        self.resets = 0
        self.bytes_per_transfer: int | None = None
        self.closed_in_use = False
        self.opened = 0
        self.claimant: _Handle | None = None
        self.address = address

    def getSerialNumber(self) -> str:
        self.require_access()
        return self.serial

    def getBusNumber(self) -> int:
        return 1

    def getPortNumberList(self) -> list[int]:
        return [1]

    def iterSettings(self) -> Iterator[Cable]:
        yield self

    def getClass(self) -> int:
        return 0xFF

    def getSubClass(self) -> int:
        return 0x42

    def getProtocol(self) -> int:
        return 0x01

    def getNumber(self) -> int:
        return 0

    def iterEndpoints(self) -> Iterator[_Endpoint]:
        yield _Endpoint(0x81)
        yield _Endpoint(0x01)

    def open(self) -> _Handle:
        self.require_access()
        self.opened += 1
        return _Handle(self)

    def leave(self) -> None:
        """Leave the bus and come back."""
        self.is_unplugged = True
        threading.Timer(AWAY_S, setattr, (self, "is_unplugged", False)).start()

    def require_access(self) -> None:
        if self.is_unplugged:
            raise USBErrorNoDevice
        if self.is_denied:
            raise USBErrorAccess


class _Handle:
    """An open device; of several only one can claim the interface."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self._transfers = 0
        self._socket: socket.socket | None = None

    def kernelDriverActive(self, _: int) -> bool:
        return False

    def claimInterface(self, _: int) -> None:
        if self._cable.is_busy or self._cable.claimant not in (None, self):
            raise USBErrorBusy
        self._cable.claimant = self
        self._socket = socket.create_connection(self._cable.address)

    def releaseInterface(self, _: int) -> None:
        self._cable.closed_in_use |= self._transfers > 0
        if self._socket is not None:
            self._cable.claimant = None
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self.releaseInterface(0)

    def resetDevice(self) -> None:
        self._cable.resets += 1
        self._cable.leave()
        raise USBErrorNotFound

    def bulkWrite(self, _: int, data: bytes, timeout: int) -> int:
        if self._cable.leaves_when_greeted:
            self._cable.leaves_when_greeted = False
            self._cable.leave()
        with self._transfer():
            connected = self._connected
            if not self._is_mute:
                connected.sendall(data)
        return len(data)

    def bulkRead(self, _: int, length: int, timeout: int) -> bytes:
        with self._transfer():
            return self._receive(length, timeout)

    @contextmanager
    def _transfer(self) -> Iterator[None]:
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1

    def _receive(self, length: int, timeout: int) -> bytes:
        connected = self._connected
        deadline = time.monotonic() + timeout / 1000
        received = b""
        while len(received) < length:
            if self._cable.bytes_per_transfer and len(received) >= self._cable.bytes_per_transfer:
                raise USBErrorTimeout(received)
            connected.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = connected.recv(
                    min(length - len(received), self._cable.bytes_per_transfer or length)
                )
            except TimeoutError:
                raise USBErrorTimeout(received) from None
            if not piece:
                raise USBErrorNoDevice
            received += piece
        return received

    @property
    def _is_mute(self) -> bool:
        return self._cable.resets < self._cable.resets_needed

    @property
    def _connected(self) -> socket.socket:
        if self._cable.is_unplugged or self._socket is None:
            raise USBErrorNoDevice
        return self._socket


class _Endpoint:
    def __init__(self, address: int) -> None:
        self._address = address

    def getAddress(self) -> int:
        return self._address

    def getMaxPacketSize(self) -> int:
        return MAX_PACKET


def plug_in(cables: list[Cable] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these the phones on USB for one test; None takes libusb away."""
    monkeypatch.setitem(sys.modules, "usb1", None if cables is None else usb1_module(cables))
    for name in ("adb_shell.transport.usb_transport", "device_farm.adb.usb_transport"):
        monkeypatch.setitem(sys.modules, name, None)  # so that what the test imports goes away
        del sys.modules[name]


def usb1_module(cables: list[Cable]) -> ModuleType:
    """What `import usb1` shall give."""

    class USBContext:
        def open(self) -> None:
            pass

        def close(self) -> None:
            pass

        def getDeviceIterator(self, skip_on_error: bool) -> Iterator[Cable]:
            return itertools.chain(cables)

    module = ModuleType("usb1")
    errors = [USBError, *USBError.__subclasses__()]
    for kind in errors:
        kind.__module__ = "usb1"
    for value in [USBContext, *errors]:
        setattr(module, value.__name__, value)
    module.CLASS_VENDOR_SPEC = 0xFF  # type: ignore[attr-defined]
    module.ENDPOINT_DIR_MASK = 0x80  # type: ignore[attr-defined]
    return module
