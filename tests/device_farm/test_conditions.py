from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_farm.conditions import Conditions, parse_record
from device_farm.host import HostDevice
from device_farm.knobs import (
    BatterySaverOff,
    FixedPerformance,
    Governor,
    Knob,
    ScreenOn,
    StayAwake,
    all_knobs,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("knob", "taken", "not_taken"),
    [
        (StayAwake(), ["15", "2"], ["0", "null", "not available"]),
        (ScreenOn(), ["Awake"], ["Asleep", "Dozing", "Dreaming", "not available"]),
        (FixedPerformance(), ["true"], ["false", "not available"]),
        (BatterySaverOff(), ["0", "null"], ["1", "not available"]),
        (
            Governor(),
            ["policy0=performance policy4=performance"],
            ["policy0=performance policy4=schedutil", "not available"],
        ),
    ],
)
def test_a_knob_knows_what_measurements_need(
    knob: Knob, taken: list[str], not_taken: list[str]
) -> None:
    assert all(knob.has_taken(value) for value in taken)
    assert not any(knob.has_taken(value) for value in not_taken)


def test_names_of_knobs_differ() -> None:
    names = [knob.name for knob in all_knobs()]
    assert len(set(names)) == len(names)


def test_a_machine_that_is_no_phone_is_left_alone() -> None:
    knobs = [StayAwake(), ScreenOn(), BatterySaverOff(), FixedPerformance()]
    with Conditions(HostDevice(), knobs) as conditions:
        assert set(conditions.state().values()) == {"not available"}
        assert conditions.refused == ()


def test_a_record_reads_back() -> None:
    originals = {"screen": "Asleep", "governor": "policy0=schedutil policy4=walt-2"}
    assert parse_record(json.dumps({"version": 1, "originals": originals})) == originals


@pytest.mark.parametrize(
    "originals",
    [
        {"unknown": "1"},
        {"screen": 1},
        {"screen": "x; reboot"},
        {"screen": "$(reboot)"},
        {"governor": "../../x=y"},
        {"stay_awake": "1\n2"},
        {"stay_awake": ""},
        ["screen"],
        None,
    ],
)
def test_what_no_session_writes_is_not_restored(originals: object) -> None:
    assert parse_record(json.dumps({"version": 1, "originals": originals})) == {}


def test_a_record_of_another_version_is_not_guessed_at() -> None:
    assert parse_record(json.dumps({"version": 2, "originals": {"screen": "Asleep"}})) == {}


@given(st.text() | JSON.map(json.dumps))
def test_a_damaged_record_is_no_crash(text: str) -> None:
    assert parse_record(text) == {}


def test_a_deep_record_is_no_crash() -> None:
    assert parse_record("[" * 60_000) == {}
