"""Runs as a search, a training, an export and a benchmark leave them, made in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.budget import Budget
from latency_tables.calibrate import Calibration
from latency_tables.model import LatencyModel
from latency_tables.store import load_table, save_table, table_sha256
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from toolchain.config import RunConfig, config_from_json
from toolchain.family import prune
from toolchain.kernels import plan
from toolchain.layers import Shape
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.methods.limits import Limits
from toolchain.methods.method import METHODS
from toolchain.run_dir import RunDirectory
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space, space_kernels
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings

TARGET = Target(
    device="host",
    fingerprint="Some CPU x2, Linux x86_64",
    soc="Some CPU @ 2.60GHz",
    abi="x86_64",
    runtime="litert",
    runtime_version="2.3.0",
    runtime_sha256="ab12" * 16,
)
STAGES = (
    "latency.table",
    "candidates.jsonl",
    "search.json",
    "training.jsonl",
    "test.json",
    "network.json",
    "benchmark.json",
)

MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(**options: Any) -> RunDirectory:
        return write_run(tmp_path / "run", **options)

    return make


@pytest.fixture(scope="session")
def write_a_run() -> MakeRun:
    return write_run


@pytest.fixture(scope="session")
def gram_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run of GRAM."""
    return write_run(tmp_path_factory.mktemp("gram") / "run", method="gram")


