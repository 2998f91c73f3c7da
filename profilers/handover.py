"""What it costs to change from XNNPACK to TFLite and back: a row of the table.

It has no event of its own. Of a network end to end, what its operators' times do not account for
is what a run costs besides them; a twin of as many kernels in a single partition costs all of that
but the changes. So of each pair the difference of these remainders is divided by the number of
further partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np

from latency_tables.predict import HANDOVER
from latency_tables.table import KernelLatency, LatencyTable
from profilers.measure import Progress
from profilers.runner import Runner
from profilers.settings import ProfileSettings
from profilers.statistics import iqr, midmean


class SplitNetwork(Protocol):
    """A network to measure."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def partitions(self) -> int:
        """How many partitions XNNPACK runs."""

    @property
    def build(self) -> Callable[[], bytes]:
        """Makes the content of its file."""


class _Twin(NamedTuple):
    path: Path
    partitions: int


def measure_handover(
    table: LatencyTable,
    pairs: Sequence[tuple[SplitNetwork, SplitNetwork]],
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


def _written(network: SplitNetwork, folder: Path) -> _Twin:
    path = folder / f"{network.name}.tflite"
    path.write_bytes(network.build())
    return _Twin(path, network.partitions)


def _remainder_ms(path: Path, runner: Runner, settings: ProfileSettings) -> float:
    """What a run costs besides its operators."""
    whole = runner.latencies(path, runs=settings.runs, warmup=settings.warmup)
    parts = runner.operators(path, runs=settings.runs, warmup=settings.warmup)
    operators_ms = sum(midmean(one.samples_ms) for one in parts.operators)
    return float(np.median(whole.samples_ms)) - operators_ms
