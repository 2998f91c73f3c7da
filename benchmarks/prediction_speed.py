"""From genotype to predicted latency: how many networks a second on one core.

    python benchmarks/prediction_speed.py -o results.json

Thread CPU time from the text of a genotype to p50 and p95; drawing genotypes is not timed. Every
network is met once; what is kept between networks is said in each line:

one by one    decode, kernels and look-up of each (``LatencyModel.predict``); layers, shapes and
              kernels that other networks had are known
cold          ``predict_many`` of a census made for it: its set-up, and every word of a genotype
              when it is first met, are in the time
warm          the same census then reads other networks, as in a search
mutants       the warm census reads mutants of what it knows, as evolution does

The table's values do not matter for speed. Predictions are compared with each other: the largest
relative difference is in the result.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import report, spread

from latency_tables.budget import Latency
from latency_tables.calibrate import Calibration
from latency_tables.model import LatencyModel
from latency_tables.population import Latencies
from latency_tables.table import KernelLatency, LatencyTable
from profilers.host import HostRunner
from toolchain.census import Census
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space, space_kernels
from toolchain.spaces.swiftnet import SwiftNetSpace

SPACES: dict[str, Space] = {
    "swiftnet": SwiftNetSpace(),
    "scalenet": ScaleNetSpace(),
    "scalenet, 4 branches": ScaleNetSpace(modules=(1, 4, 3), min_depth=2, max_depth=5),
    "shrinkcnn": ShrinkCnnSpace(),
}


def main() -> None:
    """Time each space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=20_000, help="read at once")
    parser.add_argument("--one-by-one", type=int, default=1000, help="of these alone")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    figures = {
        "seeds": list(range(options.repeats)),
        "networks": options.networks,
        "spaces": {name: _space(space, options) for name, space in SPACES.items()},
        "torch_imported": "torch" in sys.modules,
    }
    report("prediction speed", figures, options.output)


def _space(space: Space, options: argparse.Namespace) -> dict[str, Any]:
    model = _model(space)
    rates: dict[str, list[float]] = {"one by one": [], "cold": [], "warm": [], "mutants": []}
    sampling, worst = [], 0.0
    count = options.networks if space.name in ("swiftnet", "scalenet") else options.one_by_one

    def timed(kind: str, act: Callable[[], Any], networks: int) -> Any:
        start = time.thread_time()
        result = act()
        rates[kind].append(networks / (time.thread_time() - start))
        return result

    for repeat in range(options.repeats):
        rng = np.random.default_rng(repeat)
        start = time.thread_time()
        drawn = [space.sample(rng) for _ in range(2 * count)]
        sampling.append(len(drawn) / (time.thread_time() - start))
        first, other = drawn[:count], drawn[count:]
        mutants = [space.mutate(genotype, rng) for genotype in other]
        few = first[: options.one_by_one]
        each = timed("one by one", partial(_one_by_one, space, model, few), len(few))
        census, many = timed("cold", partial(_cold, space, model, first), count)
        timed("warm", partial(_warm, census, model, other), count)
        timed("mutants", partial(_warm, census, model, mutants), count)
        alone = np.array([one.p95_ms for one in each])
        worst = max(worst, float(np.abs(many.p95_ms[: len(few)] / alone - 1).max()))
    return {
        "kernels_per_network": float(np.mean([len(space.kernels(g)) for g in few])),
        "read_at_once": count,
        "networks_per_cpu_second": {kind: spread(values) for kind, values in rates.items()},
        "drawn_per_cpu_second": spread(sampling),
        "largest_relative_difference": worst,
    }


def _one_by_one(space: Space, model: LatencyModel, genotypes: list[str]) -> list[Latency]:
    return [model.predict(space.kernels(genotype)) for genotype in genotypes]


def _warm(census: Census, model: LatencyModel, genotypes: list[str]) -> Latencies:
    return model.predict_many(census.take(genotypes))


def _cold(space: Space, model: LatencyModel, genotypes: list[str]) -> tuple[Census, Any]:
    census = Census(space)
    return census, model.predict_many(census.take(genotypes))


def _model(space: Space) -> LatencyModel:
    rng = np.random.default_rng(0)
    rows = {
        kernel: KernelLatency(
            median_ms=float(rng.uniform(0.001, 0.1)), iqr_ms=0.0, p95_ms=0.1, samples=1, contexts=1
        )
        for kernel in sorted(space_kernels(space), key=str)
    }
    fit = Calibration(
        overhead_ms=0.01, scale=1, per_kernel_ms=0, p95_ratio=1.05, median_error=0, worst_error=0,
        networks=8,
    )  # fmt: skip
    return LatencyModel(LatencyTable(target=HostRunner().target, rows=rows, calibration=fit))


if __name__ == "__main__":
    main()
