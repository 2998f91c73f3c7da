"""Looking at one phone: does it answer, what is it, how does it do."""

from __future__ import annotations

import time
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, replace

from device_farm.adb import AdbPhone, ServerRoute, UsbRoute
from device_farm.adb.connection import AdbConnection
from device_farm.adb.server import ServerLink
from device_farm.adb.stream import Link, seconds_left
from device_farm.battery import Battery, read_battery
from device_farm.errors import (
    CommandFailed,
    DeviceError,
    DeviceOffline,
    DeviceTimeout,
    InfoUnreadable,
    printable,
)
from device_farm.found import READY, FoundDevice, PhoneRoute, state_of
from device_farm.info import DeviceInfo, read_info
from device_farm.task import start
from device_farm.thermal import ThermalState, read_thermal

_TIMEOUT_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Lead:
    """Where a phone may be.

    Attributes:
        serial: Its name there.
        way: See FoundDevice.
        route: How to reach it; None where nobody can.
        problem: What makes asking it pointless; None when it should be asked.
        state: What the place itself calls its state; empty for what the problem is called.
    """

    serial: str
    way: str
    route: PhoneRoute | None = None
    problem: DeviceError | None = None
    state: str = ""


class Probe:
    """Asks the phone behind a lead, in a thread of its own, until a deadline.

    Args:
        lead: Where to look.
        deadline: When to stop, as a reading of `time.monotonic()`.
        auth_timeout_s: How long the user may take to accept the prompt on the phone. It must end
            well before the deadline for an ignored prompt to be told as such.
    """

    def __init__(self, lead: Lead, *, deadline: float, auth_timeout_s: float) -> None:
        self._lead = lead
        self._deadline = deadline
        self._is_served = False
        self._identity = ""
        self._info: DeviceInfo | None = None
        self._battery: Battery | None = None
        self._thermal: ThermalState | None = None
        self._auth_timeout_s = auth_timeout_s
        self._phone = AdbPhone(self)
        self._asking = None if lead.problem else start(self._ask)

    @property
    def serial(self) -> str:
        """See Route.serial."""
        return self._lead.serial

    def connect(self, timeout_s: float) -> Link:
        """See Route.connect; the lead's route, but never beyond the deadline."""
        route = self._lead.route
        assert route is not None
        if not isinstance(route, ServerRoute):
            route = replace(route, auth_timeout_s=self._auth_timeout_s)
        link: AdbConnection | ServerLink
        link = route.connect(min(timeout_s, seconds_left(self._deadline)))
        self._is_served = isinstance(link, ServerLink)
        if time.monotonic() > self._deadline:  # nobody waits for it any more
            link.close()
            raise DeviceTimeout(self.serial, "no answer in time")
        return link

    def result(self) -> FoundDevice:
        """What the phone has told, at the latest at the deadline."""
        problem = self._lead.problem
        if self._asking is not None:
            wait([self._asking], timeout=max(0.0, self._deadline - time.monotonic()))
            problem = self._problem()
            self._phone.close()  # wakes a thread that still waits, and frees a cable
        return FoundDevice(
            serial=self.serial,
            way=self._way(),
            state=self._lead.state or (state_of(problem) if problem else READY),
            remedy=(problem.remedy or problem.what) if problem else "",
            info=self._info,
            battery=self._battery,
            thermal=self._thermal,
            route=self._lead.route,
            identity=self._identity or printable(self.serial),
            problem=problem,
        )

    def _ask(self) -> None:
        phone = self._phone
        number = phone.run("getprop ro.serialno", timeout_s=_TIMEOUT_S).text.strip()
        self._identity = printable(number)
        self._info = read_info(phone)
        with suppress(CommandFailed, InfoUnreadable):  # a board may have no battery
            self._battery = read_battery(phone)
        self._thermal = read_thermal(phone)

    def _problem(self) -> DeviceError | None:
        """What went wrong; a phone that is only slow to tell the rest has no problem."""
        assert self._asking is not None
        if self._asking.done():
            error = self._asking.exception()
            if error is not None and not isinstance(error, DeviceError):
                raise error
            return error
        if self._info is not None:
            return None
        return DeviceOffline(self.serial, "no answer in time")

    def _way(self) -> str:
        """As the lead says, unless USB turned out to be held by an adb server."""
        route = self._lead.route
        if self._is_served and isinstance(route, UsbRoute):
            return f"adb server {route.server}"
        return self._lead.way
