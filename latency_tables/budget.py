"""A latency and the limit it must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

Z95 = NormalDist().inv_cdf(0.95)
"""Standard deviations from the median to the 95th percentile of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A predicted latency.

    Attributes:
        p50_ms: as likely exceeded as not.
        p95_ms: exceeded by one network in twenty.
        by_kernel_ms: share of each kernel in the p50, in execution order; they add up to it less
            the overhead of a run.
        doubt: relative standard deviation, in [0, ...), of what the table does not know about this
            network: kernels of few contexts, a size beyond those measured. Measuring the network
            takes it away. Noise, which measuring does not take away, is not in it.
    """

    p50_ms: float
    p95_ms: float
    by_kernel_ms: tuple[float, ...] = field(default=(), repr=False)
    doubt: float = field(default=0.0, repr=False)

    def at(self, confidence: float) -> float:
        """The latency in ms that is not exceeded with this confidence in [0.5, 1).

        Between and beyond the two known quantiles the error of a prediction is taken as
        log-normal.
        """
        spread = math.log(self.p95_ms / self.p50_ms) / Z95
        return self.p50_ms * math.exp(NormalDist().inv_cdf(confidence) * spread)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A limit in ms and the confidence with which a network must keep it.

    Attributes:
        limit_ms: the limit.
        confidence: probability in [0.5, 1) that the measured latency is within the limit.
        fill: share of the limit in [0, 1) below which a network is not worth training in a
            search: short trainings favour small networks, long ones those that use their budget.
    """

    limit_ms: float
    confidence: float = 0.95
    fill: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit_ms) and self.limit_ms > 0):
            raise ValueError(f"a budget must be more than 0 ms, got {self.limit_ms:g}")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"a budget's confidence lies in [0.5, 1), got {self.confidence:g}")
        if not 0 <= self.fill < 1:
            raise ValueError(f"the share of a budget to fill lies in [0, 1), got {self.fill:g}")

    def admits(self, latency: Latency) -> bool:
        """Whether the latency keeps the limit with the confidence asked for."""
        return latency.at(self.confidence) <= self.limit_ms

    def is_filled(self, latency: Latency) -> bool:
        """Whether the latency, with the same confidence, uses its share of the limit."""
        return latency.at(self.confidence) >= self.fill * self.limit_ms

    def __str__(self) -> str:
        return f"{self.limit_ms:g} ms at {self.confidence:.0%} confidence"
