"""What a run costs besides its kernels: of changing to XNNPACK once more, and of a run at all.

*A further partition* is a row of the table. It has no event of its own: of a network end to end,
what its operators' times do not account for is what a run costs besides them; a twin of as many
kernels in a single partition costs all of that but the changes. So of each pair the difference of
these remainders is divided by the number of further partitions.

*A run* is told by short networks, which become evidence of the table. The networks of a space may
all be a hundred times as long, and then say nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np

from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel
from latency_tables.predict import HANDOVER
from latency_tables.table import KernelLatency, LatencyTable
from profilers.measure import Progress
from profilers.probes import Probe
from profilers.profile import measure_missing
from profilers.runner import Runner
from profilers.sessions import SessionValue, median_ms
from profilers.settings import ProfileSettings
from profilers.statistics import iqr, midmean


class OverheadNetwork(Protocol):
    """A network to measure."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def partitions(self) -> int:
        """How many partitions XNNPACK runs."""

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """What it runs, in execution order."""

    @property
    def build(self) -> Callable[[], bytes]:
        """Makes the content of its file."""


class _Twin(NamedTuple):
    path: Path
    partitions: int


def measure_handover(
    table: LatencyTable,
    pairs: Sequence[tuple[OverheadNetwork, OverheadNetwork]],
    runner: Runner,
    settings: ProfileSettings,
    *,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """The table with the row `HANDOVER`; as it is where it has one.

    Args:
        table: of the runner's target.
        pairs: networks in several partitions, each with its twin in one.
        runner: the machine.
        settings: sessions, runs, warm-up.
        on_progress: called before each pair.

    Raises:
        TargetMismatch: the table is of another target than the runner's.
    """
    if HANDOVER in table:
        return table
    table.target.require_same(runner.target)
    total = settings.sessions * len(pairs)
    each_ms: list[float] = []
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        twins = [tuple(_written(one, Path(folder)) for one in pair) for pair in pairs]
        runner.prepare([twin.path for pair in twins for twin in pair])
        for _ in range(settings.sessions):
            for split, whole in twins:
                if on_progress:
                    on_progress(len(each_ms), total, split.path.stem)
                more = _remainder_ms(split.path, runner, settings) - _remainder_ms(
                    whole.path, runner, settings
                )
                each_ms.append(more / (split.partitions - whole.partitions))
    if on_progress:
        on_progress(total, total, "")
    row = KernelLatency(
        median_ms=max(0.0, float(np.median(each_ms))),
        iqr_ms=iqr(each_ms),
        p95_ms=max(0.0, float(np.percentile(each_ms, 95))),
        samples=settings.runs * len(each_ms),
        contexts=len(each_ms),
    )
    return replace(table, rows={**table.rows, HANDOVER: row})


def learn_run_cost(
    table: LatencyTable,
    networks: Sequence[OverheadNetwork],
    runner: Runner,
    settings: ProfileSettings,
    *,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """The table with short networks among its evidence.

    As it is where it has them, or keeps no evidence. How large it takes errors to be stays as its
    own networks told.

    Args:
        table: of the runner's target.
        networks: short ones, in one partition each.
        runner: the machine.
        settings: sessions, runs, warm-up.
        on_progress: called before each measurement.

    Raises:
        TargetMismatch: the table is of another target than the runner's.
    """
    evidence = table.evidence
    if evidence is None:
        return table
    known = {one.subject for one in evidence.networks}
    new = [one for one in networks if one.name not in known]
    if not new:
        return table
    probes = [Probe(subject=one.name, kernels=one.kernels, build=one.build) for one in new]
    table = measure_missing(table, probes, runner, settings, on_progress=on_progress)
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        paths = [_written(one, Path(folder)).path for one in new]
        runner.prepare(paths)
        sessions = [
            [_end_to_end(path, runner, settings) for path in paths]
            for _ in range(settings.sessions)
        ]
    measured = tuple(
        MeasuredNetwork(subject=one.name, kernels=one.kernels, measured_ms=median_ms(values))
        for one, values in zip(new, zip(*sessions, strict=True), strict=True)
    )
    return replace(table, evidence=replace(evidence, networks=(*evidence.networks, *measured)))


def _written(network: OverheadNetwork, folder: Path) -> _Twin:
    path = folder / f"{network.name}.tflite"
    path.write_bytes(network.build())
    return _Twin(path, network.partitions)


def _end_to_end(path: Path, runner: Runner, settings: ProfileSettings) -> SessionValue:
    session = runner.latencies(path, runs=settings.runs, warmup=settings.warmup)
    return SessionValue(float(np.median(session.samples_ms)), session.disturbed)


def _remainder_ms(path: Path, runner: Runner, settings: ProfileSettings) -> float:
    """What a run costs besides its operators."""
    whole = _end_to_end(path, runner, settings)
    parts = runner.operators(path, runs=settings.runs, warmup=settings.warmup)
    return whole.ms - sum(midmean(one.samples_ms) for one in parts.operators)
