from __future__ import annotations

import pytest
from rig_phone import StandInPhone
from rig_state import CPU_POLICIES

from device_farm.adb import AdbPhone
from device_farm.battery import Battery, read_battery
from device_farm.errors import CommandFailed
from device_farm.info import read_info
from device_farm.thermal import Sensor, ThrottlingStatus, read_thermal

pytestmark = pytest.mark.phone


def test_a_phone_tells_what_it_is(phone: AdbPhone, stand_in: StandInPhone) -> None:
    info = read_info(phone)
    assert info.model == f"Stand-in {stand_in.number}"
    assert (info.soc, info.abi, info.sdk) == ("SM8550", "x86_64", 34)
    assert [(" ".join(map(str, each.cpus)), each.max_mhz) for each in info.clusters] == [
        (cpus, khz[-1] / 1000) for cpus, khz in CPU_POLICIES.values()
    ]


def test_a_phone_tells_its_battery_and_its_heat(phone: AdbPhone) -> None:
    assert read_battery(phone) == Battery(level=0.87, celsius=28.4, is_powered=True)
    state = read_thermal(phone)
    assert state.status is ThrottlingStatus.NONE
    assert state.hottest_celsius(Sensor.SKIN) == 24.7


def test_what_a_phone_does_not_have_is_not_made_up(
    phone: AdbPhone, stand_in: StandInPhone
) -> None:
    hidden = {
        name: stand_in.state / name
        for name in ("dumpsys/battery", "dumpsys/thermalservice", "sys/devices/system/cpu/cpufreq")
    }
    for path in hidden.values():
        path.rename(path.with_name(path.name + ".hidden"))
    try:
        assert read_info(phone).clusters == ()
        assert read_thermal(phone).status is None
        with pytest.raises(CommandFailed, match="cannot read the battery"):
            read_battery(phone)
    finally:
        for path in hidden.values():
            path.with_name(path.name + ".hidden").rename(path)
