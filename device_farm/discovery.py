"""Every phone that this machine can reach: on USB, in the network, through adb servers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from pathlib import Path

from device_farm.adb import AdbServer, ServerRoute, TcpRoute, UsbRoute
from device_farm.adb.server import LOCAL_SERVER, ServerDevice
from device_farm.adb.stream import seconds_left
from device_farm.adb.usb import UsbPhone, list_usb_phones
from device_farm.address import parse_address
from device_farm.errors import (
    AdbServerUnreachable,
    DeviceAmbiguous,
    DeviceError,
    DeviceNotFound,
    DeviceOffline,
    DevicePermissionDenied,
    DeviceUnauthorized,
    printable,
)
from device_farm.found import FoundDevice, merge
from device_farm.lease import holder_of
from device_farm.probe import Lead, Probe
from device_farm.task import start

__all__ = ["ADB_PORT", "FoundDevice", "discover", "look", "look_again", "with_holders"]

ADB_PORT = 5555
# What probes may take beyond the deadline to tell what they know, on a machine that is busy.
_GRACE_S = 1.0
_SERVER_STATES: dict[str, type[DeviceError]] = {
    "unauthorized": DeviceUnauthorized,
    "authorizing": DeviceUnauthorized,
    "offline": DeviceOffline,
    "connecting": DeviceOffline,
}
_LOGGER = logging.getLogger(__name__)


def discover(
    *,
    servers: Sequence[AdbServer] = (LOCAL_SERVER,),
    addresses: Sequence[str] = (),
    timeout_s: float = 5.0,
    key_directory: Path | None = None,
) -> list[FoundDevice]:
    """Look everywhere at once, and show each phone once.

    A phone that does not answer in time is listed as offline and holds up no other. An absent adb
    server on this machine is no news; one elsewhere, which somebody named, is a row of its own.

    Args:
        servers: The adb servers to ask.
        addresses: Phones in the network, as `host:port`; the port is 5555 by default.
        timeout_s: When to stop looking.
        key_directory: Where this machine's key lies, by default `~/.android`.

    Raises:
        ValueError: An address is none.
        LeaseUnusable: The folder that tells who uses which phone cannot be read.
    """
    seen = look(
        servers=servers, addresses=addresses, timeout_s=timeout_s, key_directory=key_directory
    )
    return with_holders(merge(seen))


def look(
    *,
    servers: Sequence[AdbServer],
    addresses: Sequence[str],
    timeout_s: float,
    key_directory: Path | None = None,
) -> list[FoundDevice]:
    """As `discover`, with a row for each way in which a phone was seen."""
    deadline = time.monotonic() + timeout_s
    network = [_address_lead(text, key_directory) for text in dict.fromkeys(addresses)]
    sources: dict[str, Callable[[], list[Lead]]] = {
        "the network": lambda: network,
        "USB": partial(_usb_leads, key_directory),
        **{f"adb server {each}": partial(_server_leads, each, timeout_s) for each in servers},
    }
    searches = {
        start(partial(_follow, source, deadline)): name for name, source in sources.items()
    }
    done, late = wait(searches, timeout=timeout_s + _GRACE_S)
    for search in late:  # libusb and name servers know no timeout
        _LOGGER.warning("no list of phones from %s within %s s", searches[search], timeout_s)
    return [row for search in searches if search in done for row in search.result()]


def look_again(
    found: FoundDevice, *, timeout_s: float, auth_timeout_s: float = 0.0
) -> FoundDevice:
    """Ask one phone anew, in the way in which it was found.

    Args:
        found: What was found before.
        timeout_s: When to stop.
        auth_timeout_s: How much longer the user may take to accept the prompt on the phone.
    """
    lead = Lead(serial=found.serial, way=found.way, route=found.route)
    deadline = time.monotonic() + timeout_s + auth_timeout_s
    patience_s = max(timeout_s / 2, auth_timeout_s)
    return Probe(lead, deadline=deadline, auth_timeout_s=patience_s).result()


def with_holders(rows: list[FoundDevice]) -> list[FoundDevice]:
    """The same rows, with who leases each phone."""
    holders = [holder_of(row.identity) for row in rows]
    return [
        replace(row, holder=None if holder is None else str(holder))
        for row, holder in zip(rows, holders, strict=True)
    ]


def _follow(source: Callable[[], list[Lead]], deadline: float) -> list[FoundDevice]:
    """Ask every phone that a source names, all at once."""
    leads = source()
    patience_s = seconds_left(deadline) / 2  # for a prompt; the rest is for the phone itself
    probes = [Probe(lead, deadline=deadline, auth_timeout_s=patience_s) for lead in leads]
    return [probe.result() for probe in probes]


def _address_lead(text: str, key_directory: Path | None) -> Lead:
    host, port = parse_address(text, ADB_PORT)
    route = TcpRoute(host=host, port=port, key_directory=key_directory)
    return Lead(serial=route.serial, way="tcp", route=route)


def _server_leads(server: AdbServer, timeout_s: float) -> list[Lead]:
    way = f"adb server {server}"
    try:
        return [_server_lead(server, way, device) for device in server.devices(timeout_s)]
    except AdbServerUnreachable as error:
        return [] if server == LOCAL_SERVER else [_broken_server(server, way, error)]
    except DeviceError as error:
        return [_broken_server(server, way, error)]


def _broken_server(server: AdbServer, way: str, error: DeviceError) -> Lead:
    return Lead(serial=str(server), way=way, problem=error, state="unreachable")


def _server_lead(server: AdbServer, way: str, device: ServerDevice) -> Lead:
    serial, state = device.serial, device.state
    route = ServerRoute(serial=serial, server=server)
    if state == "device":
        return Lead(serial=serial, way=way, route=route)
    what = f"adb server {server} says {state!r}"
    if state.startswith("no permissions"):
        problem: DeviceError = DevicePermissionDenied(serial, what)
    elif state in _SERVER_STATES:
        problem = _SERVER_STATES[state](serial, what)
    else:  # recovery, bootloader, sideload, ...
        remedy = "start Android on the phone, for example with `adb reboot`"
        problem = DeviceOffline(serial, what, remedy)
        return Lead(serial=serial, way=way, route=route, problem=problem, state=printable(state))
    return Lead(serial=serial, way=way, route=route, problem=problem)


def _usb_leads(key_directory: Path | None) -> list[Lead]:
    try:
        phones = list_usb_phones()
    except DeviceNotFound as error:
        _LOGGER.info("phones on USB are not looked for: %s; %s", error.what, error.remedy)
        return []
    except DeviceError as error:
        _LOGGER.warning("phones on USB cannot be listed: %s", error)
        return []
    count = Counter(phone.serial for phone in phones)
    return [_usb_lead(phone, count[phone.serial], key_directory) for phone in phones]


def _usb_lead(phone: UsbPhone, count: int, key_directory: Path | None) -> Lead:
    if phone.problem is not None:
        return Lead(serial=phone.port, way="usb", problem=phone.problem)
    if phone.serial == "":
        remedy = "reach it through an adb server, which goes by port, or in the network"
        problem = DeviceAmbiguous(phone.port, "this phone has no serial number", remedy)
        return Lead(serial=phone.port, way="usb", problem=problem, state="no serial number")
    if count > 1:
        remedy = "unplug all but one of them, or reach them in the network"
        what = f"{count} phones on USB have this serial number"
        problem = DeviceAmbiguous(phone.serial, what, remedy)
        return Lead(serial=phone.serial, way="usb", problem=problem, state="ambiguous")
    route = UsbRoute(serial=phone.serial, key_directory=key_directory)
    return Lead(serial=phone.serial, way="usb", route=route)
