from __future__ import annotations

import numpy as np
import pytest

from latency_tables.measurement import Measurement
from latency_tables.target import Target


def measure(target: Target, *sessions_ms: tuple[float, ...]) -> Measurement:
    return Measurement(subject="s0", target=target, sessions_ms=sessions_ms, runs=60, warmup=3)


def test_the_median_is_of_session_medians_so_that_a_long_session_does_not_outvote(
    target: Target,
) -> None:
    measurement = measure(target, (1.0, 1.0, 9.0), (2.0,), (5.0,) * 50)
    assert measurement.median_ms == 2.0
    assert len(measurement.samples_ms) == 54


def test_a_measurement_is_stable_up_to_a_tenth_of_its_median(target: Target) -> None:
    spread = np.linspace(-1, 1, 101)
    steady = measure(target, tuple(10 + 0.99 * spread))
    wild = measure(target, tuple(10 + 1.01 * spread))
    assert steady.iqr_ms == pytest.approx(0.99)
    assert steady.is_stable
    assert not wild.is_stable


@pytest.mark.parametrize("sessions_ms", [(), ((),), ((1.0,), ())])
def test_a_measurement_without_samples_is_refused(
    target: Target, sessions_ms: tuple[tuple[float, ...], ...]
) -> None:
    with pytest.raises(ValueError, match="no samples"):
        measure(target, *sessions_ms)
