"""A phone's battery, as `dumpsys battery` tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_farm.device import Device, require_success
from device_farm.errors import InfoUnreadable

_TIMEOUT_S = 15.0
_FIELD = re.compile(r"^\s*([A-Za-z ]+): (\S+)\s*$", re.MULTILINE)
_DEFAULT_SCALE = 100


@dataclass(frozen=True, kw_only=True)
class Battery:
    """The charge and the heat of a battery.

    Attributes:
        level: Charge in [0, 1].
        celsius: Its temperature; None where the phone does not tell.
        is_powered: Whether a charger or a USB port feeds the phone, which also heats it.
    """

    level: float
    celsius: float | None
    is_powered: bool


def read_battery(device: Device) -> Battery:
    """Ask a phone for its battery.

    Raises:
        InfoUnreadable: The answer makes no sense.
        CommandFailed: It has no `dumpsys battery`.
    """
    answer = device.run("dumpsys battery", timeout_s=_TIMEOUT_S)
    require_success(device.serial, answer, "read the battery")
    return parse_battery(device.serial, answer.text)


def parse_battery(serial: str, text: str) -> Battery:
    """The output of `dumpsys battery`.

    Raises:
        InfoUnreadable: It has no level within its scale.
    """
    fields = dict(_FIELD.findall(text))
    level = _number(fields.get("level", ""))
    scale = _number(fields.get("scale", "")) or _DEFAULT_SCALE
    if level is None or not 0 <= level <= scale:
        raise InfoUnreadable(serial, f"dumpsys battery gives no level: {text[:200]!r}")
    tenths = _number(fields.get("temperature", ""))
    return Battery(
        level=level / scale,
        celsius=tenths / 10 if tenths else None,  # 0 stands for a sensor that is not there
        is_powered=any(
            name.endswith(" powered") and value == "true" for name, value in fields.items()
        ),
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
