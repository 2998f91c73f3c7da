"""Measure probes into a journal, and make a latency table of a journal.

The journal holds every measurement as it was taken; the table is computed from it at the end, so
a profile that was interrupted goes on where it was, and the same journal gives the same table.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from latency_tables.calibrate import MIN_NETWORKS, CalibrationPoint, calibrate
from latency_tables.errors import CalibrationFailed
from latency_tables.kernel import Kernel, parse_kernel
from latency_tables.store import save_table
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from profilers.journal import Journal, JournalRow
from profilers.probes import Probe, choose_probes
from profilers.runner import DISTURBED_SHARE, Runner
from profilers.schedule import Schedule, Task
from profilers.sessions import SessionValue, is_disturbed, median_ms, that_count
from profilers.settings import ProfileSettings
from profilers.statistics import iqr, midmean
from profilers.xnnpack import match_events

Progress = Callable[[int, int, str], None]
"""Told how many measurements are done, of how many, and what comes next."""

Key = tuple[str, tuple[Kernel, ...]]
"""A network measured end to end: its genotype and its kernels."""

_log = logging.getLogger(__name__)

CONTEXTS = 3
"""Probes that each kernel is measured in."""

CALIBRATION_NETWORKS = 40
"""Networks measured end to end, beside the probes."""

DISTURBED_WARNING = 0.2
"""Share of subjects without an undisturbed session beyond which a profile is doubtful."""

DRIFT_WARNING = 0.1
"""Interquartile range of the canary over its median beyond which a profile is doubtful."""


def profile_table(
    pool: Sequence[Probe],
    runner: Runner,
    path: Path,
    settings: ProfileSettings,
    *,
    space: str,
    seed: int,
    resume: bool,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """Measure every kernel of a pool of networks and write the table of it.

    The journal of measurements stands beside the table, as ``<table>.journal``.

    Args:
        pool: networks of one space; probes and calibration networks are chosen from it.
        runner: the machine.
        path: the table to write.
        settings: sessions, runs, warm-up.
        space: description of the space, for the record.
        seed: order of the measurements.
        resume: go on with the journal of an interrupted profile.
        on_progress: called before each measurement.

    Raises:
        JournalExists: there is a journal of an earlier profile and ``resume`` is off.
        JournalMismatch: that profile was of another target, space or settings.
        OperatorsDiffer: the runtime ran other operators than a probe's kernels.
        CalibrationFailed: the pool is too small, or the latencies cannot be explained by their
            kernels.
        TableNotWritten: the disk is full; the journal is safe.
    """
    probes = choose_probes(pool, CONTEXTS)
    networks = calibration_networks(pool, probes)
    identity = _identity(runner.target, settings, space, seed)
    with Journal.open(path.with_name(f"{path.name}.journal"), identity, resume=resume) as journal:
        measure(probes, networks, runner, journal, settings, seed=seed, on_progress=on_progress)
        rows = list(journal.rows())
    recorded = {"space": space, "seed": seed, **asdict(settings)}
    table = build_table(rows, runner.target, recorded)
    save_table(table, path)
    return table


def calibration_networks(pool: Sequence[Probe], probes: Sequence[Probe]) -> list[Probe]:
    """Networks to measure end to end: none of the probes, unless too few others are there.

    Raises:
        CalibrationFailed: the pool is too small to calibrate on at all.
    """
    if len(pool) < MIN_NETWORKS:
        raise CalibrationFailed(
            f"the space has {len(pool)} networks, calibration needs at least {MIN_NETWORKS}; "
            "widen the space, for example by more nodes"
        )
    probed = {probe.subject for probe in probes}
    others = [probe for probe in pool if probe.subject not in probed]
    return (others if len(others) >= MIN_NETWORKS else list(pool))[-CALIBRATION_NETWORKS:]


def measure(
    probes: Sequence[Probe],
    networks: Sequence[Probe],
    runner: Runner,
    journal: Journal,
    settings: ProfileSettings,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> None:
    """Take every measurement that the journal does not hold yet.

    Args:
        probes: measured by operator; they give the table's rows.
        networks: measured end to end; they calibrate.
        runner: the machine.
        journal: where measurements go as they are taken.
        settings: sessions, runs, warm-up.
        seed: order of the measurements.
        on_progress: called before each with how many are done, of how many, and the subject.

    Raises:
        OperatorsDiffer: the runtime ran other operators than the probe's kernels.
        JournalNotWritten: the disk is full; what was measured before is safe.
    """
    known = {(row.subject, row.session): row.payload for row in journal.rows()}
    plan = Schedule(probes, networks, sessions=settings.sessions, seed=seed)
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        for task in plan:
            if on_progress:
                on_progress(plan.done, plan.total, task.probe.subject)
            payload = known.get((task.subject, task.session))
            if payload is None:
                payload = _measure(task, _built(task.probe, Path(folder)), runner, settings)
                journal.record(task.subject, task.session, payload)
            plan.settle(task, is_good=payload["disturbed"] <= DISTURBED_SHARE)
    if on_progress:
        on_progress(plan.total, plan.total, "")


def build_table(
    rows: Iterable[JournalRow], target: Target, settings: Mapping[str, str | int | float]
) -> LatencyTable:
    """The table that a journal's measurements make, calibrated.

    Args:
        rows: the journal.
        target: what they were measured on.
        settings: recorded in the table, beside the drift and the share that was disturbed.

    Raises:
        CalibrationFailed: too few networks, or their latencies cannot be explained.
    """
    kernels: dict[Kernel, list[SessionValue]] = defaultdict(list)
    networks: dict[Key, list[SessionValue]] = defaultdict(list)
    canary: list[SessionValue] = []
    for row in rows:
        payload = row.payload
        names = tuple(parse_kernel(key) for key in payload["kernels"])
        if payload["role"] == "probe":
            for kernel, ms in zip(names, payload["operators_ms"], strict=True):
                kernels[kernel].append(SessionValue(ms, payload["disturbed"]))
        elif payload["role"] == "network":
            value = SessionValue(payload["median_ms"], payload["disturbed"])
            networks[row.subject.removeprefix("network "), names].append(value)
        else:
            canary.append(SessionValue(payload["median_ms"], payload["disturbed"]))
    runs = int(settings["runs"])
    table_rows = {kernel: _kernel_latency(values, runs) for kernel, values in kernels.items()}
    points = [
        CalibrationPoint(
            subject=subject,
            kernels_ms=sum(table_rows[kernel].median_ms for kernel in names),
            kernels=len(names),
            measured_ms=median_ms(values),
        )
        for (subject, names), values in _steady_networks(networks)
    ]
    subjects = [*kernels.values(), *networks.values()]
    disturbed = float(np.mean([all(map(is_disturbed, values)) for values in subjects]))
    drift = _spread([one.ms for one in that_count(canary, lambda one: one.ms)]) if canary else 0.0
    _warn(disturbed, drift)
    return LatencyTable(
        target=target,
        rows=table_rows,
        settings={**settings, "disturbed": round(disturbed, 4), "drift": round(drift, 4)},
        calibration=calibrate(points),
    )


def measure_missing(
    table: LatencyTable,
    pool: Sequence[Probe],
    runner: Runner,
    settings: ProfileSettings,
    *,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """The table with rows for the pool's kernels that it lacks; its other rows stay as they are.

    Raises:
        TargetMismatch: the table is of another target than the runner's.
        OperatorsDiffer: the runtime ran other operators than a probe's kernels.
    """
    table.target.require_same(runner.target)
    lacking = [probe for probe in pool if any(kernel not in table for kernel in probe.kernels)]
    plan = Schedule(choose_probes(lacking, CONTEXTS), [], sessions=settings.sessions, seed=0)
    kernels: dict[Kernel, list[SessionValue]] = defaultdict(list)
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        for task in plan:
            if on_progress:
                on_progress(plan.done, plan.total, task.probe.subject)
            payload = _measure(task, _built(task.probe, Path(folder)), runner, settings)
            plan.settle(task, is_good=payload["disturbed"] <= DISTURBED_SHARE)
            for kernel, ms in zip(task.probe.kernels, payload["operators_ms"], strict=True):
                kernels[kernel].append(SessionValue(ms, payload["disturbed"]))
    added = {
        kernel: _kernel_latency(values, settings.runs)
        for kernel, values in kernels.items()
        if kernel not in table
    }
    return replace(table, rows={**table.rows, **added})


def _identity(target: Target, settings: ProfileSettings, space: str, seed: int) -> dict[str, str]:
    """What all measurements of one journal have in common."""
    return {
        **{f"target.{name}": str(value) for name, value in target.to_json().items()},
        **{f"settings.{name}": str(value) for name, value in asdict(settings).items()},
        "space": space,
        "seed": str(seed),
    }


def _built(probe: Probe, folder: Path) -> Path:
    """The probe's file; made once and used in every session."""
    path = folder / f"{probe.subject.replace('/', '_')}.tflite"
    if not path.exists():
        path.write_bytes(probe.build())
    return path


