from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from profilers.statistics import iqr, is_narrow, median_interval, midmean

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
    for statistic in (midmean, iqr, median_interval):
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


@given(samples, st.floats(0.5, 0.999))
def test_interval_encloses_the_median_and_ends_at_samples(
    values: list[float], confidence: float
) -> None:
    low, high = median_interval(values, confidence)
    assert low <= np.median(values) <= high
    assert {low, high} <= {*values, -math.inf, math.inf}


@given(samples, st.floats(0.5, 0.99), st.floats(0.001, 0.009))
def test_more_confidence_is_never_narrower(
    values: list[float], confidence: float, more: float
) -> None:
    low, high = median_interval(values, confidence)
    wider_low, wider_high = median_interval(values, confidence + more)
    assert wider_low <= low
    assert high <= wider_high


@pytest.mark.parametrize("count", [8, 21, 60])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_covers_the_true_median_as_often_as_it_says(
    count: int, confidence: float
) -> None:
    generator = np.random.default_rng(count)
    trials = 3000
    hits = 0
    for _ in range(trials):
        low, high = median_interval(generator.lognormal(size=count), confidence)
        hits += low <= 1.0 <= high
    assert hits / trials >= confidence - 3 * math.sqrt(confidence * (1 - confidence) / trials)


@given(st.integers(6, 200), st.floats(0.5, 0.96))
def test_interval_is_the_narrowest_that_has_the_confidence(count: int, confidence: float) -> None:
    rank, high = median_interval(range(1, count + 1), confidence)
    assert high == count + 1 - rank
    inner = scipy.stats.binom.cdf(rank, count, 0.5)
    assert 1 - 2 * inner < confidence


def test_interval_takes_the_tabulated_ranks() -> None:
    # David and Nagaraja: 95 % of 20 samples is the 6th smallest to the 6th largest.
    assert median_interval(range(1, 21), 0.95) == (6, 15)


def test_too_few_samples_give_no_interval() -> None:
    assert median_interval([1.0] * 5, 0.95) == (-math.inf, math.inf)
    assert not is_narrow([1.0] * 5, 0.5)
    assert is_narrow([1.0] * 6, 0.5)


def test_measuring_stops_when_the_interval_is_narrow_relative_to_the_median() -> None:
    values = [9.0, 9.5, 10.0, 10.0, 10.0, 10.0, 10.0, 10.5, 11.0, 100.0]
    low, high = median_interval(values)
    width = (high - low) / 2 / 10
    assert width > 0
    assert is_narrow(values, width)
    assert not is_narrow(values, width * 0.99)


def test_iqr_is_the_distance_of_the_quartiles() -> None:
    assert iqr([0, 1, 2, 3, 4]) == 2


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_no_samples_and_no_numbers_are_refused(bad: list[float]) -> None:
    for statistic in (midmean, iqr, median_interval):
        with pytest.raises(ValueError, match="samples"):
            statistic(bad)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_confidence_is_a_fraction(confidence: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        median_interval([1.0], confidence)
    with pytest.raises(ValueError, match="above 0"):
        is_narrow([1.0], -abs(confidence))
