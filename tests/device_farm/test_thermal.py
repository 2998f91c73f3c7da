from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_farm.thermal import (
    Sensor,
    Temperature,
    ThermalState,
    ThrottlingStatus,
    parse_thermal,
    parse_zones,
)

DUMPSYS = """IsStatusOverride: false
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=20.5, mType=0, mName=cpu-old, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=61.25, mType=0, mName=cpu0, mStatus=0}
\tTemperature{mValue=64.0, mType=0, mName=cpu1, mStatus=1}
\tTemperature{mValue=38.1, mType=3, mName=skin, {left}, mStatus=2}
\tTemperature{mValue=0.0, mType=2, mName=subbat, mStatus=0}
\tTemperature{mValue=105000.0, mType=3, mName=absent, mStatus=0}
\tTemperature{mValue=-274.0, mType=1, mName=off, mStatus=0}
\tTemperature{mValue=NaN, mType=1, mName=broken, mStatus=0}
\tTemperature{mValue=42.0, mType=7, mName=battery-current, mStatus=0}
\tTemperature{mValue=30.2, mType=2, mName=battery, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=3, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
"""


def test_the_status_and_the_plausible_temperatures_are_read() -> None:
    state = parse_thermal(DUMPSYS)
    assert state.status is ThrottlingStatus.MODERATE
    assert state.temperatures == (
        Temperature(sensor=Sensor.CPU, name="cpu0", celsius=61.25),
        Temperature(sensor=Sensor.CPU, name="cpu1", celsius=64.0),
        Temperature(sensor=Sensor.SKIN, name="skin, {left}", celsius=38.1),
        Temperature(sensor=Sensor.BATTERY, name="battery", celsius=30.2),
    )


def test_the_hottest_sensor_of_a_kind_counts() -> None:
    state = parse_thermal(DUMPSYS)
    assert state.hottest_celsius(Sensor.CPU) == 64.0
    assert state.hottest_celsius(Sensor.GPU) is None


def test_cached_temperatures_stand_in_where_the_hal_gives_none() -> None:
    text = DUMPSYS[: DUMPSYS.index("HAL Ready")]
    assert [each.name for each in parse_thermal(text).temperatures] == ["cpu-old"]


@pytest.mark.parametrize(
    "text",
    ["", "Can't find service: thermalservice\n", "Thermal Status: 7\n", "Permission Denial"],
)
def test_a_phone_that_does_not_tell_is_not_called_cool(text: str) -> None:
    assert parse_thermal(text) == ThermalState(status=None, temperatures=())


def test_a_sensor_name_cannot_steer_a_terminal() -> None:
    state = parse_thermal(DUMPSYS.replace("cpu0", "\x1b[2J"))
    assert state.temperatures[0].name == r"\x1b[2J"


@given(st.text(), st.integers(0, len(DUMPSYS)), st.integers(0, len(DUMPSYS)))
def test_a_damaged_answer_gives_no_impossible_heat(garbage: str, start: int, end: int) -> None:
    state = parse_thermal(DUMPSYS[:start] + garbage + DUMPSYS[end:])
    assert all(-30 < each.celsius < 125 for each in state.temperatures)
    assert all(each.name.isprintable() for each in state.temperatures)


@pytest.mark.parametrize(
    ("file", "celsius_by_sensor"),
    [
        (
            "dumpsys_thermalservice_galaxy_s22.txt",
            {Sensor.CPU: 39.6, Sensor.BATTERY: 36.3, Sensor.USB_PORT: 36.9, Sensor.SKIN: 35.8},
        ),
        (
            "dumpsys_thermalservice_galaxy_a52_5g_android12.txt",
            {Sensor.CPU: 25.6, Sensor.BATTERY: 23.8, Sensor.USB_PORT: None, Sensor.SKIN: 24.7},
        ),
    ],
)
def test_recorded_phones_read_as_a_person_reads_them(
    file: str, celsius_by_sensor: dict[Sensor, float | None]
) -> None:
    data = os.environ.get("POCKETNAS_DATA")
    recorded = Path(data or ".").parent / "benchmark_outputs" / file
    if data is None or not recorded.exists():
        pytest.skip("POCKETNAS_DATA has no benchmark_outputs beside it")
    state = parse_thermal(recorded.read_text())
    assert state.status is ThrottlingStatus.NONE
    for sensor, celsius in celsius_by_sensor.items():
        assert state.hottest_celsius(sensor) == celsius


ZONES = """\
/sys/class/thermal/thermal_zone0/type:cpu-0-0-usr
/sys/class/thermal/thermal_zone1/type:quiet-therm-adc
/sys/class/thermal/thermal_zone2/type:battery
/sys/class/thermal/thermal_zone3/type:ibat-high
/sys/class/thermal/thermal_zone4/type:skin-therm
/sys/class/thermal/thermal_zone5/type:skin-denied
/sys/class/thermal/thermal_zone0/temp:45100
/sys/class/thermal/thermal_zone1/temp:33
/sys/class/thermal/thermal_zone2/temp:315
/sys/class/thermal/thermal_zone3/temp:2700
/sys/class/thermal/thermal_zone4/temp:-273000
"""


def test_zones_of_old_phones_are_read_in_their_units() -> None:
    assert parse_zones(ZONES) == (
        Temperature(sensor=Sensor.CPU, name="cpu-0-0-usr", celsius=45.1),
        Temperature(sensor=Sensor.SKIN, name="quiet-therm-adc", celsius=33.0),
        Temperature(sensor=Sensor.BATTERY, name="battery", celsius=31.5),
    )


def test_the_battery_stands_in_for_a_skin_that_is_not_measured() -> None:
    state = ThermalState(status=None, temperatures=parse_zones(ZONES))
    assert state.surface_celsius == 33.0
    no_skin = ThermalState(status=None, temperatures=parse_zones(ZONES.replace("quiet", "pa")))
    assert no_skin.surface_celsius == 31.5
    assert ThermalState(status=None, temperatures=()).surface_celsius is None


@given(st.text(), st.integers(0, len(ZONES)), st.integers(0, len(ZONES)))
def test_damaged_zones_give_no_impossible_heat(garbage: str, start: int, end: int) -> None:
    readings = parse_zones(ZONES[:start] + garbage + ZONES[end:])
    assert all(-30 < each.celsius < 125 for each in readings)
    assert all(each.name.isprintable() for each in readings)
