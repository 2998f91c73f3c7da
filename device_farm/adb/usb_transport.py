"""adb-shell's USB transport, safe for several threads and patient; imports libusb1.

Source of what a phone expects: AOSP, packages/modules/adb, `daemon/usb.cpp` (the phone's end) and
`client/usb_libusb_device.cpp`, `docs/dev/zero_length_packet.md` (Google's own client).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import usb1
from adb_shell.exceptions import UsbReadFailedError
from adb_shell.transport.usb_transport import (
    CLASS,
    PROTOCOL,
    SUBCLASS,
    UsbTransport,
    interface_matcher,
)

# How long `close` may have to wait for a thread that reads.
_TRANSFER_TIMEOUT_S = 0.25
# A phone that has said nothing for so long has nothing left to say.
_SILENCE_S = 0.1
_MAX_DRAIN_S = 5.0
_DRAIN_BYTES = 1 << 20


class _Bus:
    """What is plugged in at this moment; closes libusb when nothing of it is in use any more."""

    def __init__(self) -> None:
        self._context = usb1.USBContext()
        self._context.open()

    def __del__(self) -> None:
        self._context.close()

    def devices(self) -> Iterator[Any]:
        """Every device whose description can be read."""
        devices: Iterator[Any] = self._context.getDeviceIterator(skip_on_error=True)
        return devices


class PatientUsbTransport(UsbTransport):  # type: ignore[misc]  # adb-shell has no annotations
    """Keeps the part of a transfer that came before a timeout, and never closes during one.

    libusb does not survive that a device is closed while another thread waits for it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bus: _Bus | None = None
        self._is_open = False
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    @classmethod
    def find_all_adb_devices(
        cls, default_transport_timeout_s: float | None = None
    ) -> Iterator[PatientUsbTransport]:
        """A transport for every phone that is plugged in now.

        adb-shell asks one libusb for the life of the process, and that hears of phones from udev:
        without udev, as in a container, it only knows those that were there at the start.
        """
        bus = _Bus()
        is_phone = interface_matcher(CLASS, SUBCLASS, PROTOCOL)
        for device in bus.devices():
            setting = is_phone(device)
            if setting is not None:
                transport = cls(device, setting, None, default_transport_timeout_s)
                transport._bus = bus
                yield transport

    def connect(self, transport_timeout_s: float) -> None:
        """Open the device, claim its interface and drop what a client before has left unread."""
        if self._bus is None:  # libusb does not survive the opening of a device it has closed
            raise ConnectionAbortedError("the connection was closed")
        super().connect(transport_timeout_s)
        self._is_open = True
        self._drain()

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        """Between 1 and `numbytes` bytes."""
        deadline = time.monotonic() + transport_timeout_s
        while True:
            with self._reading:
                self._require_open()
                data = self._transfer(numbytes, min(transport_timeout_s, _TRANSFER_TIMEOUT_S))
            if data:
                return data
            if time.monotonic() > deadline:
                raise TimeoutError("the deadline has passed")

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        """All of `data`.

        The phone asks for more than it is sent, so to it a transfer ends with a USB packet that is
        not full; after full ones it waits for an empty one.
        """
        with self._writing:
            self._require_open()
            sent: int = super().bulk_write(data, transport_timeout_s)
            if data and len(data) % self._packet_size() == 0:
                super().bulk_write(b"", transport_timeout_s)
            return sent

    def close(self) -> None:
        """Give the device back, once no thread uses it."""
        was_open, self._is_open = self._is_open, False
        with self._reading, self._writing:
            handle = self._transport
            if was_open:
                with suppress(OSError, UsbReadFailedError):  # it may be gone
                    self._drain()
            super().close()
            if handle is not None:
                handle.close()  # which adb-shell forgets when there was no interface to release
                self._bus = None

    def reset(self) -> None:
        """Have the phone forget all that it was sent, instead of `connect`.

        It may leave the bus, and is back within seconds; this transport ends here.
        """
        handle = self._device.open()
        try:
            with suppress(usb1.USBErrorNotFound):  # it has left already
                handle.resetDevice()
        finally:
            handle.close()
            self._bus = None

    def _packet_size(self) -> int:
        """The bytes in a full USB packet to the phone."""
        (size,) = (
            endpoint.getMaxPacketSize()
            for endpoint in self._setting.iterEndpoints()
            if endpoint.getAddress() == self._write_endpoint
        )
        return int(size)

    def _drain(self) -> None:
        """Read until the phone is silent.

        adbd gives up its connection when a new client comes while an old answer is still unread:
        the phone then leaves the bus for a second.
        """
        deadline = time.monotonic() + _MAX_DRAIN_S
        while self._transfer(_DRAIN_BYTES, _SILENCE_S):
            if time.monotonic() > deadline:
                raise TimeoutError("the phone sends without end")

    def _transfer(self, numbytes: int, timeout_s: float) -> bytes:
        """What one transfer brings before its timeout."""
        try:
            data: bytes = super().bulk_read(numbytes, timeout_s)
        except UsbReadFailedError as error:
            if not isinstance(error.usb_error, usb1.USBErrorTimeout):
                raise
            data = bytes(error.usb_error.received or b"")
        return data

    def _require_open(self) -> None:
        if not self._is_open:
            raise ConnectionAbortedError("another thread closed the connection")
