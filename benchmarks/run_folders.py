"""What benchmarks that search and train share: tables, searches, trainings, measurements.

Everything is kept in run folders: a benchmark can be stopped and started again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from latency_tables.table import LatencyTable
from profilers.benchmark import benchmark, benchmark_settings
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.settings import ProfileSettings
from toolchain import pipeline
from toolchain.config import RunConfig, config_from_json
from toolchain.executors import ProcessExecutor
from toolchain.export.artifact import kernels_of
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import Plan
from toolchain.kinds.classification import Classification
from toolchain.probe_networks import probe_networks
from toolchain.run_dir import RunDirectory
from toolchain.spaces.space import Space
from toolchain.tasks.classification import ClassificationData, ImageSet


def host_table(space: Space, path: Path) -> LatencyTable:
    """This machine's table of a space, profiled unless the file is there."""
    if path.exists():
        return load_table(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = [
        Probe(subject=one.genotype, kernels=one.kernels, build=one.build)
        for one in probe_networks(space, 1)
    ]
    return profile_table(
        pool, HostRunner(), path, ProfileSettings(), space=space.name, seed=1, resume=True
    )


def search(
    path: Path, config: RunConfig, table: LatencyTable, data: ClassificationData, workers: int
) -> dict[str, Any]:
    """Search, or go on searching; the content of ``search.json``."""
    appraiser = pipeline.make_appraiser(config, table)
    run = pipeline.open_run(path, config, table, resume=True)
    with run.locked():
        return pipeline.search(run, config, appraiser, Classification(data), workers=workers)


def fewer(data: ClassificationData, per_class: int) -> ImageSet:
    """The first training images of each class."""
    labels = data.train.labels
    first = [(labels == label).nonzero()[:per_class, 0] for label in range(len(data.classes))]
    return data.train.select(torch.cat(first))


def given(path: Path, config: RunConfig, table: LatencyTable | None, genotype: str) -> None:
    """A run folder whose answer is a given network."""
    appraiser = pipeline.make_appraiser(config, table)
    run = pipeline.open_run(path, config, table, resume=True)
    pipeline.choose(run, appraiser.appraise(genotype))


def train_all(paths: Sequence[Path], data: ClassificationData, workers: int) -> None:
    """Train the answers of several runs in full, in parallel, and export them."""
    waiting = [path for path in paths if not RunDirectory(path).has("network.tflite")]
    with ProcessExecutor(workers, partial(_prepare, data)) as executor:
        for index, accuracy in executor.map(_train, waiting):
            print(f"{waiting[index]}: test accuracy {accuracy:.2%}", flush=True)


_data: ClassificationData | None = None


def _prepare(data: ClassificationData) -> None:
    global _data
    torch.set_num_threads(1)
    _data = data


def _train(path: Path) -> float:
    assert _data is not None
    run = RunDirectory.open(path)
    config = config_from_json(run.config)
    genotype, task = pipeline.found(run)["best"]["genotype"], Classification(_data)
    with run.locked():
        for _ in pipeline.train_network(run, config, genotype, task):
            pass
        pipeline.export(run, config, task)
    return float(run.read_json(pipeline.TEST)["accuracy"])


def measure(path: Path, table: LatencyTable | None, budget: Budget | None) -> dict[str, Any]:
    """Predicted and measured latency, test accuracy and size of a trained run's answer."""
    run = RunDirectory.open(path)
    if not run.has(pipeline.BENCHMARK):
        network = path / "network.tflite"
        report = benchmark(
            network,
            HostRunner(),
            settings=benchmark_settings(),
            kernels=kernels_of(network),
            model=LatencyModel(table) if table else None,
            budget=budget,
        )
        run.write_json(pipeline.BENCHMARK, report.to_json())
    found, measured = pipeline.found(run), run.read_json(pipeline.BENCHMARK)
    best = found["best"]
    return {
        "genotype": best["genotype"],
        "evaluations": found["evaluations"],
        "search_cpu_s": found["cpu_s"],
        "proxy_accuracy": best["metric"],
        "test_accuracy": run.read_json(pipeline.TEST)["accuracy"],
        "params": best["params"],
        "macs": best["macs"],
        "predicted_ms": best["p50_ms"],
        "measured_ms": measured["measured_ms"],
        "interval_ms": measured["interval_ms"],
        "verdict": measured["verdict"],
    }


def measure_untrained(plan: Plan) -> float:
    """Measured ms of a network with random weights."""
    with TemporaryDirectory(prefix="pocketnas-") as folder:
        network = Path(folder) / "network.tflite"
        network.write_bytes(write_tflite(plan, random_weights(plan, 0)))
        report = benchmark(
            network, HostRunner(), settings=benchmark_settings(2), kernels=plan.kernels
        )
    return report.measurement.median_ms


def cost_of(accuracy: float, networks: Sequence[Mapping[str, Any]], cost: str) -> float:
    """The cost at which these networks reach an accuracy; at their ends where they do not."""
    best: list[Mapping[str, Any]] = []
    for one in sorted(networks, key=lambda one: (one[cost], -one["accuracy"])):
        if not best or one["accuracy"] > best[-1]["accuracy"]:
            best.append(one)
    accuracies = [one["accuracy"] for one in best]
    return math.exp(float(np.interp(accuracy, accuracies, [math.log(one[cost]) for one in best])))


def mean_and_spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample deviation and the values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": deviation, "values": list(values)}
