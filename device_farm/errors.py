"""What can go wrong between this machine and a device, each with its remedy.

DeviceError
├── DeviceUnreachable        may come back: retrying makes sense
│   ├── DeviceNotFound       nobody answers to that serial or address
│   ├── DeviceOffline        known, but does not answer
│   ├── ConnectionLost       was there and went away
│   └── AdbServerUnreachable no adb server listens at that address
├── DeviceUnauthorized       the phone does not trust this machine (yet)
├── DevicePermissionDenied   this user may not open the USB device
├── DeviceBusy               another program holds the device
│   └── DeviceLeased         another run of ours uses the device
├── DeviceAmbiguous          the name fits several devices
├── DeviceTimeout            no answer in time
│   └── CommandTimeout       a command ran longer than it may; it was killed
├── CommandFailed            a command that had to succeed did not
├── ConditionRefused         a setting of the phone did not take
├── ConditionsNotRestored    a setting of the phone could not be put back
├── CpuMaskUnfit             the wanted CPUs are not there
├── DeviceNotReady           measured now, it would give wrong figures
│   ├── BatteryLow
│   ├── ScreenOff
│   └── TooHot
├── InfoUnreadable           what the device tells about itself makes no sense
├── OutputTooLarge           a command or file gave more bytes than allowed
├── ServiceRefused           the device does not offer that service
├── TransferFailed
│   ├── PushFailed
│   │   └── NoSpace
│   └── PullFailed
├── ProtocolViolation        what arrived is not ADB
├── AdbKeyUnusable           this machine's RSA key cannot be read or made
└── LeaseUnusable            the files that tell who uses which device cannot be written
"""

from __future__ import annotations

from typing import ClassVar

_MAX_TEXT = 1000


def printable(text: str) -> str:
    """Escape what a terminal could act upon and cut what would flood it."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: _MAX_TEXT + 1])
    return shown if len(shown) <= _MAX_TEXT else shown[:_MAX_TEXT] + "..."


class DeviceError(Exception):
    """Base of everything that this package raises about the state of a device.

    Attributes:
        serial: The device, as the user named it.
        what: What happened, with the value at fault.
        remedy: What the user can do; empty when nothing general can be said.
    """

    default_remedy: ClassVar[str] = ""

    def __init__(self, serial: str, what: str, remedy: str | None = None) -> None:
        super().__init__(serial, what, remedy)
        self.serial = serial
        self.what = printable(what)
        self.remedy = self.default_remedy if remedy is None else remedy

    def __str__(self) -> str:
        text = f"{printable(self.serial)}: {self.what}"
        return f"{text}; {self.remedy}" if self.remedy else text


class DeviceUnreachable(DeviceError):
    """The device does not answer at present, but may come back."""


class DeviceNotFound(DeviceUnreachable):
    """Nobody answers to this serial or address."""

    default_remedy = (
        "check the cable and that USB debugging is on; for host:port, that the phone is in the "
        "same network and shows this port under Wireless debugging"
    )


class DeviceOffline(DeviceUnreachable):
    """The device is known but does not answer."""

    default_remedy = "unlock the phone, replug it or switch USB debugging off and on"


class ConnectionLost(DeviceUnreachable):
    """The device went away while it was in use."""

    default_remedy = "check the cable or network; what was in flight must be repeated"


class AdbServerUnreachable(DeviceUnreachable):
    """No adb server listens at the given address."""

    default_remedy = "start it with `adb start-server`, on another machine with `adb -a`"


class DeviceUnauthorized(DeviceError):
    """The phone does not trust this machine's key."""

    default_remedy = (
        "unlock the phone and accept 'Allow USB debugging', with 'Always allow' ticked; if no "
        "prompt comes, revoke USB debugging authorizations in Developer options and replug"
    )


class DevicePermissionDenied(DeviceError):
    """The operating system does not let this user open the USB device."""

    default_remedy = (
        "install the package android-sdk-platform-tools-common, which holds the udev rules, or "
        'add the rule SUBSYSTEM=="usb", ENV{ID_USB_INTERFACES}=="*:ff4201:*", MODE="0660", '
        'GROUP="plugdev", join the group plugdev, and replug the phone'
    )


class DeviceBusy(DeviceError):
    """Another program holds the device."""

    default_remedy = "end the program that uses the phone; `adb kill-server` if it is adb"


class DeviceLeased(DeviceBusy):
    """Another run of ours, maybe in another process, uses the device.

    Attributes:
        holder_pids: The processes that do.
    """

    default_remedy = "wait for it to end, or end it"

    def __init__(
        self,
        serial: str,
        what: str,
        remedy: str | None = None,
        holder_pids: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(serial, what, remedy)
        self.holder_pids = holder_pids


class DeviceAmbiguous(DeviceError):
    """The name fits several devices, none of which is taken by chance."""

    default_remedy = "name one of them"


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""


class CommandTimeout(DeviceTimeout):
    """A command ran longer than it may and was killed on the device."""


class CommandFailed(DeviceError):
    """A command that had to succeed ended with another exit code than 0."""


class ConditionRefused(DeviceError):
    """A setting that a measurement needs did not take."""

    default_remedy = "change it on the phone by hand, or measure without it"


class ConditionsNotRestored(DeviceError):
    """Settings changed for a measurement could not be put back."""

    default_remedy = "the next measurement on this phone puts them back; or do it by hand"


class CpuMaskUnfit(DeviceError):
    """The wanted CPUs are no CPUs of the device."""


class DeviceNotReady(DeviceError):
    """Measured at present, the device would give wrong figures."""


class BatteryLow(DeviceNotReady):
    """The battery is so low that phones save power."""

    default_remedy = "charge it first"


class ScreenOff(DeviceNotReady):
    """The screen is off and does not wake, so the phone may fall asleep."""

    default_remedy = "press the power button"


class TooHot(DeviceNotReady):
    """The phone is so hot that it slows down."""

    default_remedy = "take it out of its case and the sun, onto cool metal or before a fan"


class InfoUnreadable(DeviceError):
    """What the device tells about itself makes no sense."""

    default_remedy = "check that it is an Android phone; its maker may have changed the format"


class OutputTooLarge(DeviceError):
    """A command or a file gave more bytes than this machine is willing to take."""


class ServiceRefused(DeviceError):
    """The device does not offer the requested ADB service."""


class TransferFailed(DeviceError):
    """A file could not be copied."""


class PushFailed(TransferFailed):
    """A file could not be copied to the device."""


class NoSpace(PushFailed):
    """The device's disk is full."""

    default_remedy = "delete files on the device, for example in /data/local/tmp"


class PullFailed(TransferFailed):
    """A file could not be copied from the device."""


class ProtocolViolation(DeviceError):
    """What arrived is not what the ADB protocol allows."""

    default_remedy = "check that an Android phone with debugging enabled is at this address"


class AdbKeyUnusable(DeviceError):
    """The RSA key that identifies this machine to phones cannot be read or made."""


class LeaseUnusable(DeviceError):
    """The files that tell other processes who uses which device cannot be written."""

    default_remedy = "make the folder writable, or name another one in POCKETNAS_CACHE"
