"""adb-shell's USB transport, safe for several threads and patient; imports libusb1."""

from __future__ import annotations

import threading
import time
from typing import Any

import usb1
from adb_shell.exceptions import UsbReadFailedError
from adb_shell.transport.usb_transport import UsbTransport

# How long `close` may have to wait for a thread that reads.
_TRANSFER_TIMEOUT_S = 0.25


class PatientUsbTransport(UsbTransport):  # type: ignore[misc]  # adb-shell has no annotations
    """Keeps the part of a transfer that came before a timeout, and never closes during one.

    libusb does not survive that a device is closed while another thread waits for it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_open = False
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def connect(self, transport_timeout_s: float) -> None:
        """Open the device and claim its interface."""
        super().connect(transport_timeout_s)
        self._is_open = True

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
        """All of `data`."""
        with self._writing:
            self._require_open()
            sent: int = super().bulk_write(data, transport_timeout_s)
            return sent

    def close(self) -> None:
        """Give the device back, once no thread uses it."""
        self._is_open = False
        with self._reading, self._writing:
            super().close()

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
