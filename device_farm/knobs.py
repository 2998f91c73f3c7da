"""The settings of a phone that a measurement changes for its time, one class each.

None of them touches thermal protection: a phone that gets hot slows down, and that is seen.
"""

from __future__ import annotations

import re
import shlex
from typing import Protocol

from device_farm.device import Device, require_success

_TIMEOUT_S = 20.0  # each of Android's tools starts a Java machine on old phones
_GOVERNORS = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
_GOVERNOR_LINE = re.compile(r"^\S*/(policy\d{1,4})/scaling_governor:([\w-]{1,40})$", re.MULTILINE)
_WAKEFULNESS = re.compile(r"^\s*mWakefulness=(Awake|Asleep|Dozing|Dreaming)\b", re.MULTILINE)


class Knob(Protocol):
    """One setting. Any verb may raise a DeviceError; CommandFailed means that the phone said no.

    Attributes:
        name: What messages and records call it.
    """

    name: str

    def read(self, device: Device) -> str | None:
        """The present value; None where this phone, or its shell user, does not have it."""

    def apply(self, device: Device) -> None:
        """Set what measurements need."""

    def has_taken(self, value: str) -> bool:
        """Whether a value that was read is what measurements need."""

    def restore(self, device: Device, previous: str) -> None:
        """Set a value that was read before."""


class StayAwake:
    """The screen stays on as long as a cable or charger is plugged in."""

    name = "stay_awake"
    _key = "stay_on_while_plugged_in"

    def read(self, device: Device) -> str | None:
        """See Knob.read; the plugs that keep the screen on, as bits."""
        return _read_setting(device, self._key)

    def apply(self, device: Device) -> None:
        """See Knob.apply."""
        _run(device, "svc power stayon true", self.name)

    def has_taken(self, value: str) -> bool:
        """See Knob.has_taken."""
        return value.isdigit() and int(value) > 0

    def restore(self, device: Device, previous: str) -> None:
        """See Knob.restore."""
        _write_setting(device, self._key, previous)


class ScreenOn:
    """The screen is on, and no lock screen shows unless it asks for a secret."""

    name = "screen"

    def read(self, device: Device) -> str | None:
        """See Knob.read; such as `Awake`."""
        found = _WAKEFULNESS.search(device.run("dumpsys power", timeout_s=_TIMEOUT_S).text)
        return found[1] if found else None

    def apply(self, device: Device) -> None:
        """See Knob.apply."""
        _run(device, "input keyevent KEYCODE_WAKEUP", self.name)
        # Android before 8 cannot, and need not: programs run behind the lock screen, too.
        device.run("wm dismiss-keyguard", timeout_s=_TIMEOUT_S)

    def has_taken(self, value: str) -> bool:
        """See Knob.has_taken."""
        return value == "Awake"

    def restore(self, device: Device, previous: str) -> None:
        """See Knob.restore; a screen that was on stays on."""
        if previous in ("Asleep", "Dozing"):
            _run(device, "input keyevent KEYCODE_SLEEP", self.name)


class FixedPerformance:
    """Clocks that the phone can hold for long, in place of short bursts; Android 11 and newer.

    Android cannot be asked for the mode, which is off after a start. So what this object last set
    counts, and setting that again tells whether the phone has the mode at all.
    """

    name = "fixed_performance"

    def __init__(self) -> None:
        self._value = "false"

    def read(self, device: Device) -> str | None:
        """See Knob.read."""
        answer = device.run(self._command(self._value), timeout_s=_TIMEOUT_S)
        return self._value if answer.exit_code == 0 else None

    def apply(self, device: Device) -> None:
        """See Knob.apply."""
        self.restore(device, "true")

    def has_taken(self, value: str) -> bool:
        """See Knob.has_taken."""
        return value == "true"

    def restore(self, device: Device, previous: str) -> None:
        """See Knob.restore."""
        _run(device, self._command(previous), self.name)
        self._value = previous

    def _command(self, value: str) -> str:
        return f"cmd power set-fixed-performance-mode-enabled {shlex.quote(value)}"


class BatterySaverOff:
    """The phone does not save power."""

    name = "battery_saver"
    _key = "low_power"

    def read(self, device: Device) -> str | None:
        """See Knob.read; `1` when it saves power."""
        return _read_setting(device, self._key)

    def apply(self, device: Device) -> None:
        """See Knob.apply."""
        _write_setting(device, self._key, "0")

    def has_taken(self, value: str) -> bool:
        """See Knob.has_taken."""
        return value in ("0", "null")

    def restore(self, device: Device, previous: str) -> None:
        """See Knob.restore."""
        _write_setting(device, self._key, previous)


class Governor:
    """All CPUs run at the highest clock that heat allows; only root may say so."""

    name = "governor"

    def read(self, device: Device) -> str | None:
        """See Knob.read; such as `policy0=schedutil policy4=schedutil`."""
        writable = f'for file in {_GOVERNORS}; do [ -w "$file" ] && grep -H "" "$file"; done'
        text = device.run(writable, timeout_s=_TIMEOUT_S).text
        return " ".join(map("=".join, _GOVERNOR_LINE.findall(text))) or None

    def apply(self, device: Device) -> None:
        """See Knob.apply."""
        command = f'for file in {_GOVERNORS}; do echo performance >"$file"; done'
        _run(device, command, self.name)

    def has_taken(self, value: str) -> bool:
        """See Knob.has_taken."""
        return all(each.endswith("=performance") for each in value.split())

    def restore(self, device: Device, previous: str) -> None:
        """See Knob.restore."""
        commands = []
        for policy, _, governor in (each.partition("=") for each in previous.split()):
            file = _GOVERNORS.replace("policy*", policy)
            commands.append(f"echo {shlex.quote(governor)} >{shlex.quote(file)}")
        _run(device, " && ".join(commands), self.name)


def all_knobs() -> tuple[Knob, ...]:
    """Every knob, in the order in which they are applied."""
    return (StayAwake(), ScreenOn(), BatterySaverOff(), FixedPerformance(), Governor())


def _run(device: Device, command: str, name: str) -> None:
    """Run what changes a knob.

    Raises:
        CommandFailed: The phone said no.
    """
    answer = device.run(command, timeout_s=_TIMEOUT_S)
    require_success(device.serial, answer, f"change {name}")


def _read_setting(device: Device, key: str) -> str | None:
    """A number among Android's global settings, `null` where none is set."""
    answer = device.run(f"settings get global {key}", timeout_s=_TIMEOUT_S)
    value = answer.text.strip()
    is_value = answer.exit_code == 0 and re.fullmatch(r"null|[0-9]{1,9}", value)
    return value if is_value else None


def _write_setting(device: Device, key: str, value: str) -> None:
    verb = f"delete global {key}" if value == "null" else f"put global {key} {shlex.quote(value)}"
    _run(device, f"settings {verb}", key)
