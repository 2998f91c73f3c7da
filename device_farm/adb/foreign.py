"""Errors of the libraries below, translated into ours; no other module names them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from adb_shell import exceptions as adb_shell

from device_farm.errors import (
    ConnectionLost,
    DeviceBusy,
    DeviceError,
    DeviceNotFound,
    DevicePermissionDenied,
    DeviceTimeout,
    DeviceUnauthorized,
    ProtocolViolation,
)

PAIR = "pair once with `adb pair HOST:PAIRING_PORT`, code and port under Wireless debugging"

# By name, because usb1 is optional. Whatever is not here means that the phone went away.
_USB_ERRORS: dict[str, tuple[type[DeviceError], str]] = {
    "USBErrorAccess": (DevicePermissionDenied, "no permission to open the USB device"),
    "USBErrorBusy": (DeviceBusy, "another program holds the USB interface"),
    "USBErrorNoDevice": (ConnectionLost, "the phone was unplugged"),
    "USBErrorTimeout": (DeviceTimeout, "no answer over USB"),
}


@contextmanager
def own_errors(serial: str) -> Iterator[None]:
    """Turn what adb-shell, usb1, ssl and sockets raise into DeviceErrors about `serial`."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:  # usb1, whose errors have no base but this, is optional
        translated = _translate(serial, error)
        if translated is None:
            raise
        raise translated from error


def _translate(serial: str, error: Exception) -> DeviceError | None:
    # adb-shell wraps the USB error in one of its own, as an argument
    for usb_error in (error, *error.args):
        if not type(usb_error).__module__.startswith("usb1"):
            continue
        kind, what = _USB_ERRORS.get(
            type(usb_error).__name__, (ConnectionLost, f"USB transfer failed: {usb_error!r}")
        )
        return kind(serial, what)
    match error:
        case adb_shell.UsbDeviceNotFoundError():
            return DeviceNotFound(serial, "no such phone on USB")
        case adb_shell.UsbReadFailedError() | adb_shell.UsbWriteFailedError():
            return ConnectionLost(serial, str(error))
        case adb_shell.TcpTimeoutException() | adb_shell.AdbTimeoutError() | TimeoutError():
            return DeviceTimeout(serial, "no answer in time")
        case adb_shell.InvalidResponseError():
            return ProtocolViolation(serial, str(error))
        case ssl.SSLError() if "ALERT" in (error.reason or ""):
            return DeviceUnauthorized(serial, "the phone refused this machine's key", PAIR)
        case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError):
            return ProtocolViolation(serial, f"no TLS connection: {error}")
        case ConnectionRefusedError():
            return DeviceNotFound(serial, "nothing listens at this address")
        case socket.gaierror() | UnicodeError():
            return DeviceNotFound(serial, "no machine has this name")
        case OSError():
            return ConnectionLost(serial, error.strerror or str(error))
    return None
