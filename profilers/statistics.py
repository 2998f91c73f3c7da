"""Location and spread of latency samples, without assumptions on their distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import t


def midmean(samples: npt.ArrayLike) -> float:
    """Mean of the middle half of the samples (interquartile mean).

    As robust as a median against the long right tail of latencies, but not tied to the ticks of
    the clock: of samples that are whole microseconds, a median is one too, the midmean is not.
    A sample that lies across a quartile counts by the part that lies inside.
    """
    ordered = _sorted(samples)
    count = ordered.size
    # Sample i covers the interval [i, i + 1] of an axis that the quartiles cut at count / 4.
    edges = np.arange(count)
    inside = np.minimum(edges + 1, 0.75 * count) - np.maximum(edges, 0.25 * count)
    weights = np.clip(inside, 0.0, None)
    # A weighted mean may leave the range of its values by rounding.
    low, high = ordered[weights > 0][[0, -1]]
    return float(np.clip(weights @ ordered / weights.sum(), low, high))


def iqr(samples: npt.ArrayLike) -> float:
    """Interquartile range: the 75th minus the 25th percentile."""
    low, high = np.percentile(_sorted(samples), (25, 75))
    return float(high - low)


def sessions_interval(
    session_medians: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of what a further session's median is on average.

    Runs of one session share where the model lies in memory and what the machine was like, so
    that they are not independent; sessions are. Student's t over the sessions' medians.

    Returns:
        Both ends; (-inf, inf) for a single session.
    """
    medians = _sorted(session_medians)
    if medians.size < 2:
        return -np.inf, np.inf
    half = t.ppf((1 + confidence) / 2, medians.size - 1) * medians.std(ddof=1) / medians.size**0.5
    return float(medians.mean() - half), float(medians.mean() + half)


def _sorted(samples: npt.ArrayLike) -> npt.NDArray[np.float64]:
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    if ordered.size == 0:
        raise ValueError("no samples; give at least one")
    if not np.isfinite(ordered).all():
        raise ValueError("samples hold a value that is not finite")
    return ordered
