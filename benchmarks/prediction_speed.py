"""From genotype to predicted latency: how many networks a second on one core.

    python benchmarks/prediction_speed.py -o results.json

Decoding, kernels and look-up together, thread CPU time, every network once, so that nothing but
layers and kernels (as in a search) is met again. The table's values do not matter for speed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from machine import report, spread

from latency_tables.calibrate import Calibration
from latency_tables.model import LatencyModel
from latency_tables.table import KernelLatency, LatencyTable
from profilers.host import HostRunner
from toolchain.kernels import plan
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import space_kernels


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    space = ShrinkCnnSpace()
    row = KernelLatency(median_ms=0.01, iqr_ms=0.0, p95_ms=0.01, samples=1, contexts=1)
    fit = Calibration(
        overhead_ms=0, scale=1, per_kernel_ms=0, p95_ratio=1.05, median_error=0, worst_error=0,
        networks=8,
    )  # fmt: skip
    table = LatencyTable(
        target=HostRunner().target,
        rows={kernel: row for kernel in space_kernels(space)},
        calibration=fit,
    )
    model = LatencyModel(table)
    rates, kernels = [], 0
    for repeat in range(options.repeats):
        rng = np.random.default_rng(repeat)
        genotypes = [space.sample(rng) for _ in range(options.networks)]
        start = time.thread_time()
        kernels = 0
        for genotype in genotypes:
            planned = plan(space.decode(genotype)).kernels
            model.predict(planned)
            kernels += len(planned)
        rates.append(options.networks / (time.thread_time() - start))
    figures = {
        "seeds": list(range(options.repeats)),
        "networks": options.networks,
        "kernels_per_network": kernels / options.networks,
        "predictions_per_cpu_second": spread(rates),
        "torch_imported": "torch" in sys.modules,
    }
    report("prediction speed", figures, options.output)


if __name__ == "__main__":
    main()
