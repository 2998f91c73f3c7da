from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.budget import Budget, Latency

MILLISECONDS = st.floats(1e-3, 1e4)
CONFIDENCES = st.floats(0.5, 0.999)


@st.composite
def latencies(draw: st.DrawFn) -> Latency:
    p50_ms = draw(MILLISECONDS)
    return Latency(p50_ms=p50_ms, p95_ms=p50_ms * draw(st.floats(1, 3)))


@pytest.mark.parametrize("limit_ms", [0.0, -0.0, -3.0, math.nan, math.inf, -math.inf])
def test_a_budget_is_a_finite_number_above_zero(limit_ms: float) -> None:
    with pytest.raises(ValueError, match="more than 0 ms"):
        Budget(limit_ms=limit_ms)


@pytest.mark.parametrize("confidence", [0.0, 0.49, 1.0, 95.0, math.nan])
def test_a_confidence_is_at_least_half_and_never_certain(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"\[0.5, 1\)"):
        Budget(limit_ms=1.0, confidence=confidence)


@pytest.mark.parametrize("fill", [-0.1, 1.0, 85.0, math.nan])
def test_a_fill_is_a_share_less_than_the_whole(fill: float) -> None:
    with pytest.raises(ValueError, match=r"to fill lies in \[0, 1\)"):
        Budget(limit_ms=1.0, fill=fill)


@given(latencies(), st.floats(0.01, 0.999), CONFIDENCES)
def test_a_budget_is_filled_by_what_uses_its_share(
    latency: Latency, fill: float, confidence: float
) -> None:
    for factor, is_filled in ((1.01, True), (0.99, False)):
        limit_ms = latency.at(confidence) / fill / factor
        budget = Budget(limit_ms=limit_ms, confidence=confidence, fill=fill)
        assert budget.is_filled(latency) == is_filled
        assert Budget(limit_ms=limit_ms, confidence=confidence).is_filled(latency)


def test_a_budget_asks_for_95_percent_and_says_so() -> None:
    assert str(Budget(limit_ms=0.25)) == "0.25 ms at 95% confidence"


@given(latencies())
def test_the_known_quantiles_are_met(latency: Latency) -> None:
    assert latency.at(0.5) == latency.p50_ms
    assert latency.at(0.95) == pytest.approx(latency.p95_ms)


@given(latencies(), CONFIDENCES, CONFIDENCES)
def test_more_confidence_asks_for_more_time(latency: Latency, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert latency.at(low) <= latency.at(high) * (1 + 1e-12)


@given(latencies(), MILLISECONDS, st.floats(1, 10), CONFIDENCES, CONFIDENCES)
def test_what_a_budget_admits_a_wider_one_admits_too(
    latency: Latency, limit_ms: float, factor: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    strict = Budget(limit_ms=limit_ms, confidence=high)
    if strict.admits(latency):
        assert Budget(limit_ms=limit_ms * factor, confidence=high).admits(latency)
        assert Budget(limit_ms=limit_ms * (1 + 1e-12), confidence=low).admits(latency)


def test_the_confidence_decides_between_the_quantiles() -> None:
    latency = Latency(p50_ms=9.0, p95_ms=11.0)
    assert Budget(limit_ms=10, confidence=0.5).admits(latency)
    assert not Budget(limit_ms=10, confidence=0.95).admits(latency)
    assert not Budget(limit_ms=8.999, confidence=0.5).admits(latency)
