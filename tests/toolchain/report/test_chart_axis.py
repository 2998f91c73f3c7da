from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.report.chart import make_axis, tick_step

FINITE = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
VALUES = st.lists(FINITE, min_size=1, max_size=30)


@given(VALUES)
def test_every_value_is_between_the_ends_of_its_axis(values: list[float]) -> None:
    axis = make_axis("ms", values)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= min(values)
    assert max(values) <= axis.high + slack


@given(VALUES)
def test_places_keep_the_order_of_values_and_reversed_ones_mirror_it(values: list[float]) -> None:
    axis, mirrored = make_axis("ms", values), make_axis("ms", values, is_reversed=True)
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert [mirrored.place(value) for value in sorted(values)] == pytest.approx(
        [100 - place for place in places]
    )


@given(VALUES)
def test_ticks_are_few_distinct_and_evenly_spaced_from_end_to_end(values: list[float]) -> None:
    axis = make_axis("ms", values)
    places = [axis.place(tick.value) for tick in axis.ticks]
    steps = [after - before for before, after in pairwise(places)]
    assert (places[0], places[-1]) == (0, 100)
    assert 2 <= len(places) <= 8
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert len({tick.text for tick in axis.ticks}) == len(axis.ticks)


@given(st.floats(1e-9, 1e9))
def test_a_tick_step_is_the_next_round_number(least: float) -> None:
    step = tick_step(least)
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert least * (1 - 1e-6) <= step <= 2.5 * least * (1 + 1e-6)
    assert min(abs(digits - digit) for digit in (1, 2, 5)) < 1e-6


def test_a_value_in_the_middle_stands_in_the_middle() -> None:
    axis = make_axis("ms", [0.0, 1.0])
    assert [axis.place(value) for value in (0, 0.25, 0.5, 1)] == [0, 25, 50, 100]


def test_a_value_beyond_the_axis_stops_at_its_end() -> None:
    axis = make_axis("ms", [0.0, 1.0])
    assert (axis.place(-3), axis.place(7)) == (0, 100)


@pytest.mark.parametrize("value", [0.0, 0.31, -2.0, 5e6])
def test_a_single_value_gets_an_axis_with_room_on_both_sides(value: float) -> None:
    axis = make_axis("ms", [value, value])
    assert axis.low < value < axis.high
    assert 0 < axis.place(value) < 100


def test_what_is_not_finite_does_not_stretch_an_axis() -> None:
    assert make_axis("loss", [0.0, math.nan, 1.0, math.inf]) == make_axis("loss", [0.0, 1.0])
    assert len(make_axis("loss", [math.nan]).ticks) >= 2


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_whole_axes_name_whole_numbers_only(values: list[int]) -> None:
    axis = make_axis("Edges left", values, is_whole=True)
    assert all(tick.value == round(tick.value) for tick in axis.ticks)
