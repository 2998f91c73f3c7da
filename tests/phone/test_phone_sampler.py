from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig_front import Front
from rig_phone import StandInPhone
from rig_state import CPU_POLICIES, THERMAL_SERVICE

from device_farm.adb import AdbPhone, TcpRoute
from device_farm.errors import CommandTimeout, OutputTooLarge, TooHot
from device_farm.sampler import RunConditions, sampled, split
from device_farm.thermal import Sensor, ThrottlingStatus
from device_farm.thermal_gate import ThermalGate

pytestmark = pytest.mark.phone

POLICY, (CPUS, KHZ) = list(CPU_POLICIES.items())[-1]
BIG = [int(cpu) for cpu in CPUS.split()]
HIDDEN = {"shell v2": set[str](), "marker": {"shell_v2"}}
OPEN, HIDDEN_FILE = 0o644, 0o600


class Reports:
    """What a stand-in phone tells about clocks and heat, for a test to change."""

    def __init__(self, state: Path) -> None:
        cpufreq = state / "sys/devices/system/cpu/cpufreq" / POLICY
        self.clock = cpufreq / "scaling_cur_freq"
        self.counts = cpufreq / "stats/time_in_state"
        self.thermal = state / "dumpsys/thermalservice"
        self.battery = state / "dumpsys/battery"
        self.skin_zone = state / "sys/class/thermal/thermal_zone2"

    def heat(self, celsius: float, status: int = 0) -> None:
        """Let the phone's skin have this temperature."""
        text = THERMAL_SERVICE.replace("24.7", str(celsius))
        self.thermal.write_text(text.replace("Status: 0", f"Status: {status}"))


@pytest.fixture
def reports(stand_in: StandInPhone) -> Iterator[Reports]:
    reports = Reports(stand_in.state)
    files = [*vars(reports).values(), *(reports.skin_zone / name for name in ("type", "temp"))]
    originals = {path: path.read_text() for path in files if path.is_file()}
    yield reports
    for path, text in originals.items():
        path.write_text(text)
        path.chmod(OPEN)


@pytest.fixture(params=HIDDEN)
def either(request: pytest.FixtureRequest, front: Front, fronted: AdbPhone) -> AdbPhone:
    """A phone of today, and one from before Android 7, which mixes both outputs."""
    front.hidden_features = HIDDEN[request.param]
    return fronted


@pytest.mark.parametrize(
    "command",
    [
        "echo out; exit 7",
        "printf 'no end'",
        "kill -11 $$",
        "kill -9 $$",
        "if then",
        "echo \"it's\" '$x' && { echo {}; }\n# done",
        "seq 300000",
    ],
)
def test_a_sampled_command_does_what_it_did(either: AdbPhone, command: str) -> None:
    plain = either.run(command, timeout_s=30)
    result, conditions = split(either.run(sampled(command, BIG), timeout_s=30))
    assert (result.stdout, result.exit_code) == (plain.stdout, plain.exit_code)
    assert conditions.samples >= 2


def test_the_shortest_commands_end_the_sampler_too(phone: AdbPhone) -> None:
    for _ in range(60):  # a signal may reach the sampler before it listens
        assert phone.run(sampled("if then", BIG), timeout_s=5).exit_code == 1


def test_standard_error_stays_the_commands_own(phone: AdbPhone) -> None:
    result, _ = split(phone.run(sampled("echo err >&2; sleep 0.1; kill $$", []), timeout_s=10))
    assert (result.stdout, result.stderr, result.exit_code) == (b"", b"err\n", 143)


def test_a_short_run_is_sampled_at_both_ends(phone: AdbPhone) -> None:
    _, conditions = split(phone.run(sampled("true", BIG), timeout_s=10))
    assert conditions == RunConditions(
        mhz=KHZ[-1] / 1000,
        mhz_max=KHZ[-1] / 1000,
        celsius_before=24.7,
        celsius_after=24.7,
        celsius_max=conditions.celsius_max,
        status_before=ThrottlingStatus.NONE,
        status_after=ThrottlingStatus.NONE,
        samples=conditions.samples,
    )
    assert conditions.celsius_max in (24.7, 29.5)  # the zone is read only while it runs
    assert conditions.samples in (2, 3)


def test_a_phone_that_gets_hot_and_slow_is_seen(phone: AdbPhone, reports: Reports) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(phone.run, sampled("sleep 3.4", BIG), timeout_s=20)
        time.sleep(0.6)
        reports.clock.write_text("1400000\n")
        reports.heat(41.5, status=2)
        _, conditions = split(running.result())
    assert conditions.mhz == 1400
    assert conditions.mhz_max == KHZ[-1] / 1000
    assert (conditions.celsius_before, conditions.celsius_after) == (24.7, 41.5)
    assert conditions.status_after is ThrottlingStatus.MODERATE
    assert conditions.samples == 6
    assert conditions.is_throttled(None)


