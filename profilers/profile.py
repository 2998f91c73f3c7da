"""Profile a search space: choose probes, measure them, make the table.

A profile that was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from latency_tables.calibrate import MIN_NETWORKS
from latency_tables.errors import CalibrationFailed
from latency_tables.store import save_table
from latency_tables.table import LatencyTable
from latency_tables.target import Target
from profilers.file_kernels import as_their_files
from profilers.journal import Journal
from profilers.journal_table import build_table, kernel_rows
from profilers.measure import Progress, measure
from profilers.probes import Probe, choose_probes
from profilers.runner import Runner
from profilers.settings import ProfileSettings


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
    probes = choose_probes(pool, settings.contexts)
    networks = calibration_networks(pool, probes, settings.networks)
    probes = as_their_files(probes, runner.target)
    identity = identity_of(runner.target, settings, space, seed)
    with Journal.open(path.with_name(f"{path.name}.journal"), identity, resume=resume) as journal:
        measure(probes, networks, runner, journal, settings, seed=seed, on_progress=on_progress)
        rows = list(journal.rows())
    recorded = {"space": space, "seed": seed, **asdict(settings)}
    table = build_table(rows, runner.target, recorded)
    save_table(table, path)
    return table


def calibration_networks(
    pool: Sequence[Probe], probes: Sequence[Probe], count: int
) -> list[Probe]:
    """Networks to measure end to end: none of the probes, unless too few others are there.

    Args:
        pool: networks to choose from.
        probes: of these, those measured by operator.
        count: how many at most, and at least those that a calibration needs.

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
    return (others if len(others) >= MIN_NETWORKS else list(pool))[-max(count, MIN_NETWORKS) :]


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
    probes = as_their_files(choose_probes(lacking, settings.contexts), runner.target)
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        path = Path(folder) / "missing.journal"
        with Journal.open(path, {}, resume=False) as journal:
            measure(probes, [], runner, journal, settings, seed=0, on_progress=on_progress)
            rows = list(journal.rows())
    measured = kernel_rows(rows, settings.runs)
    added = {kernel: row for kernel, row in measured.items() if kernel not in table}
    return replace(table, rows={**table.rows, **added})


def identity_of(
    target: Target, settings: ProfileSettings, space: str, seed: int
) -> dict[str, str]:
    """What all measurements of one journal have in common."""
    return {
        **{f"target.{name}": str(value) for name, value in target.to_json().items()},
        **{f"settings.{name}": str(value) for name, value in asdict(settings).items()},
        "space": space,
        "seed": str(seed),
    }
