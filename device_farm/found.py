"""A phone that was found: how to reach it, how it does, and what to do when it is unusable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from device_farm.adb import ServerRoute, TcpRoute, UsbRoute
from device_farm.battery import Battery
from device_farm.errors import (
    AdbKeyUnusable,
    DeviceBusy,
    DeviceError,
    DeviceOffline,
    DevicePermissionDenied,
    DeviceTimeout,
    DeviceUnauthorized,
    DeviceUnreachable,
    printable,
)
from device_farm.info import DeviceInfo
from device_farm.thermal import ThermalState

PhoneRoute = UsbRoute | TcpRoute | ServerRoute

READY = "ready"
# The first that fits.
_STATES: tuple[tuple[type[DeviceError], str], ...] = (
    (DeviceUnauthorized, "unauthorized"),
    (DevicePermissionDenied, "no permissions"),
    (DeviceBusy, "busy"),
    (DeviceOffline, "offline"),
    (DeviceTimeout, "offline"),
    (DeviceUnreachable, "unreachable"),
    (AdbKeyUnusable, "no key"),
    (DeviceError, "unreadable"),
)
# Where two ways lead to one phone, the one with less between.
_PREFERRED_WAYS = ("usb", "tcp")


@dataclass(frozen=True, kw_only=True)
class FoundDevice:
    """A phone, reached in one of the ways in which it was seen.

    Attributes:
        serial: What the user types to name it; its own text, so `printable` before it is shown.
        way: `usb`, `tcp` or `adb server HOST:PORT`.
        state: `ready`, or why it is not: `unauthorized`, `offline`, `no permissions`, `busy`,
            `unreachable`, `unreadable`, `no key`, or what an adb server calls it, as `recovery`.
        remedy: What the user can do about it; empty when ready.
        info: None where it could not be read, as are `battery` and `thermal`.
        holder: Who leases it, as `pid 123, pocketnas profile, since 10:31`; None when free.
        route: How to reach it; None where nobody can.
        identity: Its serial number as it tells itself, the same in every way; `serial` where it
            tells none. Safe to print.
        aliases: Its names in the other ways in which it was seen.
        problem: What stands behind a state other than `ready`.
    """

    serial: str
    way: str
    state: str
    remedy: str
    info: DeviceInfo | None = None
    battery: Battery | None = None
    thermal: ThermalState | None = None
    holder: str | None = None
    route: PhoneRoute | None = None
    identity: str = ""
    aliases: tuple[str, ...] = ()
    problem: DeviceError | None = field(default=None, compare=False, repr=False)

    @property
    def is_ready(self) -> bool:
        """Whether it can be used, by its holder if it has one."""
        return self.state == READY

    def has_name(self, name: str) -> bool:
        """Whether the user may mean this phone; its own text may be typed as it is shown."""
        own = (self.serial, printable(self.serial), self.identity, *self.aliases)
        return name in own

    def to_json(self) -> dict[str, Any]:
        """The row as plain values, with all text safe to print."""
        return {
            "serial": printable(self.serial),
            "identity": self.identity,
            "aliases": [printable(alias) for alias in self.aliases],
            "way": self.way,
            "state": self.state,
            "remedy": self.remedy,
            "holder": self.holder,
            "info": _info_json(self.info),
            "battery": None if self.battery is None else asdict(self.battery),
            "thermal": _thermal_json(self.thermal),
        }


def to_text(row: FoundDevice) -> str:
    """The row for people: a line, and one more with what to do when the phone is unusable."""
    words = [printable(row.serial), row.state, row.way]
    if row.info:
        words.append(f"{row.info.manufacturer} {row.info.model} ({row.info.soc}, {row.info.abi})")
        words.append(f"Android {row.info.android}")
        words += [str(cluster) for cluster in row.info.clusters]
    if row.thermal and row.thermal.status is not None:
        words.append(f"thermal {row.thermal.status.name.lower()}")
    if row.thermal and row.thermal.surface_celsius is not None:
        words.append(f"{row.thermal.surface_celsius:.0f} C")
    if row.battery:
        words.append(f"battery {row.battery.level:.0%}")
    if row.holder:
        words.append(f"held by {row.holder}")
    text = "  ".join(words)
    return f"{text}\n    {row.remedy}" if row.remedy else text


def state_of(problem: DeviceError) -> str:
    """The word for what keeps a phone from being used."""
    return next(state for kind, state in _STATES if isinstance(problem, kind))


def merge(seen: Iterable[FoundDevice]) -> list[FoundDevice]:
    """Each phone once, in the way that is usable, by serial.

    Two rows are one phone when both tell the same identity, or when one does not tell any and
    they have a name in common.
    """
    phones: list[list[FoundDevice]] = []
    for row in sorted(seen, key=_rank):
        for group in phones:
            if any(_is_same(row, other) for other in group):
                group.append(row)
                break
        else:
            phones.append([row])
    return sorted((_joined(group) for group in phones), key=lambda row: row.serial)


def _rank(row: FoundDevice) -> tuple[bool, bool, int, str]:
    ways = _PREFERRED_WAYS
    way = ways.index(row.way) if row.way in ways else len(ways)
    return (not row.is_ready, row.state == "unreachable", way, row.serial)


def _is_same(one: FoundDevice, other: FoundDevice) -> bool:
    if one.is_ready and other.is_ready:
        return one.identity == other.identity
    return bool({one.serial, one.identity} & {other.serial, other.identity})


def _joined(group: list[FoundDevice]) -> FoundDevice:
    best = group[0]
    names = {name for row in group for name in (row.serial, row.identity)}
    return replace(best, aliases=tuple(sorted(names - {best.serial})))


def _info_json(info: DeviceInfo | None) -> dict[str, Any] | None:
    if info is None:
        return None
    clusters = [
        {"cpus": list(each.cpus), "max_mhz": each.max_mhz, "mask": f"{each.mask:x}"}
        for each in info.clusters
    ]
    return asdict(info) | {"clusters": clusters}


def _thermal_json(thermal: ThermalState | None) -> dict[str, Any] | None:
    if thermal is None:
        return None
    return {
        "status": None if thermal.status is None else thermal.status.name.lower(),
        "temperatures": [
            {"sensor": each.sensor.name.lower(), "name": each.name, "celsius": each.celsius}
            for each in thermal.temperatures
        ],
    }