def test_the_kernels_count_of_time_gives_the_clock(phone: AdbPhone, reports: Reports) -> None:
    counts = [f"{khz} {1000 + 100 * (khz != KHZ[0])}" for khz in KHZ]
    reports.counts.write_text("".join(f"{khz} 1000\n" for khz in KHZ))
    path = f"/sys/devices/system/cpu/cpufreq/{POLICY}/stats/time_in_state"
    command = f"printf '%s\\n' {' '.join(map(repr, counts))} >{path}"
    result, conditions = split(phone.run(sampled(command, BIG), timeout_s=10))
    assert result.exit_code == 0
    assert conditions.mhz == pytest.approx(sum(KHZ[1:]) / len(KHZ[1:]) / 1000)
    assert not conditions.is_throttled(conditions.mhz)
    assert conditions.is_throttled(KHZ[-1] / 1000)


def test_what_is_hidden_is_left_out(phone: AdbPhone, reports: Reports) -> None:
    for path in (reports.clock, reports.counts, reports.skin_zone / "temp"):
        path.chmod(HIDDEN_FILE)
    reports.counts.write_text("")
    reports.thermal.write_text("\x1b[2J\0 Thermal Status: many\n")
    _, conditions = split(phone.run(sampled("true", BIG), timeout_s=10))
    assert conditions == RunConditions(mhz_max=KHZ[-1] / 1000)


def test_a_command_that_hangs_takes_the_sampler_with_it(
    either: AdbPhone, stand_in: StandInPhone
) -> None:
    with pytest.raises(CommandTimeout):
        either.run(sampled("sleep 77 | cat", BIG), timeout_s=1.3)
    assert stand_in.commands() == []


def test_endless_output_takes_the_sampler_with_it(
    stand_in: StandInPhone, key_directory: Path
) -> None:
    route = TcpRoute(host=stand_in.host, key_directory=key_directory)
    phone = AdbPhone(route, max_output_bytes=1_000_000)
    with pytest.raises(OutputTooLarge):
        phone.run(sampled("cat /dev/zero", BIG), timeout_s=30)
    assert stand_in.commands() == []
    phone.close()


def test_the_sampler_ends_when_the_shell_around_it_is_killed(
    phone: AdbPhone, stand_in: StandInPhone
) -> None:
    result = phone.run(sampled("kill -9 $PPID; echo out", BIG), timeout_s=10)
    assert split(result)[1] == RunConditions()
    assert result.exit_code == 137
    time.sleep(1.5)
    assert stand_in.commands() == []


def test_a_cool_phone_passes_at_once(phone: AdbPhone) -> None:
    start = time.monotonic()
    assert ThermalGate(phone).wait().surface_celsius == 24.7
    assert time.monotonic() - start < 1


def test_a_hot_phone_is_waited_for(phone: AdbPhone, reports: Reports) -> None:
    waits: list[str] = []
    gate = ThermalGate(phone, poll_s=0.1, on_wait=waits.append)
    gate.wait()
    reports.heat(42.25)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.wait)
        time.sleep(0.5)
        reports.heat(36.5, status=1)
        time.sleep(0.5)
        assert not waiting.done()
        reports.heat(36.5)
        assert waiting.result(timeout=5).surface_celsius == 36.5
    assert waits[0] == "it has 42.2 C, the limit is 37.0 C"
    assert waits[-1] == "its thermal status is LIGHT"


def test_in_a_hot_room_it_is_enough_to_be_as_cool_as_at_first(
    phone: AdbPhone, reports: Reports
) -> None:
    gate = ThermalGate(phone, poll_s=0.1, timeout_s=0.3)
    reports.heat(38.5)
    gate.wait()
    reports.heat(40.5)
    gate.wait()
    reports.heat(40.6)
    with pytest.raises(TooHot, match=r"it has 40\.6 C, the limit is 40\.5 C; .* in 0\.3 s; take"):
        gate.wait()


def test_an_old_phone_is_judged_by_its_zones_or_its_battery(
    phone: AdbPhone, reports: Reports
) -> None:
    reports.thermal.write_text("Can't find service: thermalservice\n")
    assert ThermalGate(phone).wait().surface_celsius == 29.5
    (reports.skin_zone / "temp").chmod(HIDDEN_FILE)
    state = ThermalGate(phone).wait()
    assert (state.status, state.hottest_celsius(Sensor.BATTERY)) == (None, 28.4)
    reports.battery.write_text("level: 50\n")
    waits: list[str] = []
    gate = ThermalGate(phone, fallback_cooldown_s=0.1, on_wait=waits.append)
    assert gate.wait().surface_celsius is None
    assert waits == ["the phone tells no temperature"]
