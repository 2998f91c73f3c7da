"""Calibration: from the sum of a network's kernels to its end-to-end latency.

Addition alone misses what a run costs besides its kernels: entering the runtime, dispatching each
operator, the half microsecond that the runtime's timer truncates. Three coefficients, fitted on
networks that were measured end to end, account for them:

    ms = overhead_ms + scale * sum(kernel ms) + per_kernel_ms * (number of kernels)

The fit minimizes relative errors. Its own error is measured by leaving each network out in turn,
and the 95th percentile comes from the same left-out ratios (conformal prediction: Vovk et al.,
Algorithmic Learning in a Random World, 2005, chapter 2), so it holds whatever the residuals'
distribution, for networks drawn like the calibration's.

This is the first step only: `posterior.py` then corrects every kernel by the same networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_tables.errors import CalibrationFailed

MIN_NETWORKS = 8
"""Fewer networks than this determine neither the coefficients nor a spread."""

SCALE_SPREAD = 0.3
"""How far the scale is from 1, as a standard deviation, before anything is known."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """One network that was measured end to end.

    Attributes:
        subject: its genotype.
        kernels_ms: sum of its kernels' table rows.
        kernels: how many kernels it runs.
        measured_ms: its measured latency.
    """

    subject: str
    kernels_ms: float
    kernels: int
    measured_ms: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Fitted end-to-end model, with the error it showed on networks it had not seen.

    Attributes:
        overhead_ms: cost of a run whatever the network.
        scale: factor on the sum of kernels.
        per_kernel_ms: cost of each kernel beyond its row.
        p95_ratio: measured over predicted, not exceeded by 95% of left-out networks.
        median_error: median absolute relative error on left-out networks, in [0, 1].
        worst_error: the largest one.
        networks: how many networks the fit used.
    """

    overhead_ms: float
    scale: float
    per_kernel_ms: float
    p95_ratio: float
    median_error: float
    worst_error: float
    networks: int

    def predict_ms(self, kernels_ms: float, kernels: int) -> float:
        """Median latency of a network from its kernels' sum and count."""
        return self.overhead_ms + self.scale * kernels_ms + self.per_kernel_ms * kernels


def calibrate(points: Sequence[CalibrationPoint]) -> Calibration:
    """Fit the three coefficients and measure the fit's own error.

    Raises:
        CalibrationFailed: too few networks, or the fit is not physical.
    """
    if len(points) < MIN_NETWORKS:
        raise CalibrationFailed(
            f"calibration needs at least {MIN_NETWORKS} networks measured end to end, "
            f"got {len(points)}; profile more networks"
        )
    terms_N3 = np.array([[1.0, point.kernels_ms, point.kernels] for point in points])
    measured_N = np.array([point.measured_ms for point in points])
    overhead, scale, per_kernel = _fit(terms_N3, measured_N)
    if not 0.2 < scale < 5:
        raise CalibrationFailed(
            f"end-to-end latencies are {scale:.2f} times the sum of kernels; the machine was too "
            "busy or the kernels were not those that ran. Profile again when it is quieter"
        )
    if (terms_N3 @ np.array([overhead, scale, per_kernel]) <= 0).any():
        raise CalibrationFailed(
            "the fit predicts latencies below zero: the networks are too small for this machine's "
            "noise. Profile larger networks, or when the machine is quieter"
        )
    ratios = _left_out_ratios(terms_N3, measured_N)
    errors = np.abs(1 / ratios - 1)
    return Calibration(
        overhead_ms=overhead,
        scale=scale,
        per_kernel_ms=per_kernel,
        p95_ratio=max(1.0, conformal_quantile(ratios, 0.95)),
        median_error=float(np.median(errors)),
        worst_error=float(errors.max()),
        networks=len(points),
    )


def conformal_quantile(values: Array, confidence: float) -> float:
    """The smallest value that a further draw stays under with at least this confidence.

    With fewer draws than the confidence asks for, the largest value stands in.
    """
    rank = math.ceil((len(values) + 1) * confidence)
    return float(np.sort(values)[min(rank, len(values)) - 1])


def _fit(terms_N3: Array, measured_N: Array) -> tuple[float, float, float]:
    """Least squares on relative errors: each row is divided by what it should come to.

    In networks of like kernels, sum and number of kernels say the same, and noise alone would
    share the latency out between the two. So the scale is held near 1, the less the better the
    networks agree with the fit.
    """
    weighted_N3 = terms_N3 / measured_N[:, None]
    ones_N = np.ones(len(measured_N))
    free_3, *_ = np.linalg.lstsq(weighted_N3, ones_N, rcond=None)
    surplus = max(1, len(measured_N) - 3)
    noise = math.sqrt(float(((weighted_N3 @ free_3 - ones_N) ** 2).sum()) / surplus)
    hold_3 = np.array([0.0, 1.0, 0.0]) * noise / SCALE_SPREAD
    held_3, *_ = np.linalg.lstsq(
        np.vstack([weighted_N3, hold_3]), np.append(ones_N, hold_3[1]), rcond=None
    )
    overhead, scale, per_kernel = (float(value) for value in held_3)
    return overhead, scale, per_kernel


def _left_out_ratios(terms_N3: Array, measured_N: Array) -> Array:
    """Measured over predicted for each network, predicted by a fit without it."""
    ratios = np.empty(len(measured_N))
    for index in range(len(measured_N)):
        kept = np.arange(len(measured_N)) != index
        predicted = float(terms_N3[index] @ np.array(_fit(terms_N3[kept], measured_N[kept])))
        ratios[index] = measured_N[index] / predicted
    return ratios
