"""A latency table of a device that does not exist, for any space; needs no torch."""

from __future__ import annotations

import math
import statistics
from functools import cache

import numpy as np

from latency_tables.calibrate import Calibration
from latency_tables.kernel import Kernel
from latency_tables.model import LatencyModel
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from toolchain.kernels import plan
from toolchain.spaces.space import Space, space_kernels

TARGET = Target(
    device="made up",
    fingerprint="made/up",
    soc="none",
    abi="x86_64",
    runtime="litert",
    runtime_version="2.3.0",
    runtime_sha256="00" * 32,
)
CALIBRATION = Calibration(
    overhead_ms=0.01,
    scale=1.0,
    per_kernel_ms=0.0005,
    p95_ratio=1.1,
    median_error=0.01,
    worst_error=0.05,
    networks=40,
)


@cache
def table_of(space: Space) -> LatencyTable:
    """A table with a row for every kernel of the space: the more work, the longer."""
    return LatencyTable(
        target=TARGET,
        rows={kernel: _row(kernel) for kernel in space_kernels(space)},
        calibration=CALIBRATION,
    )


def model_of(space: Space) -> LatencyModel:
    return LatencyModel(table_of(space))


@cache
def middle_ms(space: Space) -> float:
    """A limit that half of the random networks keep."""
    model, rng = model_of(space), np.random.default_rng(1)
    graphs = [space.decode(space.sample(rng)) for _ in range(101)]
    return statistics.median(model.predict(plan(graph).kernels).p95_ms for graph in graphs)


def _row(kernel: Kernel) -> KernelLatency:
    work = math.prod(kernel.output) * (kernel.inputs[0][-1] if kernel.kind == "conv2d" else 9)
    ms = 0.001 + 2e-7 * work
    return KernelLatency(median_ms=ms, iqr_ms=ms / 50, p95_ms=1.1 * ms, samples=90, contexts=9)
