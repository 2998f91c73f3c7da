"""Measure a random sample of a table's kernels again, and the canary, on the device itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from latency_tables.kernel import Kernel, parse_kernel
from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from profilers.drift import ALL_KERNELS, MIN_NETWORKS, TOLERANCE, DriftReport, judge
from profilers.errors import NothingToVerify
from profilers.file_kernels import as_their_files
from profilers.journal import Journal, JournalRow
from profilers.journal_table import disturbance, drifted_batches
from profilers.measure import Progress, measure
from profilers.probes import Probe
from profilers.runner import DISTURBED_SHARE, Runner
from profilers.settings import ProfileSettings

NETWORKS = 16
"""Networks that are measured again."""

FAMILY_LEAST_MS = 0.02
"""A family's share of a network is compared where the table has it longer than so: the runtime's
clock ticks in microseconds."""


class _Sums(NamedTuple):
    """Of some kernels of one network: measured, and by the table's rows."""

    measured_ms: float
    table_ms: float


def verify(
    table: LatencyTable,
    pool: Sequence[Probe],
    runner: Runner,
    settings: ProfileSettings,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> DriftReport:
    """Measure a random sample again and hold it against the table.

    Args:
        table: the table.
        pool: networks of the space that it is of.
        runner: its device.
        settings: sessions, runs, warm-up.
        seed: decides the sample and the order.
        on_progress: called before each measurement.

    Raises:
        TargetMismatch: the device is not the table's target.
        NothingToVerify: too few networks of the pool have all their kernels in the table.
        OperatorsDiffer: the runtime ran other operators than a network's kernels.
    """
    table.target.require_same(runner.target)
    rng = np.random.default_rng(seed)
    canary, *chosen = choose_sample(table, pool, rng)
    sample = [
        probe
        for probe in as_their_files(chosen, table.target)
        if all(kernel in table for kernel in probe.kernels)
    ]
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        path = Path(folder) / "verify.journal"
        with Journal.open(path, {}, resume=False) as journal:
            measure(
                sample, [canary], runner, journal, settings, seed=seed, on_progress=on_progress
            )
            rows = list(journal.rows())
    return compare(table, rows)


def choose_sample(
    table: LatencyTable, pool: Sequence[Probe], rng: np.random.Generator
) -> list[Probe]:
    """The canary, and networks that random kernels of the table occur in.

    Every kernel is equally likely to be drawn, whether long or short, common or rare; of the
    networks that run it, every one that is left.

    Raises:
        NothingToVerify: too few networks of the pool have all their kernels in the table.
    """
    left = [probe for probe in pool if all(kernel in table for kernel in probe.kernels)]
    if len(left) <= MIN_NETWORKS:
        raise NothingToVerify(
            f"the table has {len(table)} kernels, but of the {len(pool)} networks of its space "
            f"only {len(left)} run nothing else, and {MIN_NETWORKS + 1} are needed; profile the "
            "space again"
        )
    canary = left.pop(rng.integers(len(left)))
    chosen = [canary]
    kernels = sorted({kernel for probe in left for kernel in probe.kernels}, key=str)
    for index in np.tile(rng.permutation(len(kernels)), NETWORKS):
        having = [place for place, probe in enumerate(left) if kernels[index] in probe.kernels]
        if having and len(chosen) <= NETWORKS:
            chosen.append(left.pop(having[rng.integers(len(having))]))
    return chosen


def compare(table: LatencyTable, rows: Sequence[JournalRow]) -> DriftReport:
    """What the measurements of a journal say about a table."""
    drifting = drifted_batches(rows)
    probes = [row for row in rows if row.payload["role"] == "probe"]
    steady = [row for row in probes if disturbance(row, drifting) <= DISTURBED_SHARE]
    by_subject: dict[str, list[JournalRow]] = defaultdict(list)
    for row in steady:
        by_subject[row.subject].append(row)
    kernels = {key for row in steady for key in row.payload["kernels"]}
    subjects = {row.subject for row in probes}
    return DriftReport(
        checks=judge(
            _ratios(table, by_subject.values()),
            _canary_ratios(table, rows),
            canary_tolerance=_canary_tolerance(table),
        ),
        networks=len(by_subject),
        kernels=len(kernels),
        disturbed=1 - len(by_subject) / len(subjects),
    )


def _ratios(
    table: LatencyTable, networks: Iterable[Sequence[JournalRow]]
) -> dict[str, list[float]]:
    """Measured over the table's sum, for each network: of all kernels, and of each family."""
    ratios: dict[str, list[float]] = {ALL_KERNELS: []}
    for sessions in networks:
        kernels = [parse_kernel(key) for key in sessions[0].payload["kernels"]]
        each_ms = np.median([row.payload["operators_ms"] for row in sessions], axis=0)
        sums = {ALL_KERNELS: _sums(table, kernels, each_ms)}
        for kind in sorted({kernel.kind for kernel in kernels}):
            of_kind = [index for index, kernel in enumerate(kernels) if kernel.kind == kind]
            family = _sums(table, [kernels[index] for index in of_kind], each_ms[of_kind])
            if family.table_ms >= FAMILY_LEAST_MS:
                sums[kind] = family
        for name, (measured_ms, table_ms) in sums.items():
            if measured_ms > 0:  # the clock of a virtual machine may skip
                ratios.setdefault(name, []).append(measured_ms / table_ms)
    return ratios


def _sums(
    table: LatencyTable, kernels: Sequence[Kernel], each_ms: Sequence[float] | np.ndarray
) -> _Sums:
    return _Sums(float(sum(each_ms)), sum(table[kernel].median_ms for kernel in kernels))


def _canary_ratios(table: LatencyTable, rows: Sequence[JournalRow]) -> list[float]:
    """Measured over predicted, for each undisturbed session; none without a calibration."""
    sessions = [
        row.payload
        for row in rows
        if row.payload["role"] in ("canary", "network")
        and row.payload["disturbed"] <= DISTURBED_SHARE
    ]
    if table.calibration is None or not sessions:
        return []
    kernels = [parse_kernel(key) for key in sessions[0]["kernels"]]
    predicted_ms = LatencyModel(table).predict(kernels).p50_ms
    return [session["median_ms"] / predicted_ms for session in sessions]


def _canary_tolerance(table: LatencyTable) -> float:
    """One network's prediction may be off by the worst error that the calibration showed."""
    worst = table.calibration.worst_error if table.calibration else 0.0
    return (1 + TOLERANCE) * (1 + worst) - 1