@pytest.fixture(scope="session")
def member(gram_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A member of its family, not trained yet, within two thirds of the budget."""
    config, table = config_from_json(gram_run.config), load_table(gram_run.path / "latency.table")
    folder, budget = tmp_path_factory.mktemp("family"), Budget(limit_ms=0.3)
    (path,) = prune(gram_run, config, table, [budget], folder, resume=False)
    return RunDirectory.open(path)


def write_run(path: Path, *, without: tuple[str, ...] = (), **options: Any) -> RunDirectory:
    """A whole run, from a real walk over a made-up device; files named in ``without`` lack."""
    run = _whole_run(path, **options)
    for name in without:
        (run.path / name).unlink(missing_ok=True)
    return run


def make_table(space: Space) -> LatencyTable:
    rng = np.random.default_rng(0)
    rows = {}
    for kernel in sorted(space_kernels(space), key=lambda one: one.key):
        ms = 2e-3 + 4e-8 * _work(kernel.inputs, kernel.output) * rng.uniform(0.7, 1.3)
        rows[kernel] = KernelLatency(
            median_ms=ms, iqr_ms=ms / 20, p95_ms=ms * 1.1, samples=90, contexts=9
        )
    fit = Calibration(
        overhead_ms=0.011,
        scale=0.97,
        per_kernel_ms=0.0004,
        p95_ratio=1.062,
        median_error=0.021,
        worst_error=0.083,
        networks=40,
    )
    settings = {"sessions": 3, "runs": 30, "seed": 1, "load": 0.4}
    return LatencyTable(target=TARGET, rows=rows, settings=settings, calibration=fit)


def _work(inputs: tuple[Shape, ...], output: Shape) -> int:
    return sum(int(np.prod(shape)) for shape in inputs) * (output[-1] if len(inputs) == 1 else 4)


def _whole_run(
    path: Path,
    *,
    limit_ms: float | None = 0.45,
    method: str = "autoshrink",
    nodes: int = 6,
    measured_ratio: float = 0.98,
    max_params: int | None = None,
) -> RunDirectory:
    space: Space = ShrinkCnnSpace(nodes=nodes, input_shape=(1, 28, 28))
    if method == "gram":
        space = SwiftNetSpace(nodes=(8, 10, 12), input_shape=(1, 28, 28))
    table = make_table(space) if limit_ms is not None else None
    budget = None if limit_ms is None else Budget(limit_ms=limit_ms)
    settings = METHODS[method].settings()
    if method == "autoshrink" and budget is None:
        settings = replace(settings, mode="paper")
    config = RunConfig(
        task="fashion-mnist",
        data=None,
        image_size=None,
        space=space,
        method=method,
        method_settings=settings,
        proxy=ProxySettings.quick(),
        training=TrainSettings(epochs=10),
        budget=budget,
        limits=Limits(max_params=max_params),
        seed=3,
    )
    identity = {**config.to_json(), "table_sha256": table_sha256(table) if table else None}
    run = RunDirectory.create(path, identity, resume=False)
    if table is not None:
        save_table(table, path / "latency.table")
    model = LatencyModel(table) if table else None
    best = _search(run, Appraiser(space=space, model=model, budget=budget), config)
    _train(run, best)
    _export(run, space, best)
    _benchmark(run, space, best, model, budget, measured_ratio)
    return run


def _search(run: RunDirectory, appraiser: Appraiser, config: RunConfig) -> Candidate:
    rng = np.random.default_rng(7)
    known: dict[str, Candidate] = {}

    def evaluate(genotypes: Any) -> list[Candidate]:
        for genotype in genotypes:
            if genotype not in known:
                candidate = appraiser.appraise(genotype)
                accuracy = 0.9 - 0.05 * 1e6 / candidate.macs - abs(rng.normal(0, 0.012))
                weak = rng.uniform() < 0.02
                known[genotype] = evaluated(
                    candidate,
                    0.1 if weak else accuracy,
                    {"cpu_s": 9.5, "epochs": 2, "stopped_because": "all epochs"},
                )
                run.append("candidates.jsonl", known[genotype].to_json())
        return [known[genotype] for genotype in genotypes]

    result = METHODS[config.method].search(
        appraiser, evaluate, config.method_settings, np.random.default_rng(0)
    )
    run.write_json(
        "search.json",
        {
            "best": result.best.to_json(),
            "evaluations": len(result.evaluated),
            "cpu_s": 9.5 * len(result.evaluated),
            "trajectory": [step.to_json() for step in result.trajectory],
            "meta_graph": result.meta_graph.to_json() if result.meta_graph else None,
        },
    )
    return result.best


def _train(run: RunDirectory, best: Candidate) -> None:
    for epoch in range(1, 11):
        record = {
            "epoch": epoch,
            "epochs": 10,
            "train_loss": 0.2 + 0.6 / epoch,
            "validation_loss": 0.25 + 0.5 / epoch,
            "validation_accuracy": 0.93 - 0.12 / epoch,
            "learning_rate": 0.1,
            "seconds": 51.2,
            "images_per_second": 1054.0,
        }
        run.append("training.jsonl", record)
    run.write_json("test.json", {"genotype": best.genotype, "accuracy": 0.9173, "images": 10_000})


def _export(run: RunDirectory, space: Space, best: Candidate) -> None:
    difference = {"max_error": 3.1e-6, "max_relative_error": 1.2e-7, "top1_agreement": 1.0}
    run.write_json(
        "network.json",
        {
            "card_version": 1,
            "path": "network.tflite",
            "format": "tflite",
            "sha256": "cd34" * 16,
            "size_bytes": 4 * best.params + 9000,
            "inputs": [{"name": "image", "shape": [1, 28, 28, 1], "dtype": "float32"}],
            "outputs": [{"name": "logits", "shape": [1, 10], "dtype": "float32"}],
            "normalization": {"mean": [0.286], "std": [0.353]},
            "graph": best.genotype,
            "genotype": best.genotype,
            "parity": {"images": 256, "onnx": difference, "litert": difference},
            "kernels": [kernel.key for kernel in plan(space.decode(best.genotype)).kernels],
            "versions": {"torch": "2.9.1"},
        },
    )


def _benchmark(
    run: RunDirectory,
    space: Space,
    best: Candidate,
    model: LatencyModel | None,
    budget: Budget | None,
    measured_ratio: float,
) -> None:
    rng = np.random.default_rng(5)
    p50_ms = best.latency.p50_ms if best.latency else 0.4
    measured_ms = measured_ratio * p50_ms
    kernels = plan(space.decode(best.genotype)).kernels
    each_ms = [model.table[kernel].median_ms if model else 0.01 for kernel in kernels]
    verdict = None
    if budget is not None:
        verdict = "met" if measured_ms <= budget.limit_ms else "missed"
    run.write_json(
        "benchmark.json",
        {
            "file": "network.tflite",
            "target": TARGET.to_json(),
            "measured_ms": measured_ms,
            "interval_ms": [0.99 * measured_ms, 1.012 * measured_ms],
            "iqr_ms": 0.03 * measured_ms,
            "runs": 200,
            "sessions": 5,
            "session_medians_ms": [measured_ms * share for share in (0.99, 1, 1.01, 1, 1.005)],
            "is_stable": True,
            "conditions": {"load": 0.61, "disturbed": 0.04, "taken_at": "2025-01-02T03:04:05Z"},
            "predicted_p50_ms": p50_ms if model else None,
            "predicted_p95_ms": 1.062 * p50_ms if model else None,
            "relative_error": 1 / measured_ratio - 1 if model else None,
            "budget_ms": budget.limit_ms if budget else None,
            "confidence": budget.confidence if budget else None,
            "undisturbed_sessions": 5,
            "verdict": verdict,
            "is_certain": None if budget is None else True,
            "kernels": [
                {
                    "name": f"Convolution (NHWC, F32) IGEMM:{place}",
                    "kernel": kernel.key,
                    "measured_ms": ms * rng.uniform(0.92, 1.1),
                    "predicted_ms": ms if model else None,
                }
                for place, (kernel, ms) in enumerate(zip(kernels, each_ms, strict=True))
            ],
        },
    )
