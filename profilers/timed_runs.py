"""The whole runs of benchmark_model: its warm-up and the runs that count.

The tool announces each of the two, ``Running benchmark for at least 50 iterations ..``, and sums
it up afterwards (`run_statistics`). A summary follows; some extracts of logs hold nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from profilers.run_statistics import RunStatistics, figure, parse_statistics, whole

_NUMBER = r"([0-9.eE+-]{1,64})"
_STEP = re.compile(
    r"^[ \t]*(?:Running benchmark for (?:at least )?([0-9]{1,15}) iterations|(count=.*))",
    re.MULTILINE,
)
_SESSION = re.compile(rf"^Initialized session in {_NUMBER}ms", re.MULTILINE)
_SUMMARY = re.compile(r"^(?:Average inference|Inference) timings in us: (.*)", re.MULTILINE)
_SUMMARY_FIGURE = re.compile(rf"\b(Init|Warmup|Inference)(?: \(avg\))?: {_NUMBER}")
_BLOCK_INIT = re.compile(rf"^Model initialization: +{_NUMBER} ms", re.MULTILINE)
_BLOCK_FIGURE = re.compile(
    rf"^(Warmup|Inference) \((avg|min|max|std)\): +{_NUMBER}"
    r"(?: ms)?(?: \(([0-9]{1,15}) runs\))?",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class TimedRuns:
    """What a text tells of them.

    Attributes:
        init_ms: Loading the model and preparing it.
        warmup: The warm-up.
        timed: The runs that count.
        wanted: Timed runs that were asked for.
        mean_ms: The summary's mean of the timed runs.
    """

    init_ms: float | None
    warmup: RunStatistics | None
    timed: RunStatistics | None
    wanted: int | None
    mean_ms: float | None

    @property
    def profiled_at_most(self) -> int | None:
        """Warm-up and timed runs together, if both are known."""
        if self.warmup is None or self.timed is None:
            return None
        return self.warmup.count + self.timed.count or None

    def timed_or_mean(self, profiled: RunStatistics | None) -> RunStatistics | None:
        """The timed runs, if need be their mean only, with the count of the profiled ones."""
        if self.timed is not None or self.mean_ms is None:
            return self.timed
        return RunStatistics(count=profiled.count if profiled else 0, mean_ms=self.mean_ms)


@dataclass
class _Phase:
    wanted: int | None = None
    line: str | None = None


def find_runs(text: str) -> TimedRuns:
    """Look for warm-up and timed runs in a text without loggers' prefixes."""
    phases = _phases(text)
    warmup, timed = (parse_statistics(phase.line or "") for phase in phases[:2])
    summary = _SUMMARY.search(text)
    figures_us = dict(_SUMMARY_FIGURE.findall(summary[1])) if summary else {}
    block = _block(text)
    session = _SESSION.search(text) or _BLOCK_INIT.search(text)
    init_us = figure(figures_us.get("Init", ""))
    warmup_us = figure(figures_us.get("Warmup", ""))
    mean_us = figure(figures_us.get("Inference", ""))
    if warmup is None and warmup_us is not None:
        warmup = RunStatistics(count=0, mean_ms=warmup_us / 1000)
    return TimedRuns(
        init_ms=init_us / 1000 if init_us is not None else figure(session[1]) if session else None,
        warmup=warmup or block.get("Warmup"),
        timed=timed or block.get("Inference"),
        wanted=phases[1].wanted,
        mean_ms=None if mean_us is None else mean_us / 1000,
    )


def _phases(text: str) -> list[_Phase]:
    """The first two phases, or empty ones; a lone one is the warm-up of a run that broke off."""
    phases: list[_Phase] = []
    for wanted, line in _STEP.findall(text):
        if wanted:
            phases.append(_Phase(wanted=whole(wanted)))
        elif phases and phases[-1].line is None:
            phases[-1].line = line
        else:
            phases.append(_Phase(line=line))
    return [*phases, _Phase(), _Phase()][:2]


def _block(text: str) -> Mapping[str, RunStatistics]:
    """The means, and what goes with them, of LiteRT's ``BENCHMARK RESULTS``."""
    figures: dict[str, dict[str, float | None]] = {}
    counts: dict[str, int] = {}
    for phase, key, value, count in _BLOCK_FIGURE.findall(text):
        figures.setdefault(phase, {})[key] = figure(value)
        counts[phase] = counts.get(phase) or whole(count) or 0
    return {
        phase: RunStatistics(
            count=counts[phase],
            mean_ms=mean_ms,
            min_ms=found.get("min"),
            max_ms=found.get("max"),
            std_ms=found.get("std"),
        )
        for phase, found in figures.items()
        if (mean_ms := found.get("avg")) is not None
    }
