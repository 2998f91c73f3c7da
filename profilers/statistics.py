"""Location and spread of latency samples, without assumptions on their distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, t


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


def median_interval(samples: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median between two order statistics.

    The number of samples below the median is binomial with p = 1/2 whatever the distribution, so
    that the k-th smallest and k-th largest sample enclose it with probability
    1 - 2 P(B < k) (David and Nagaraja, Order Statistics, 2003, section 7.1). The largest k with
    at least the asked confidence is taken.

    Returns:
        Both ends; (-inf, inf) where the samples are too few for the confidence.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a fraction in (0, 1)")
    ordered = _sorted(samples)
    count = ordered.size
    ranks = np.arange(1, count // 2 + 1)
    enough = ranks[1 - 2 * binom.cdf(ranks - 1, count, 0.5) >= confidence]
    if enough.size == 0:
        return -np.inf, np.inf
    rank = int(enough[-1])
    return float(ordered[rank - 1]), float(ordered[count - rank])


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


def is_narrow(samples: npt.ArrayLike, relative: float) -> bool:
    """Whether the median is known well enough to stop measuring.

    Args:
        samples: At least one.
        relative: Greatest half-width of the median's 95 % interval, as a fraction of the median.
    """
    if relative <= 0:
        raise ValueError(f"relative is {relative}; give a fraction above 0")
    low, high = median_interval(samples)
    return bool((high - low) / 2 <= relative * abs(float(np.median(_sorted(samples)))))


def _sorted(samples: npt.ArrayLike) -> npt.NDArray[np.float64]:
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    if ordered.size == 0:
        raise ValueError("no samples; give at least one")
    if not np.isfinite(ordered).all():
        raise ValueError("samples hold a value that is not finite")
    return ordered
