"""Whether a phone is in a state in which measuring it makes sense."""

from __future__ import annotations

import re

from device_farm.battery import read_battery
from device_farm.device import Device
from device_farm.errors import BatteryLow, CommandFailed, InfoUnreadable, ScreenOff, TooHot
from device_farm.knobs import ScreenOn
from device_farm.thermal import ThrottlingStatus, read_thermal

MIN_BATTERY_LEVEL = 0.3
_TIMEOUT_S = 20.0
_LOCK_SCREEN = re.compile(
    r"^\s*(?:showing|mShowingLockscreen|mDreamingLockscreen)=true\b", re.MULTILINE
)


def require_ready(device: Device, *, min_battery_level: float = MIN_BATTERY_LEVEL) -> list[str]:
    """Check a phone before measuring, while its Conditions are held.

    Args:
        device: The phone.
        min_battery_level: The charge it needs, in [0, 1].

    Returns:
        Warnings: what may disturb, but need not.

    Raises:
        BatteryLow: It has less charge.
        ScreenOff: Its screen is off although it was to wake up.
        TooHot: It throttles so much that waiting without cooling it is no use.
    """
    _require_charge(device, min_battery_level)
    status = read_thermal(device).status
    if status is not None and status >= ThrottlingStatus.SEVERE:
        raise TooHot(device.serial, f"its thermal status is {status.name}")
    screen = ScreenOn()
    value = screen.read(device)
    if value is not None and not screen.has_taken(value):
        raise ScreenOff(device.serial, f"the screen does not wake: it is {value}")
    lock = device.run("dumpsys window policy", timeout_s=_TIMEOUT_S).text
    if _LOCK_SCREEN.search(lock):
        return ["the screen is locked; programs run, but some phones slow them: better unlock it"]
    return []


def _require_charge(device: Device, min_level: float) -> None:
    try:
        battery = read_battery(device)
    except (CommandFailed, InfoUnreadable):
        return  # a board without one
    if battery.level < min_level:
        raise BatteryLow(
            device.serial, f"its battery is at {battery.level:.0%}, below {min_level:.0%}"
        )
