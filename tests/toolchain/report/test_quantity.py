from __future__ import annotations

import pytest

from toolchain.report.quantity import (
    MISSING,
    between,
    change,
    count,
    duration,
    milliseconds,
    percent,
    plain,
    size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.312, "0.312"), (31.24, "31.2"), (0.00412, "0.00412"), (1234.4, "1,234"), (0, "0")],
)
def test_numbers_keep_three_significant_digits(value: float, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3_600_000, "3.60 M"), (383_700_000, "383.7 M"), (86_900, "86.9 k"), (950, "950")],
)
def test_large_numbers_get_a_prefix(value: int, text: str) -> None:
    assert count(value).replace("\u00a0", " ") == text


def test_units_follow_a_space_that_does_not_break() -> None:
    assert milliseconds(0.5) == "0.500\u00a0ms"
    assert size(145_200) == "145.2\u00a0kB"
    assert size(12) == "12\u00a0bytes"


def test_the_ends_of_a_narrow_interval_can_be_told_apart() -> None:
    low, high = between(0.13561, 0.13583).split(" to ")
    assert float(low) < float(high)


def test_shares_are_percent_and_changes_have_a_sign() -> None:
    assert percent(0.87351) == "87.35%"
    assert (change(0.014), change(-0.2)) == ("+1.4%", "-20.0%")


@pytest.mark.parametrize(("value_s", "text"), [(42, "42 s"), (720, "12 min"), (12_240, "3.4 h")])
def test_durations_take_the_unit_a_person_would(value_s: float, text: str) -> None:
    assert duration(value_s).replace("\u00a0", " ") == text


def test_what_is_not_known_is_a_dash() -> None:
    assert {write(None) for write in (milliseconds, count, size, percent, change)} == {MISSING}