def _measure(task: Task, path: Path, runner: Runner, settings: ProfileSettings) -> dict[str, Any]:
    common = {
        "role": task.role,
        "kernels": [kernel.key for kernel in task.probe.kernels],
        "runs": settings.runs,
        **runner.conditions(),
    }
    if task.role == "probe":
        session = runner.operators(path, runs=settings.runs, warmup=settings.warmup)
        match_events([operator.name for operator in session.operators], task.probe.kernels)
        times = [midmean(operator.samples_ms) for operator in session.operators]
        return {**common, "operators_ms": times, "disturbed": session.disturbed}
    latencies = runner.latencies(path, runs=settings.runs, warmup=settings.warmup)
    return {
        **common,
        "median_ms": float(np.median(latencies.samples_ms)),
        "iqr_ms": iqr(latencies.samples_ms),
        "disturbed": latencies.disturbed,
    }


def _kernel_latency(contexts: Sequence[SessionValue], runs: int) -> KernelLatency:
    counted_ms = [one.ms for one in that_count(contexts, lambda one: one.ms)]
    return KernelLatency(
        median_ms=float(np.median(counted_ms)),
        iqr_ms=iqr(counted_ms),
        p95_ms=float(np.percentile(counted_ms, 95)),
        samples=runs * len(counted_ms),
        contexts=len(counted_ms),
    )


def _steady_networks(
    networks: Mapping[Key, list[SessionValue]],
) -> list[tuple[Key, list[SessionValue]]]:
    """Networks with an undisturbed session, if half of them have one; otherwise all.

    A network that was disturbed in every session can read half as much again as it should.
    """
    steady = [
        (key, values) for key, values in networks.items() if not all(map(is_disturbed, values))
    ]
    enough = max(MIN_NETWORKS, len(networks) // 2)
    return steady if len(steady) >= enough else list(networks.items())


def _spread(values_ms: Sequence[float]) -> float:
    """Interquartile range over median."""
    return iqr(values_ms) / float(np.median(values_ms))


def _warn(disturbed: float, drift: float) -> None:
    """Say so when the machine was too busy or unsteady for the table to be trusted."""
    if disturbed > DISTURBED_WARNING or drift > DRIFT_WARNING:
        _log.warning(
            "other load disturbed every session of %.0f%% of the kernels and networks, and the "
            "canary network varied by %.0f%%; predictions will be less sure. Profile again when "
            "the machine is quieter",
            100 * disturbed,
            100 * drift,
        )
