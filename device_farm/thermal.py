"""How hot a phone is and whether it throttles, as `dumpsys thermalservice` tells it.

Source: AOSP hardware/interfaces/thermal (TemperatureType, ThrottlingSeverity) and
frameworks/base ThermalManagerService.dump; Android 10 and newer. Older phones have only the
kernel's thermal zones, whose names and units are each manufacturer's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum

from device_farm.device import Device
from device_farm.errors import printable

_TIMEOUT_S = 15.0
_STATUS = re.compile(r"^\s*Thermal Status: ([0-6])\s*$", re.MULTILINE)
_READING = re.compile(r"^\s*Temperature\{mValue=([^,]+), mType=(-?\d{1,3}), mName=(.*), mStatus=")
# HAL values are current; the cache has those that were last reported as events.
_SECTIONS = ("Current temperatures from HAL:", "Cached temperatures:")
_ZONES = "/sys/class/thermal/thermal_zone*"
_LIST_ZONES = f"grep -H '' {_ZONES}/type {_ZONES}/temp"
_ZONE_LINE = re.compile(r"^\S*/(thermal_zone\d+)/(type|temp):(.*)$", re.MULTILINE)
# Sensors that are not there read 0, or a number beyond any that a phone survives.
_PLAUSIBLE_CELSIUS = (-30.0, 125.0)


class ThrottlingStatus(IntEnum):
    """How much the system holds the phone back."""

    NONE = 0
    LIGHT = 1
    MODERATE = 2
    SEVERE = 3
    CRITICAL = 4
    EMERGENCY = 5
    SHUTDOWN = 6


class Sensor(IntEnum):
    """What a sensor measures, by Android's numbers; 6 to 8 are a battery's currents and charge."""

    CPU = 0
    GPU = 1
    BATTERY = 2
    SKIN = 3
    USB_PORT = 4
    POWER_AMPLIFIER = 5
    NPU = 9
    TPU = 10
    DISPLAY = 11
    MODEM = 12
    SOC = 13


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """One sensor's reading; `name` is the manufacturer's and safe to print."""

    sensor: Sensor
    name: str
    celsius: float


@dataclass(frozen=True, kw_only=True)
class ThermalState:
    """A phone's heat at one moment.

    Attributes:
        status: None where the phone does not tell (before Android 10).
        temperatures: Of the sensors that are there, in the phone's order.
    """

    status: ThrottlingStatus | None
    temperatures: tuple[Temperature, ...]

    def hottest_celsius(self, sensor: Sensor) -> float | None:
        """The highest reading of a kind of sensor; None when there is none."""
        readings = [each.celsius for each in self.temperatures if each.sensor is sensor]
        return max(readings, default=None)

    @property
    def surface_celsius(self) -> float | None:
        """What phones throttle by: the skin's heat, or else the battery's."""
        skin = self.hottest_celsius(Sensor.SKIN)
        return self.hottest_celsius(Sensor.BATTERY) if skin is None else skin


def read_thermal(device: Device) -> ThermalState:
    """Ask a phone for its heat; one that does not want to tell is no error."""
    state = parse_thermal(device.run("dumpsys thermalservice", timeout_s=_TIMEOUT_S).text)
    if state.temperatures:
        return state
    zones = device.run(_LIST_ZONES, timeout_s=_TIMEOUT_S)  # fails where some are denied
    return replace(state, temperatures=parse_zones(zones.text))


def parse_thermal(text: str) -> ThermalState:
    """The output of `dumpsys thermalservice`; what cannot be read is left out."""
    lines = text.splitlines()
    found = _STATUS.search(text)
    sections = (_temperatures(lines, section) for section in _SECTIONS)
    return ThermalState(
        status=ThrottlingStatus(int(found[1])) if found else None,
        temperatures=next((readings for readings in sections if readings), ()),
    )


def parse_zones(text: str) -> tuple[Temperature, ...]:
    """The output of `grep -H '' thermal_zone*/type thermal_zone*/temp`.

    Zones that are denied, implausible or of no kind that matters here are left out.
    """
    zones: dict[str, dict[str, str]] = {}
    for zone, field, value in _ZONE_LINE.findall(text):
        zones.setdefault(zone, {})[field] = value.strip()
    readings = []
    for fields in zones.values():
        name = fields.get("type", "")
        sensor, celsius = _zone_sensor(name.lower()), _zone_celsius(fields.get("temp", ""))
        if sensor is not None and celsius is not None:
            readings.append(Temperature(sensor=sensor, name=printable(name), celsius=celsius))
    return tuple(readings)


def _zone_sensor(name: str) -> Sensor | None:
    """What a zone measures, by what manufacturers call it."""
    if "skin" in name or "quiet" in name:
        return Sensor.SKIN
    if name.startswith("battery"):
        return Sensor.BATTERY
    return Sensor.CPU if name.startswith("cpu") else None


def _zone_celsius(text: str) -> float | None:
    """Kernels tell thousandths; older ones tenths or whole degrees."""
    if re.fullmatch(r"-?[0-9]{1,9}", text) is None:
        return None
    value = int(text)
    scale = 1000 if abs(value) >= 1000 else 10 if abs(value) >= 150 else 1
    return _celsius(str(value / scale))


def _temperatures(lines: list[str], section: str) -> tuple[Temperature, ...]:
    """The plausible readings below a headline."""
    start = next((i for i, line in enumerate(lines) if line.strip() == section), len(lines))
    readings = []
    for line in lines[start + 1 :]:
        found = _READING.match(line)
        if found is None:
            break
        celsius = _celsius(found[1])
        if celsius is not None and int(found[2]) in list(Sensor):
            sensor = Sensor(int(found[2]))
            readings.append(Temperature(sensor=sensor, name=printable(found[3]), celsius=celsius))
    return tuple(readings)


def _celsius(text: str) -> float | None:
    """A temperature that a phone can have, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    low, high = _PLAUSIBLE_CELSIUS
    return value if low < value < high and value != 0 else None
