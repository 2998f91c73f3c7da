"""Phones on a cable; needs the extra `usb`, which is libusb1."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device_farm.adb.connection import AUTH_TIMEOUT_S, AdbConnection
from device_farm.adb.foreign import own_errors
from device_farm.adb.server import LOCAL_SERVER, AdbServer, ServerLink, ServerRoute
from device_farm.adb.stream import seconds_left
from device_farm.errors import (
    ConnectionLost,
    DeviceBusy,
    DeviceError,
    DeviceNotFound,
    DeviceOffline,
    DevicePermissionDenied,
    DeviceUnreachable,
)

if TYPE_CHECKING:
    from device_farm.adb.usb_transport import PatientUsbTransport

# Of the time to connect, what a phone may take to answer at all before its USB is reset.
_ANSWER_SHARE = 0.5
_RETRY_PAUSE_S = 0.2

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class UsbRoute:
    """The phone with this serial on any USB port.

    A running adb server holds every phone's USB interface. It is not killed: the phone is then
    reached through it.

    Attributes:
        serial: As `adb devices` shows it; never "the first one".
        key_directory: Where this machine's key lies, by default `~/.android`.
        auth_timeout_s: How long the user may take to accept the prompt.
        server: The adb server that may hold the phone.
    """

    serial: str
    key_directory: Path | None = None
    auth_timeout_s: float = AUTH_TIMEOUT_S
    server: AdbServer = LOCAL_SERVER

    def connect(self, timeout_s: float) -> AdbConnection | ServerLink:
        """See Route.connect.

        Raises:
            DevicePermissionDenied: A udev rule is missing.
            DeviceBusy: Another program than the adb server holds the phone.
        """
        try:
            return self._connect_directly(timeout_s)
        except DeviceBusy as busy:
            return self._connect_through_server(busy, timeout_s)

    def _connect_directly(self, timeout_s: float) -> AdbConnection:
        """Shake hands, if need be once more with a phone whose USB was reset.

        A program that dies while it sends leaves the phone in wait for the rest of a packet. It
        takes what the next one says for that rest, and is mute for good.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return self._shake_hands(_ANSWER_SHARE * timeout_s)
        except DeviceOffline:
            _LOGGER.warning("%s does not answer; resetting its USB", self.serial)
            with suppress(DeviceUnreachable), own_errors(self.serial):
                _find_transport(self.serial).reset()
        except ConnectionLost as error:
            _LOGGER.info("%s; waiting for it to come back", error)
        return self._connect_when_back(deadline)

    def _connect_when_back(self, deadline: float) -> AdbConnection:
        """Shake hands with a phone that may be about to leave the bus and to come back."""
        while True:
            try:
                return self._shake_hands(max(1.0, round(seconds_left(deadline), 1)))
            except (ConnectionLost, DeviceNotFound, DevicePermissionDenied):  # before udev's rule
                if time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_PAUSE_S)

    def _shake_hands(self, timeout_s: float) -> AdbConnection:
        connection = AdbConnection(_find_transport(self.serial), self.serial, self.key_directory)
        connection.connect_phone(timeout_s, self.auth_timeout_s)
        return connection

    def _connect_through_server(self, busy: DeviceBusy, timeout_s: float) -> ServerLink:
        try:
            link = ServerRoute(serial=self.serial, server=self.server).connect(timeout_s)
        except DeviceUnreachable:
            raise busy from None
        _LOGGER.info("%s: USB is held by the adb server %s; using it", self.serial, self.server)
        return link


@dataclass(frozen=True, kw_only=True)
class UsbPhone:
    """A phone on a USB port.

    Attributes:
        serial: Its number; empty when it has none or this user may not read it.
        port: The port, such as `usb:1-4.2`, as `adb` writes it.
        problem: Why the serial could not be read.
    """

    serial: str
    port: str
    problem: DeviceError | None


def list_usb_phones() -> list[UsbPhone]:
    """Every phone on USB, usable or not; none is claimed.

    Raises:
        DeviceNotFound: USB is not available at all, because libusb is absent.
    """
    return [_usb_phone(transport) for transport in _all_transports("usb")]


def _usb_phone(transport: PatientUsbTransport) -> UsbPhone:
    bus, *hubs = transport.port_path
    port = f"usb:{bus}-{'.'.join(map(str, hubs))}"
    problem: DeviceError | None = None
    serial = ""
    try:
        with own_errors(port):
            serial = transport.serial_number or ""
    except DeviceError as error:
        problem = error
    return UsbPhone(serial=serial, port=port, problem=problem)


def _find_transport(serial: str) -> PatientUsbTransport:
    """The transport of the phone with this serial, not yet open."""
    denied: DeviceError | None = None
    for transport in _all_transports(serial):
        try:
            with own_errors(serial):
                is_wanted = transport.serial_number == serial
        except DevicePermissionDenied as error:
            denied = error  # its serial cannot be read, so it may be the wanted one
        except DeviceUnreachable:
            continue  # unplugged at this moment
        else:
            if is_wanted:
                return transport
    raise denied or DeviceNotFound(serial, "no such phone on USB")


def _all_transports(serial: str) -> list[PatientUsbTransport]:
    """A transport for every phone on USB."""
    try:
        from device_farm.adb.usb_transport import PatientUsbTransport
    except (ImportError, OSError) as error:
        raise DeviceNotFound(
            serial,
            f"USB is not available: {error}",
            "install libusb-1.0 and `pip install pocketnas[usb]`, or start an adb server",
        ) from error
    with own_errors(serial):
        return list(PatientUsbTransport.find_all_adb_devices())
