from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from profilers.statistics import iqr, midmean, sessions_interval

times = st.floats(min_value=0, max_value=1e6)
samples = st.lists(times, min_size=1, max_size=60)


@given(samples)
def test_midmean_lies_between_the_quartile_samples(values: list[float]) -> None:
    ordered = sorted(values)
    count = len(values)
    assert ordered[count // 4] <= midmean(values) <= ordered[math.ceil(0.75 * count) - 1]


@given(samples, st.randoms())
def test_order_does_not_matter(values: list[float], random: st.DataObject) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    for statistic in (midmean, iqr, sessions_interval):
        assert statistic(shuffled) == statistic(values)


@given(samples, st.floats(0.1, 10), st.floats(0, 1000))
def test_midmean_scales_and_shifts_with_the_samples(
    values: list[float], scale: float, shift: float
) -> None:
    moved = [value * scale + shift for value in values]
    assert midmean(moved) == pytest.approx(midmean(values) * scale + shift, abs=1e-6)


@given(st.lists(times, min_size=4, max_size=15).map(lambda part: part * 4))
def test_midmean_is_scipys_trimmed_mean_where_no_sample_is_split(values: list[float]) -> None:
    assert midmean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-6)


def test_midmean_splits_samples_at_the_quartiles() -> None:
    # Of 5 samples, 2.5 count: three quarters of the second and fourth, and the third.
    assert midmean([0, 1, 2, 4, 100]) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)


def test_midmean_ignores_a_quarter_of_outliers_and_resolves_less_than_a_tick() -> None:
    generator = np.random.default_rng(0)
    true_ms = generator.normal(0.0046, 0.0003, 400)
    ticks_ms = np.floor(true_ms * 1e3) / 1e3
    ticks_ms[:80] = 5.0
    assert np.median(ticks_ms) in (0.004, 0.005)
    assert 0.0040 < midmean(ticks_ms) < 0.0050


medians = st.lists(st.floats(0.001, 1e3), min_size=2, max_size=12)


@given(medians, st.floats(0.5, 0.99), st.floats(0.001, 0.009))
def test_interval_is_centred_on_the_mean_and_grows_with_confidence(
    values: list[float], confidence: float, more: float
) -> None:
    low, high = sessions_interval(values, confidence)
    assert (low + high) / 2 == pytest.approx(np.mean(values))
    wider_low, wider_high = sessions_interval(values, confidence + more)
    assert wider_low <= low
    assert high <= wider_high


@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_covers_the_true_mean_as_often_as_it_says(count: int, confidence: float) -> None:
    generator = np.random.default_rng(count)
    trials = 1000
    hits = 0
    for _ in range(trials):
        low, high = sessions_interval(generator.normal(3.0, 0.1, count), confidence)
        hits += low <= 3.0 <= high
    assert abs(hits / trials - confidence) <= 4 * math.sqrt(confidence * (1 - confidence) / trials)


def test_interval_takes_the_tabulated_quantile() -> None:
    # Student's t at 97.5 % with 4 degrees of freedom is 2.77645.
    low, high = sessions_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.77645 * math.sqrt(2.5) / math.sqrt(5)
    assert (low, high) == (pytest.approx(3 - half, rel=1e-4), pytest.approx(3 + half, rel=1e-4))


def test_one_session_gives_no_interval() -> None:
    assert sessions_interval([1.0]) == (-math.inf, math.inf)


def test_iqr_is_the_distance_of_the_quartiles() -> None:
    assert iqr([0, 1, 2, 3, 4]) == 2


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_no_samples_and_no_numbers_are_refused(bad: list[float]) -> None:
    for statistic in (midmean, iqr, sessions_interval):
        with pytest.raises(ValueError, match="samples"):
            statistic(bad)
