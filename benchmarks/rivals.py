"""Other ways to predict a latency, fitted on the same device in the same run.

Adding up operators that were measured alone (ProxylessNAS, arXiv 1812.00332, and most latency
tables); adding up blocks that were measured alone (once-for-all, arXiv 1908.09791); taking latency
as linear in multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from latency_tables.kernel import Kernel
from latency_tables.table import LatencyTable
from profilers.runner import Runner
from profilers.statistics import midmean
from toolchain.census import PARTS, Census
from toolchain.count import count
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import Plan, Port, Result, Step
from toolchain.spaces.space import Space

SESSIONS, RUNS, WARMUP = 3, 20, 3

Predict = Callable[[str], float]
"""Milliseconds of a genotype's network."""


def sum_of_operators(space: Space, table: LatencyTable, runner: Runner, folder: Path) -> Predict:
    """Every kernel measured alone in a model of its own, by its operator's time, then added up."""
    alone_ms: dict[Kernel, float] = {}
    path = folder / "operator.tflite"
    for kernel in table:
        path.write_bytes(_model_of((kernel,)))
        sessions = [runner.operators(path, runs=RUNS, warmup=WARMUP) for _ in range(SESSIONS)]
        alone_ms[kernel] = float(
            np.median([sum(map(midmean, (o.samples_ms for o in s.operators))) for s in sessions])
        )
    return lambda genotype: sum(alone_ms[kernel] for kernel in space.kernels(genotype))


def sum_of_blocks(
    space: Space, genotypes: Iterable[str], runner: Runner, folder: Path
) -> Predict | None:
    """The parts of networks measured end to end, each in a model of its own, then added up.

    None for a space whose networks are not put together of parts.
    """
    if space.name not in PARTS:
        return None
    census = Census(space)
    population = census.take(list(genotypes))
    path = folder / "block.tflite"
    part_ms: dict[int, float] = {}
    for number, kernels in enumerate(population.parts):
        path.write_bytes(_model_of(kernels))
        sessions = [runner.latencies(path, runs=RUNS, warmup=WARMUP) for _ in range(SESSIONS)]
        part_ms[number] = float(np.median([np.median(one.samples_ms) for one in sessions]))

    def predict(genotype: str) -> float:
        return sum(part_ms[int(number)] for number in census.take([genotype]).numbers)

    return predict


def proportional_to_macs(space: Space, measured_ms: Mapping[str, float]) -> Predict:
    """A line through MACs and latencies of measured networks, by relative least squares."""
    macs = {genotype: _macs(space, genotype) for genotype in measured_ms}
    truth = np.array(list(measured_ms.values()))
    terms = np.array([[1.0, macs[genotype]] for genotype in measured_ms]) / truth[:, None]
    (offset, slope), *_ = np.linalg.lstsq(terms, np.ones(len(truth)), rcond=None)
    return lambda genotype: float(offset + slope * _macs(space, genotype))


def _macs(space: Space, genotype: str) -> float:
    return count(space.decode(genotype)).macs / 1e6  # type: ignore[attr-defined]


def _model_of(kernels: Sequence[Kernel]) -> bytes:
    """A model that runs these kernels, each on inputs of its own."""
    ports: list[Port] = []
    reads: list[tuple[int, ...]] = []
    for kernel in kernels:
        reads.append(tuple(range(len(ports), len(ports) + len(kernel.inputs))))
        ports += [Port(f"x{len(ports) + i}", shape) for i, shape in enumerate(kernel.inputs)]
    steps = tuple(Step(kernel, read) for kernel, read in zip(kernels, reads, strict=True))
    results = [Result(f"y{i}", len(ports) + i) for i in range(len(steps))]
    plan = Plan(tuple(ports), steps, tuple(results))
    return write_tflite(plan, random_weights(plan, 3))
