"""Take the measurements of a schedule into a journal.

The journal holds every measurement as it was taken, so that what was interrupted goes on where
it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from profilers.journal import Journal
from profilers.probes import Probe
from profilers.runner import DISTURBED_SHARE, Runner
from profilers.schedule import Schedule, Task, has_drifted
from profilers.settings import ProfileSettings
from profilers.statistics import iqr, midmean
from profilers.xnnpack import match_events

Progress = Callable[[int, int, str], None]
"""Told how many measurements are done, of how many, and what comes next."""

Payload = Mapping[str, Any]
"""What the journal holds of one measurement."""


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

    def take(task: Task, batch: int) -> Payload:
        if on_progress:
            on_progress(plan.done, plan.total, task.probe.subject)
        payload = known.get((task.subject, task.session))
        if payload is None:
            payload = {
                **_measure(task, _built(task.probe, folder), runner, settings),
                "batch": batch,
            }
            journal.record(task.subject, task.session, payload)
            known[task.subject, task.session] = payload
        return payload

    with TemporaryDirectory(prefix="pocketnas-") as name:
        folder = Path(name)
        for batch in plan:
            tasks = [task for task in (batch.before, *batch.tasks, batch.after) if task]
            new = [task for task in tasks if (task.subject, task.session) not in known]
            runner.prepare([_built(task.probe, folder) for task in new])
            taken = {task: take(task, batch.number) for task in tasks}
            canaries = [taken[task] for task in (batch.before, batch.after) if task]
            is_steady = not (canaries and drifted(*canaries))
            for task in batch.tasks:
                is_good = is_steady and taken[task]["disturbed"] <= DISTURBED_SHARE
                plan.settle(task, _total_ms(taken[task]), is_good=is_good)
    if on_progress:
        on_progress(plan.total, plan.total, "")


def drifted(before: Payload, after: Payload) -> bool:
    """Whether two canaries, both undisturbed, differ too much."""
    steady = all(canary["disturbed"] <= DISTURBED_SHARE for canary in (before, after))
    return steady and has_drifted(before["median_ms"], after["median_ms"])


def _built(probe: Probe, folder: Path) -> Path:
    """The probe's file; made once and used in every session.

    Genotypes can be longer than file names and can hold slashes.
    """
    path = folder / f"{hashlib.sha256(probe.subject.encode()).hexdigest()}.tflite"
    if not path.exists():
        path.write_bytes(probe.build())
    return path


def _measure(task: Task, path: Path, runner: Runner, settings: ProfileSettings) -> Payload:
    common = {
        "role": task.role,
        "kernels": [kernel.key for kernel in task.probe.kernels],
        "runs": settings.runs,
    }
    if task.role == "probe":
        session = runner.operators(path, runs=settings.runs, warmup=settings.warmup)
        match_events([operator.name for operator in session.operators], task.probe.kernels)
        times = [midmean(operator.samples_ms) for operator in session.operators]
        common |= {"operators_ms": times, "disturbed": session.disturbed}
        return {**common, **runner.conditions()}
    latencies = runner.latencies(path, runs=settings.runs, warmup=settings.warmup)
    return {
        **common,
        "median_ms": float(np.median(latencies.samples_ms)),
        "iqr_ms": iqr(latencies.samples_ms),
        "disturbed": latencies.disturbed,
        **runner.conditions(),
    }


def _total_ms(payload: Payload) -> float:
    """A network's latency, or the sum of its operators' times."""
    return float(payload["median_ms"] if "median_ms" in payload else sum(payload["operators_ms"]))
