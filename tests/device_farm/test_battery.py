from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_farm.battery import Battery, parse_battery
from device_farm.errors import InfoUnreadable

DUMPSYS = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4238
  temperature: 284
  technology: Li-ion
"""


def test_charge_heat_and_cable_are_read() -> None:
    assert parse_battery("PHONE", DUMPSYS) == Battery(level=0.87, celsius=28.4, is_powered=True)


def test_the_level_counts_on_its_own_scale() -> None:
    text = DUMPSYS.replace("level: 87", "level: 150").replace("scale: 100", "scale: 200")
    assert parse_battery("PHONE", text).level == 0.75


def test_an_unplugged_phone_is_not_powered() -> None:
    text = DUMPSYS.replace("USB powered: true", "USB powered: false")
    assert not parse_battery("PHONE", text).is_powered


@pytest.mark.parametrize("temperature", ["0", "warm", ""])
def test_a_sensor_that_is_not_there_gives_no_temperature(temperature: str) -> None:
    text = DUMPSYS.replace("temperature: 284", f"temperature: {temperature}")
    assert parse_battery("PHONE", text).celsius is None


@pytest.mark.parametrize("level", ["-1", "101", "full", "", "9" * 5000])
def test_an_impossible_level_is_refused(level: str) -> None:
    with pytest.raises(InfoUnreadable, match="dumpsys battery gives no level"):
        parse_battery("PHONE", DUMPSYS.replace("level: 87", f"level: {level}"))


@given(st.text(), st.integers(0, len(DUMPSYS)), st.integers(0, len(DUMPSYS)))
def test_a_damaged_answer_is_unreadable_and_nothing_worse(
    garbage: str, start: int, end: int
) -> None:
    try:
        battery = parse_battery("PHONE", DUMPSYS[:start] + garbage + DUMPSYS[end:])
    except InfoUnreadable:
        return
    assert 0 <= battery.level <= 1
