from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.calibrate import (
    MIN_NETWORKS,
    CalibrationPoint,
    calibrate,
    conformal_quantile,
)
from latency_tables.errors import CalibrationFailed

OVERHEAD_MS, SCALE, PER_KERNEL_MS = 0.05, 0.93, 0.002


def draw_points(count: int, seed: int, noise: float) -> list[CalibrationPoint]:
    """Networks of 20 to 90 kernels whose latency follows the model up to log-normal noise."""
    rng = np.random.default_rng(seed)
    points = []
    for index in range(count):
        kernels = int(rng.integers(20, 90))
        kernels_ms = float(kernels * rng.uniform(0.01, 0.06))
        exact_ms = OVERHEAD_MS + SCALE * kernels_ms + PER_KERNEL_MS * kernels
        points.append(
            CalibrationPoint(
                subject=f"n{index}",
                kernels_ms=kernels_ms,
                kernels=kernels,
                measured_ms=exact_ms * math.exp(rng.normal(0, noise)),
            )
        )
    return points


def test_without_noise_the_coefficients_are_found_exactly() -> None:
    fit = calibrate(draw_points(MIN_NETWORKS, seed=0, noise=0.0))
    assert fit.overhead_ms == pytest.approx(OVERHEAD_MS)
    assert fit.scale == pytest.approx(SCALE)
    assert fit.per_kernel_ms == pytest.approx(PER_KERNEL_MS)
    assert fit.p95_ratio == pytest.approx(1.0)
    assert fit.worst_error < 1e-9
    assert fit.networks == MIN_NETWORKS


def test_with_noise_the_coefficients_are_found_nearly() -> None:
    fit = calibrate(draw_points(400, seed=1, noise=0.02))
    assert fit.overhead_ms == pytest.approx(OVERHEAD_MS, abs=0.02)
    assert fit.scale == pytest.approx(SCALE, rel=0.02)
    assert fit.per_kernel_ms == pytest.approx(PER_KERNEL_MS, rel=0.4)
    assert fit.predict_ms(1.8, 50) == pytest.approx(OVERHEAD_MS + SCALE * 1.8 + 0.1, rel=0.01)


def test_the_stated_error_is_that_of_networks_never_seen() -> None:
    fit = calibrate(draw_points(200, seed=2, noise=0.03))
    # The median of |N(0, 0.03)| is 0.6745 * 0.03.
    assert fit.median_error == pytest.approx(0.6745 * 0.03, rel=0.25)
    assert fit.worst_error > 2 * fit.median_error


def test_the_p95_covers_fresh_networks() -> None:
    covered = []
    for seed in range(20):
        fit = calibrate(draw_points(60, seed=seed, noise=0.03))
        for point in draw_points(400, seed=1000 + seed, noise=0.03):
            limit_ms = fit.p95_ratio * fit.predict_ms(point.kernels_ms, point.kernels)
            covered.append(point.measured_ms <= limit_ms)
    assert 0.93 <= np.mean(covered) <= 0.985


def test_each_network_is_predicted_by_a_fit_without_it() -> None:
    points = draw_points(12, seed=3, noise=0.0)
    # An outlier far from all others bends a fit that sees it towards itself; a fit on the exact
    # others misses it by the whole amount.
    far = CalibrationPoint(
        subject="far",
        kernels_ms=50.0,
        kernels=30,
        measured_ms=1.5 * (OVERHEAD_MS + SCALE * 50.0 + PER_KERNEL_MS * 30),
    )
    fit = calibrate([*points, far])
    assert fit.worst_error == pytest.approx(1 - 1 / 1.5, rel=1e-6)
    assert fit.p95_ratio == pytest.approx(1.5, rel=1e-6)
    seen = abs(fit.predict_ms(far.kernels_ms, far.kernels) / far.measured_ms - 1)
    assert seen < 0.9 * fit.worst_error


@pytest.mark.parametrize("seed", range(8))
def test_the_p95_is_never_below_the_median(seed: int) -> None:
    # Without noise the left-out ratios are 1 up to rounding, to either side.
    assert calibrate(draw_points(40, seed, noise=0.0)).p95_ratio >= 1.0


@pytest.mark.parametrize("seed", range(6))
def test_networks_of_like_kernels_do_not_lead_to_an_impossible_scale(seed: int) -> None:
    """Sum and number of their kernels say the same, and the measurements are noisy."""
    rng = np.random.default_rng(seed)
    points = [
        CalibrationPoint(
            subject=f"n{kernels}",
            kernels_ms=0.005 * kernels * rng.uniform(0.99, 1.01),
            kernels=kernels,
            measured_ms=(0.02 + 0.0055 * kernels) * math.exp(rng.normal(0, 0.1)),
        )
        for kernels in range(20, 44, 3)
    ]
    fit = calibrate(points)
    assert 0.5 < fit.scale < 1.5
    assert fit.predict_ms(0.15, 30) == pytest.approx(0.02 + 0.0055 * 30, rel=0.15)


@pytest.mark.parametrize("count", range(MIN_NETWORKS))
def test_too_few_networks_are_refused(count: int) -> None:
    with pytest.raises(CalibrationFailed, match=f"at least 8 networks.*got {count}"):
        calibrate(draw_points(count, seed=0, noise=0.01))


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_latencies_that_kernels_do_not_explain_are_refused(factor: float) -> None:
    points = [
        replace(point, kernels_ms=point.kernels_ms * factor)
        for point in draw_points(40, seed=5, noise=0.01)
    ]
    with pytest.raises(CalibrationFailed, match="times the sum of kernels"):
        calibrate(points)


@given(st.lists(st.floats(0.5, 2), min_size=1, max_size=60), st.floats(0.5, 0.99))
def test_the_conformal_quantile_is_the_smallest_value_with_its_rank(
    values: list[float], confidence: float
) -> None:
    quantile = conformal_quantile(np.array(values), confidence)
    at_most = sum(value <= quantile for value in values)
    below = sum(value < quantile for value in values)
    needed = confidence * (len(values) + 1)
    assert quantile in values
    assert at_most >= min(needed, len(values)) - 1e-9
    assert below < needed
