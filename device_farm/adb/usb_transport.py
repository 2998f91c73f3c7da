"""adb-shell's USB transport, losing nothing on timeouts; imports libusb1."""

from __future__ import annotations

import usb1
from adb_shell.exceptions import UsbReadFailedError
from adb_shell.transport.usb_transport import UsbTransport


class PatientUsbTransport(UsbTransport):  # type: ignore[misc]  # adb-shell has no annotations
    """Keeps the part of a transfer that came before a timeout."""

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None = None) -> bytes:
        """Between 1 and `numbytes` bytes."""
        try:
            data: bytes = super().bulk_read(numbytes, transport_timeout_s)
        except UsbReadFailedError as error:
            if not isinstance(error.usb_error, usb1.USBErrorTimeout):
                raise
            data = bytes(error.usb_error.received or b"")
            if not data:
                raise
        return data
