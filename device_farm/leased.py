"""A phone that is ours until we give it back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from device_farm.adb import AdbPhone
from device_farm.found import FoundDevice
from device_farm.info import DeviceInfo


@dataclass(frozen=True, kw_only=True)
class LeasedPhone:
    """A phone that no other run of ours uses meanwhile.

    Attributes:
        phone: Connects when a verb needs it, and anew after a loss.
        found: How and in which state it was found when it was leased.
        info: What it is.
        cancelled: Set when the work shall end soon, as after Ctrl-C; long work looks at it.
    """

    phone: AdbPhone
    found: FoundDevice
    info: DeviceInfo
    cancelled: threading.Event = field(default_factory=threading.Event)
