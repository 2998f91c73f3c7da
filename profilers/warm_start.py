"""Profile a device in a few minutes, starting from another device's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from latency_tables.carry_over import carry_over
from latency_tables.posterior import learn
from latency_tables.store import save_table
from latency_tables.table import LatencyTable
from profilers.file_kernels import as_their_files
from profilers.journal import Journal
from profilers.journal_table import kernel_rows, measured_networks
from profilers.measure import Progress, measure
from profilers.probes import Probe, choose_probes
from profilers.profile import calibration_networks, identity_of
from profilers.runner import Runner
from profilers.settings import ProfileSettings

PROBES = 4
"""Networks measured by operator: those that run most kernels of the space for their length."""

SETTINGS = ProfileSettings(contexts=1, networks=25)
"""Of a warm start: a quarter of a profile's networks."""


def warm_start(
    other: LatencyTable,
    pool: Sequence[Probe],
    runner: Runner,
    path: Path,
    settings: ProfileSettings = SETTINGS,
    *,
    probes: int = PROBES,
    space: str,
    seed: int,
    resume: bool,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """Measure some kernels and networks, carry the rest over, and write the table.

    The journal of measurements stands beside the table, as ``<table>.journal``.

    Args:
        other: table of another device for the same space and precision.
        pool: networks of the space.
        runner: the new device.
        path: the table to write.
        settings: sessions, runs, warm-up, networks.
        probes: networks to measure by operator.
        space: description of the space, for the record.
        seed: order of the measurements.
        resume: go on with the journal of an interrupted warm start.
        on_progress: called before each measurement.

    Raises:
        NothingShared: too few of the kernels measured are in the other table.
        KernelMissing: a network measured has a kernel that is neither measured nor in the other
            table.
        CalibrationFailed: the latencies cannot be explained by the rows.
        JournalExists, JournalMismatch, OperatorsDiffer, TableNotWritten: see ``profile_table``.
    """
    chosen = choose_probes(pool, settings.contexts)
    networks = calibration_networks(pool, chosen, settings.networks)
    measured = as_their_files(chosen[:probes], runner.target)
    identity = {
        **identity_of(runner.target, settings, space, seed), "carried_from": str(other.target),
    }  # fmt: skip
    with Journal.open(path.with_name(f"{path.name}.journal"), identity, resume=resume) as journal:
        measure(measured, networks, runner, journal, settings, seed=seed, on_progress=on_progress)
        rows = list(journal.rows())
    carried = carry_over(other, kernel_rows(rows, settings.runs), runner.target)
    recorded = {
        "space": space, "seed": seed, **asdict(settings), "carried_from": str(other.target),
    }  # fmt: skip
    known = measured_networks(rows)
    carried.require(kernel for network in known for kernel in network.kernels)
    table = learn(replace(carried, settings=recorded), known)
    save_table(table, path)
    return table
