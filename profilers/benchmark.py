"""Measure one TFLite file end to end, hold it against prediction and budget, give a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.budget import Budget, Latency
from latency_tables.errors import NetworkUnreadable
from latency_tables.kernel import Kernel
from latency_tables.measurement import Measurement
from latency_tables.model import LatencyModel
from latency_tables.predict import predict
from latency_tables.tflite.network import read_network
from profilers.errors import OperatorsDiffer
from profilers.runner import LatencySession, OperatorSession, Runner
from profilers.schedule import ROUNDS_PER_SESSION
from profilers.sessions import SessionValue, is_disturbed, median_ms, that_count
from profilers.settings import ProfileSettings
from profilers.statistics import midmean, sessions_interval
from profilers.xnnpack import match_events

RUNS = 40
WARMUP = 5
MIN_SESSIONS = 2
"""Fewer sessions have no interval."""

PATIENCE_S = 120.0
"""How long a network that seems to miss its budget waits for an undisturbed machine."""

WORST_SLOWDOWN = 2.0
"""What other load may cost: the other half of the core in use makes latencies up to 1.8 times."""


def benchmark_settings(sessions: int = 5) -> ProfileSettings:
    """Settings of a benchmark: more runs a session than a profile, since there is one network.

    Raises:
        ValueError: sessions are less than 1.
    """
    return ProfileSettings(sessions=sessions, runs=RUNS, warmup=WARMUP)


@dataclass(frozen=True, kw_only=True)
class KernelComparison:
    """One kernel of the benchmarked network.

    Attributes:
        name: the runtime's name for the operator.
        kernel: its key, or None when the file's kernels are not known.
        measured_ms: midmean over all sessions.
        predicted_ms: the table's row; None without a table.
    """

    name: str
    kernel: str | None
    measured_ms: float
    predicted_ms: float | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """A file on a target.

    Attributes:
        file: name of the TFLite file.
        measurement: end-to-end latencies, without a profiler.
        interval_ms: 95% confidence interval of the measured latency, from session to session.
        undisturbed: sessions that no other load disturbed; where fewer than two were, the least
            slowed serve, and the latency is an upper bound.
        predicted: from the table; None without one.
        budget: the limit asked for; None for none.
        kernels: in execution order.
        note: why there are no times of single operators; empty where there are.
        unpredicted: why a table predicts nothing; empty where it does, or without one.
    """

    file: str
    measurement: Measurement
    interval_ms: tuple[float, float]
    undisturbed: int
    predicted: Latency | None
    budget: Budget | None
    kernels: tuple[KernelComparison, ...]
    note: str = ""
    unpredicted: str = ""

    @property
    def relative_error(self) -> float | None:
        """Predicted over measured median, less one; positive when the prediction was too high."""
        if self.predicted is None:
            return None
        return self.predicted.p50_ms / self.measurement.median_ms - 1

    @property
    def verdict(self) -> str | None:
        """Whether the measured median is within the budget; None without a budget.

        ``met`` or ``missed``; ``undecided`` when it is not within the budget, but would be but
        for what other load may have added.
        """
        if self.budget is None:
            return None
        return _verdict(self.measurement.median_ms, self.undisturbed, self.budget.limit_ms)

    @property
    def is_certain(self) -> bool | None:
        """Whether the whole interval is on the verdict's side; None without a budget."""
        if self.budget is None:
            return None
        low, high = self.interval_ms
        limit_ms = self.budget.limit_ms
        return {"met": high <= limit_ms, "missed": low > limit_ms}.get(str(self.verdict), False)

    def summary(self) -> str:
        """The result in two or three lines."""
        low, high = self.interval_ms
        measured = self.measurement
        lines = [
            f"{self.file}: measured {measured.median_ms:.3f} ms (95% interval {low:.3f} to "
            f"{high:.3f}, {measured.runs} runs in {len(measured.sessions_ms)} sessions)"
        ]
        if self.predicted:
            lines.append(
                f"  predicted {self.predicted.p50_ms:.3f} ms, with 95% confidence under "
                f"{self.predicted.p95_ms:.3f} ms; error {self.relative_error:+.1%}"
            )
        if self.unpredicted:
            lines.append(f"  not predicted: {self.unpredicted}")
        if self.budget and self.verdict:
            doubt = "" if self.is_certain else " (within measuring error)"
            if self.verdict == "undecided":
                doubt = (
                    ": other load slowed the machine all the time; measure again when it is idle"
                )
            lines.append(f"  budget {self.budget.limit_ms:g} ms: {self.verdict.upper()}{doubt}")
        if self.note:
            lines.append(f"  no times of single operators: {self.note}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values: milliseconds, fractions and the verdict."""
        predicted, budget = self.predicted, self.budget
        return {
            "file": self.file,
            "target": self.measurement.target.to_json(),
            "measured_ms": self.measurement.median_ms,
            "interval_ms": list(self.interval_ms),
            "iqr_ms": self.measurement.iqr_ms,
            "runs": self.measurement.runs,
            "sessions": len(self.measurement.sessions_ms),
            "session_medians_ms": [float(np.median(one)) for one in self.measurement.sessions_ms],
            "is_stable": self.measurement.is_stable,
            "conditions": dict(self.measurement.conditions),
            "predicted_p50_ms": predicted.p50_ms if predicted else None,
            "predicted_p95_ms": predicted.p95_ms if predicted else None,
            "relative_error": self.relative_error,
            "budget_ms": budget.limit_ms if budget else None,
            "confidence": budget.confidence if budget else None,
            "undisturbed_sessions": self.undisturbed,
            "verdict": self.verdict,
            "is_certain": self.is_certain,
            "kernels": [vars(kernel) for kernel in self.kernels],
            "note": self.note,
            "unpredicted": self.unpredicted,
        }


def benchmark(
    path: Path,
    runner: Runner,
    *,
    settings: ProfileSettings,
    kernels: Sequence[Kernel] | None = None,
    model: LatencyModel | None = None,
    budget: Budget | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> BenchmarkReport:
    """Measure a file and compare it.

    Args:
        path: the TFLite file.
        runner: where to run it.
        settings: sessions (each loads the file afresh; at least 2), runs, warm-up.
        kernels: what the file runs, if that is known; checked against what really ran.
        model: predicts from a table of the same target; without ``kernels``, what runs is worked
            out from the file.
        budget: limit for the verdict.
        on_progress: called with sessions done, sessions in all, and what is being measured.
        patience_s: how long to go on, in seconds, while the budget seems missed and other load
            may be why.

    Raises:
        ValueError: there is but one session.
        TargetMismatch: the table is of another target than the runner's.
        OperatorsDiffer: other operators ran than ``kernels``, or these cannot be told.
        KernelMissing: the table lacks one of the kernels.
        ModelRejected: the runtime does not take the file.
    """
    if settings.sessions < MIN_SESSIONS:
        raise ValueError(f"a benchmark needs {MIN_SESSIONS} sessions, got {settings.sessions}")
    if model is not None:
        model.table.target.require_same(runner.target)
    predicted, unpredicted = _predict(path, kernels, model)
    runner.prepare([path])
    latencies: list[LatencySession] = []
    operators: list[OperatorSession] = []
    note = ""
    deadline = time.monotonic() + patience_s
    while True:  # ends: by the number of sessions, or at the deadline
        steady = sum(not is_disturbed(session) for session in latencies)
        if steady == settings.sessions:
            break
        if len(latencies) >= settings.sessions * ROUNDS_PER_SESSION and (
            time.monotonic() > deadline or not _is_in_doubt(latencies, steady, budget)
        ):
            break
        if on_progress:
            on_progress(steady, settings.sessions, path.name)
        latencies.append(runner.latencies(path, runs=settings.runs, warmup=settings.warmup))
        if not note:
            try:
                session = runner.operators(path, runs=settings.runs, warmup=settings.warmup)
            except OperatorsDiffer as error:
                if kernels is not None:
                    raise
                note = str(error)
            else:
                operators.append(session)
    if on_progress:
        on_progress(settings.sessions, settings.sessions, path.name)
    names = [operator.name for operator in operators[0].operators] if operators else []
    if kernels is not None:
        match_events(names, kernels)
    counted = _counted(latencies)
    measurement = Measurement(
        subject=path.name,
        target=runner.target,
        sessions_ms=tuple(session.samples_ms for session in counted),
        runs=sum(session.runs for session in counted),
        warmup=settings.warmup,
        conditions={
            **runner.conditions(),
            "sessions": len(latencies),
            "disturbed": sum(map(is_disturbed, latencies)) / len(latencies),
        },
    )
    measured = [
        median_ms(
            [
                SessionValue(midmean(session.operators[index].samples_ms), session.disturbed)
                for session in operators
            ]
        )
        for index in range(len(names))
    ]
    return BenchmarkReport(
        file=path.name,
        measurement=measurement,
        interval_ms=sessions_interval([np.median(one) for one in measurement.sessions_ms]),
        undisturbed=steady,
        predicted=predicted,
        budget=budget,
        kernels=_compare(names, measured, kernels, model),
        note=note,
        unpredicted=unpredicted,
    )


def _predict(
    path: Path, kernels: Sequence[Kernel] | None, model: LatencyModel | None
) -> tuple[Latency | None, str]:
    """What a table says of a file; if nothing, the reason."""
    if model is None:
        return None, ""
    if kernels:
        return model.predict(kernels), ""
    try:
        prediction = predict(path.name, read_network(path), model)
    except NetworkUnreadable as error:
        return None, str(error)
    if prediction.latency is None:
        return None, (
            f"the table lacks kernels ({len(prediction.missing)} kinds); to measure them: "
            f"pocketnas tables predict {path} --table TABLE --measure-missing"
        )
    return prediction.latency, ""


def _counted(sessions: Sequence[LatencySession]) -> list[LatencySession]:
    return that_count(sessions, lambda one: float(np.median(one.samples_ms)), MIN_SESSIONS)


def _is_in_doubt(sessions: Sequence[LatencySession], steady: int, budget: Budget | None) -> bool:
    if budget is None:
        return False
    median_ms = float(np.median([np.median(one.samples_ms) for one in _counted(sessions)]))
    return _verdict(median_ms, steady, budget.limit_ms) == "undecided"


def _verdict(median_ms: float, undisturbed: int, limit_ms: float) -> str:
    if median_ms <= limit_ms:
        return "met"
    is_slowed = undisturbed < MIN_SESSIONS and median_ms <= WORST_SLOWDOWN * limit_ms
    return "undecided" if is_slowed else "missed"


def _compare(
    names: Sequence[str],
    measured_ms: Sequence[float],
    kernels: Sequence[Kernel] | None,
    model: LatencyModel | None,
) -> tuple[KernelComparison, ...]:
    return tuple(
        KernelComparison(
            name=name,
            kernel=kernels[index].key if kernels else None,
            measured_ms=measured_ms[index],
            predicted_ms=model.table[kernels[index]].median_ms if model and kernels else None,
        )
        for index, name in enumerate(names)
    )
