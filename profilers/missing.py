"""Measure what a table lacks of a file's kernels, in pieces of the file.

The file as a whole is never timed for it: a prediction stays a prediction.
"""

from __future__ import annotations

from latency_tables.table import LatencyTable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import Network
from latency_tables.tflite.pieces import pieces
from profilers.measure import Progress
from profilers.probes import Probe
from profilers.profile import measure_missing
from profilers.runner import Runner
from profilers.settings import ProfileSettings


def measure_file(
    file: str,
    network: Network,
    table: LatencyTable,
    runner: Runner,
    settings: ProfileSettings,
    *,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """The table with rows for the kernels of a file that it lacks; its others stay as they are.

    What LiteRT cannot run, a custom operator, still has none then; nor has a further partition,
    which `overheads.measure_handover` measures.

    Args:
        file: name of the file, for progress.
        network: the file, as it was read.
        table: of the runner's target.
        runner: the machine.
        settings: sessions, runs, warm-up.
        on_progress: called before each measurement.

    Raises:
        TargetMismatch: the table is of another target than the runner's.
        OperatorsDiffer: the runtime ran other operators than those that were worked out.
        ModelRejected: the runtime does not take a piece of the file.
    """
    table.target.require_same(runner.target)
    whole = decompose(network)
    lacking = {kernel for kernel in whole.kernels if kernel not in table}
    if not lacking:
        return table
    pool = [
        Probe(subject=f"{file}, {piece.name}", kernels=piece.kernels, build=piece.build)
        for piece in pieces(network, whole)
        if lacking.intersection(piece.kernels)
    ]
    return measure_missing(table, pool, runner, settings, on_progress=on_progress)
