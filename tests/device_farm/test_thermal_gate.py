from __future__ import annotations

import time

import pytest

from device_farm.host import HostDevice
from device_farm.thermal_gate import ThermalGate


@pytest.mark.parametrize(("is_after_load", "told"), [(True, 1), (False, 0)])
def test_a_machine_that_tells_no_temperature_pauses_after_load_only(
    is_after_load: bool, told: int
) -> None:
    if HostDevice().run("ls /sys/class/thermal/thermal_zone*", timeout_s=10).exit_code == 0:
        pytest.skip("this machine tells a temperature")
    waits: list[str] = []
    gate = ThermalGate(HostDevice(), fallback_cooldown_s=0.3, on_wait=waits.append)
    start = time.monotonic()
    state = gate.wait(is_after_load=is_after_load)
    assert (time.monotonic() - start > 0.3) is is_after_load
    assert (state.status, state.temperatures) == (None, ())
    assert waits == ["the phone tells no temperature"] * told
