from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_farm.device import CommandResult
from device_farm.host import HostDevice
from device_farm.sampler import RunConditions, parse_samples, sampled, split
from device_farm.thermal import ThrottlingStatus

BIG = "/sys/devices/system/cpu/cpufreq/policy4"
PRIME = "/sys/devices/system/cpu/cpufreq/policy7"
ZONE = "/sys/class/thermal/thermal_zone5"


def clocks(big: int, prime: int, limit: int = 3_000_000) -> str:
    return (
        f"{BIG}/scaling_cur_freq:{big}\n{BIG}/scaling_max_freq:{limit}\n"
        f"{PRIME}/scaling_cur_freq:{prime}\n{PRIME}/scaling_max_freq:{limit}\n"
    )


def heat(status: int, celsius: float) -> str:
    return (
        f"Thermal Status: {status}\nCurrent temperatures from HAL:\n"
        f"\tTemperature{{mValue={celsius}, mType=3, mName=skin, mStatus=0}}\n"
    )


CPUS = f"{BIG}/related_cpus:4 5 6\n{PRIME}/related_cpus:7\n"
SAMPLES = (
    f"@before\n{clocks(500_000, 500_000)}{CPUS}{heat(0, 30.5)}"
    f"\n@during\n{clocks(1_000_000, 1_000_000)}"
    f"\n@during\n{clocks(2_000_000, 2_800_000)}{ZONE}/type:skin-therm\n{ZONE}/temp:39100\n"
    f"\n@during\n{clocks(2_000_000, 2_400_000, 2_600_000)}"
    f"@after\n{clocks(2_000_000, 2_600_000)}{CPUS}{heat(1, 38.2)}"
)


@pytest.mark.parametrize("seen", ["", f"\n@during\n{clocks(2_000_000, 2_600_000)}"])
def test_a_loop_that_ends_before_the_command_is_waited_for_leaves_its_output_alone(
    seen: str,
) -> None:
    before = f"@before\n{clocks(500_000, 500_000)}{CPUS}"
    stdout = f"out\n@pocketnas-early{seen}\n\n@pocketnas-samples\n{before}@after\n"
    result, conditions = split(CommandResult(stdout=stdout.encode(), stderr=b"", exit_code=0))
    assert result.stdout == b"out"
    assert conditions.samples == (2 if seen else 1)


def test_samples_give_clock_and_heat() -> None:
    conditions = parse_samples(SAMPLES)
    assert conditions == RunConditions(
        mhz=pytest.approx((3 * 2000 + 2600) / 4),
        mhz_max=2600,
        celsius_before=30.5,
        celsius_after=38.2,
        celsius_max=39.1,
        status_before=ThrottlingStatus.NONE,
        status_after=ThrottlingStatus.LIGHT,
        samples=5,
    )


def test_the_kernels_own_count_goes_before_samples() -> None:
    start = f"{BIG}/stats/time_in_state:1000000 700\n{BIG}/stats/time_in_state:2000000 900\n"
    end = f"{BIG}/stats/time_in_state:1000000 800\n{BIG}/stats/time_in_state:2000000 1200\n"
    text = f"@before\n{clocks(1_000, 1_000)}{CPUS}{start}@after\n{clocks(1_000, 1_600_000)}{end}"
    assert parse_samples(text).mhz == pytest.approx((3 * 1750 + 1600) / 4)


@pytest.mark.parametrize(
    "end", ["1000000 705", "1000000 500", "garbage", "1000000 -1", "9999999999 9", ""]
)
def test_a_count_that_says_nothing_gives_way_to_samples(end: str) -> None:
    state = f"{BIG}/stats/time_in_state"
    text = (
        f"@before\n{BIG}/related_cpus:4 5 6\n{state}:1000000 700\n"
        f"@after\n{clocks(2_000_000, 0)}{state}:{end}\n"
    )
    assert parse_samples(text).mhz == 2000


def test_line_ends_of_old_phones_make_no_difference() -> None:
    assert parse_samples(SAMPLES.replace("\n", "\r\n")) == parse_samples(SAMPLES)


def test_heat_and_lost_clock_count_as_throttled() -> None:
    cool = RunConditions(mhz=1900, status_after=ThrottlingStatus.NONE)
    assert not cool.is_throttled(None)
    assert not cool.is_throttled(2000)
    assert cool.is_throttled(2001)
    assert RunConditions(status_after=ThrottlingStatus.LIGHT).is_throttled(None)
    assert RunConditions(status_before=ThrottlingStatus.LIGHT).is_throttled(None)
    assert not RunConditions().is_throttled(2000)


def test_a_record_holds_plain_values() -> None:
    record = RunConditions(mhz=1900.5, status_after=ThrottlingStatus.SEVERE, samples=3).to_json()
    assert record["mhz"] == 1900.5
    assert record["status_after"] == "SEVERE"
    assert record["celsius_after"] is None


@given(st.text(), st.integers(0, len(SAMPLES)), st.integers(0, len(SAMPLES)))
def test_damaged_samples_give_no_impossible_values(garbage: str, start: int, end: int) -> None:
    conditions = parse_samples(SAMPLES[:start] + garbage + SAMPLES[end:])
    assert conditions.celsius_max is None or -30 < conditions.celsius_max < 125
    assert conditions.mhz is None or 0 <= conditions.mhz < 1e6


@given(st.binary())
def test_any_output_can_be_taken_apart(garbage: bytes) -> None:
    result = CommandResult(stdout=garbage, stderr=b"err", exit_code=3)
    assert split(result) == (result, RunConditions())
    tail = b"\n@pocketnas-samples\n" + garbage
    command, _ = split(CommandResult(stdout=b"out" + tail, stderr=b"err", exit_code=3))
    assert command == CommandResult(stdout=b"out", stderr=b"err", exit_code=3)


def test_a_million_bytes_of_nonsense_take_no_time() -> None:
    start = time.monotonic()
    for line in (
        "/" * 1_000_000,
        f"{BIG}/related_cpus:" + " " * 1_000_000 + "x",
        "@during\n" * 1000,
    ):
        parse_samples(f"@before\n{line}\n")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("command", ["echo out; echo err >&2; exit 7", "printf 'no end'", "false"])
def test_a_sampled_command_does_what_it_did(command: str) -> None:
    host = HostDevice()
    plain = host.run(command, timeout_s=10)
    assert split(host.run(sampled(command, [0]), timeout_s=10))[0] == plain


def test_a_command_may_print_what_samples_look_like() -> None:
    command = r"printf 'x\n@pocketnas-samples\n@before\n@after\n'"
    result, _ = split(HostDevice().run(sampled(command, []), timeout_s=10))
    assert result.stdout == b"x\n@pocketnas-samples\n@before\n@after\n"
