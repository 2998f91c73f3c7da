"""The line in which benchmark_model sums up its runs.

It reads ``count=50 first=.. curr=.. min=.. max=.. avg=.. std=..``, in microseconds, since 2023
followed by ``p5=.. median=.. p95=..``. Runs that all took the same time, or a single one, leave
only ``count=1 curr=..`` or ``count=3 curr=..(all same)``. The average has six digits, and is
written as ``1.24027e+06`` from a second on; percentiles are exact.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_FIGURE = re.compile(r"[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?")
# Thirty years in microseconds: more than that is not a time.
_MAX_FIGURE = 1e15
# The average is rounded to six digits.
_ROUNDING = 1 + 1e-5
_PAIR = re.compile(r"\b(count|first|curr|min|max|avg|std|p5|median|p95)=([0-9.eE+-]{1,64})")


def figure(text: str) -> float | None:
    """A number as the tool prints it; None unless it is finite, not negative and no nonsense."""
    text = text.strip()
    if not _FIGURE.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) and value <= _MAX_FIGURE else None


def whole(text: str) -> int | None:
    """A count as the tool prints it, at most 10^15; None for anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


@dataclass(frozen=True, kw_only=True)
class RunStatistics:
    """How long a number of runs took.

    Attributes:
        count: Runs; 0 where the tool tells only their mean.
        mean_ms: Mean, to six digits.
        first_ms: The first run.
        min_ms: The fastest run.
        max_ms: The slowest run.
        std_ms: Standard deviation, rounded down to a microsecond.
        median_ms: Median; like the other percentiles only from builds since 2023.
        p5_ms: 5th percentile.
        p95_ms: 95th percentile.
    """

    count: int
    mean_ms: float
    first_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None

    @property
    def typical_ms(self) -> float:
        """The median where the build tells it, else the mean, which outliers move."""
        return self.mean_ms if self.median_ms is None else self.median_ms


def parse_statistics(line: str) -> RunStatistics | None:
    """Read one line; None if it holds no runs or no time that makes sense."""
    pairs = {key: text for key, text in _PAIR.findall(line)}
    count = whole(pairs.get("count", ""))
    if not count:
        return None
    times_ms = {key: _milliseconds(text) for key, text in pairs.items() if key != "count"}
    if "avg" not in pairs and (count == 1 or "(all same)" in line):
        same_ms = times_ms.get("curr")
        spread_ms = None if same_ms is None else 0.0
        times_ms |= dict.fromkeys(("first", "min", "max", "avg"), same_ms) | {"std": spread_ms}
    mean_ms = times_ms.pop("avg", None)
    if mean_ms is None:
        return None
    times_ms.pop("curr", None)
    named = {f"{key}_ms": value for key, value in times_ms.items()}
    statistics = RunStatistics(count=count, mean_ms=mean_ms, **named)
    return statistics if _is_consistent(statistics) else None


def _is_consistent(statistics: RunStatistics) -> bool:
    """Whether mean and percentiles lie among the runs: a line that was cut off fails here."""
    if statistics.min_ms is None or statistics.max_ms is None:
        return True
    inner_ms = (statistics.mean_ms, statistics.median_ms, statistics.p5_ms, statistics.p95_ms)
    least_ms, most_ms = statistics.min_ms / _ROUNDING, statistics.max_ms * _ROUNDING
    return all(least_ms <= ms <= most_ms for ms in inner_ms if ms is not None)


def _milliseconds(text: str) -> float | None:
    microseconds = figure(text)
    return None if microseconds is None else microseconds / 1000
