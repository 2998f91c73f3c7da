from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.runner import DISTURBED_SHARE
from profilers.sessions import SessionValue, is_disturbed, median_ms, that_count

values = st.builds(SessionValue, st.floats(0.001, 100), st.floats(0, 1))
sessions = st.lists(values, min_size=1, max_size=20)


def ms(value: SessionValue) -> float:
    return value.ms


def test_a_session_is_disturbed_above_the_share_and_not_at_it() -> None:
    assert not is_disturbed(SessionValue(1.0, DISTURBED_SHARE))
    assert is_disturbed(SessionValue(1.0, DISTURBED_SHARE + 1e-6))


def test_one_undisturbed_session_outweighs_any_number_of_disturbed_ones() -> None:
    measured = [SessionValue(0.5, 1.0), SessionValue(2.0, 0.0), *[SessionValue(9.0, 0.9)] * 10]
    assert that_count(measured, ms) == [SessionValue(2.0, 0.0)]
    assert median_ms(measured) == 2.0


def test_of_disturbed_sessions_the_least_slowed_quarter_counts() -> None:
    measured = [SessionValue(float(value), 1.0) for value in (8, 3, 7, 1, 6, 5, 4, 2)]
    assert [one.ms for one in that_count(measured, ms)] == [1.0, 2.0]
    assert median_ms(measured) == 1.5


@given(sessions, st.integers(1, 3))
def test_enough_sessions_count_and_only_those_measured(
    measured: list[SessionValue], least: int
) -> None:
    counted = that_count(measured, ms, least)
    assert len(counted) >= min(least, len(measured))
    assert all(one in measured for one in counted)
    steady = [one for one in measured if not is_disturbed(one)]
    if len(steady) >= least:
        assert counted == steady


def test_a_lone_undisturbed_session_is_joined_by_the_least_slowed_where_two_must_count() -> None:
    measured = [SessionValue(1.0, 0.0), SessionValue(3.0, 1.0), SessionValue(2.0, 1.0)]
    assert that_count(measured, ms, 2) == [SessionValue(1.0, 0.0), SessionValue(2.0, 1.0)]


@given(sessions, st.randoms())
def test_order_does_not_matter(measured: list[SessionValue], random: st.DataObject) -> None:
    shuffled = list(measured)
    random.shuffle(shuffled)
    assert median_ms(shuffled) == pytest.approx(median_ms(measured))
