"""A measurement: samples of one subject on one target, with the conditions they were taken in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from latency_tables.target import Target

STABLE_SPREAD = 0.1
"""IQR over median beyond which a measurement is called unstable (as torch.utils.benchmark)."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """End-to-end latencies of one network.

    Attributes:
        subject: what was measured: a genotype or a file name.
        target: where it was measured.
        sessions_ms: one tuple of latencies for each session (a freshly loaded model); a device
            that tells no more than the median of a session has one latency in each.
        runs: how many runs these latencies stand for.
        warmup: runs before each session that were not counted.
        conditions: what else was read at the time: load, MHz, celsius, taken_at.
    """

    subject: str
    target: Target
    sessions_ms: tuple[tuple[float, ...], ...]
    runs: int
    warmup: int
    conditions: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sessions_ms or not all(self.sessions_ms):
            raise ValueError(f"measurement of {self.subject!r} has no samples")

    @property
    def samples_ms(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """All samples of all sessions."""
        return np.concatenate([np.asarray(session) for session in self.sessions_ms])

    @property
    def median_ms(self) -> float:
        """Median over sessions of each session's median."""
        return float(np.median([np.median(session) for session in self.sessions_ms]))

    @property
    def iqr_ms(self) -> float:
        """Interquartile range of all samples."""
        low, high = np.percentile(self.samples_ms, (25, 75))
        return float(high - low)

    @property
    def is_stable(self) -> bool:
        """Whether the samples agree well enough to be trusted."""
        return self.iqr_ms <= STABLE_SPREAD * self.median_ms
