"""The stages of a run, each a function on its folder: search, train, export.

Every stage can be interrupted at any time and called again: it goes on from what is in the
folder, and the result is the same as without the interruption. Measuring is not done here: the
caller profiles before and benchmarks after, with the device of its choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latency_tables.model import LatencyModel
from latency_tables.store import save_table, table_sha256
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.errors import RunUnusable
from toolchain.evaluation import JournaledEvaluator, ProxyTraining, prepare
from toolchain.executors import make_executor
from toolchain.export.artifact import Artifact, Normalization
from toolchain.export.export import export_network
from toolchain.export.quantize import quantize_artifact
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.method import METHODS
from toolchain.module import GraphModule
from toolchain.run_dir import TABLE, RunDirectory
from toolchain.spaces.space import space_kernels
from toolchain.tasks.classification import ClassificationData, ImageSet
from toolchain.train.checkpoint import load_weights, save_weights
from toolchain.train.epoch import Step, evaluate, normalize, place
from toolchain.train.loop import EpochReport, train
from toolchain.train.recipe import initialize

SEARCH = "search.json"
TRAINING = "training.jsonl"
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
TEST = "test.json"
BENCHMARK = "benchmark.json"

HELD_OUT_SHARE = 0.1
"""Share of each class's training images that watches the final training."""

PARITY_IMAGES = 200
"""Test images on which the exported network is compared with the trained one."""

CALIBRATION_IMAGES = 200
"""Training images that give the ranges of an int8 network's activations, unless said otherwise."""

HELD_OUT_IMAGES = 1000
"""Test images, from all over the test set, on which int8 and float networks are compared."""


def make_appraiser(config: RunConfig, table: LatencyTable | None) -> Appraiser:
    """What says which networks a search may return; checked before anything is trained.

    Raises:
        ValueError: a budget without a table.
        KernelMissing: the table lacks kernels that the space can produce.
        BudgetUnreachable: nothing in the space is within the budget.
    """
    model = LatencyModel(table) if table else None
    if model is not None:
        model.require(space_kernels(config.space))
    appraiser = Appraiser(
        space=config.space, model=model, budget=config.budget, limits=config.limits
    )
    appraiser.require_reachable()
    return appraiser


def open_run(
    path: Path, config: RunConfig, table: LatencyTable | None, *, resume: bool
) -> RunDirectory:
    """The folder of a run, with its table.

    Raises:
        RunUnusable: see ``RunDirectory.create``; another table counts as another configuration.
    """
    identity = {**config.to_json(), "table_sha256": table_sha256(table) if table else None}
    run = RunDirectory.create(path, identity, resume=resume)
    if table is not None and not run.has(TABLE):
        save_table(table, run.path / TABLE)
    return run


def search(
    run: RunDirectory,
    config: RunConfig,
    appraiser: Appraiser,
    data: ClassificationData,
    *,
    workers: int | None,
    ray: str | None = None,
    on_candidate: Callable[[Candidate], None] | None = None,
) -> dict[str, Any]:
    """Search, or go on searching; returns the content of ``search.json``, the answer in ``best``.

    Args:
        run: the folder.
        config: what to search.
        appraiser: the space with its table and budget.
        data: the task's.
        workers: processes that train candidates, one thread each; None for one a core. The result
            does not depend on how many, nor on where they are.
        ray: address of the Ray cluster that trains candidates; None for this computer alone.
        on_candidate: called with each candidate as it becomes known.

    Raises:
        BudgetUnreachable: nothing that the search trained is within the budget.
        ClusterUnusable: the Ray cluster cannot be used.
        ExtraMissing: ray is not installed.
        WorkerLost: a candidate's worker died in each of three attempts.
    """
    if run.has(SEARCH):
        return found(run)
    training, validation = config.proxy.draw(data, seed=config.seed)
    job = ProxyTraining(
        space=config.space,
        training=training,
        validation=validation,
        settings=config.proxy,
        seed=config.seed,
    )
    with make_executor(partial(prepare, job), workers=workers, ray=ray) as executor:
        evaluator = JournaledEvaluator(appraiser, executor, run, on_candidate)
        result = METHODS[config.method].search(
            appraiser, evaluator, config.method_settings, np.random.default_rng(config.seed)
        )
    run.write_json(
        SEARCH,
        {
            "best": result.best.to_json(),
            "evaluations": len(result.evaluated),
            "cpu_s": sum(float(one.cost["cpu_s"]) for one in result.evaluated),
            "trajectory": [step.to_json() for step in result.trajectory],
            "meta_graph": result.meta_graph.to_json() if result.meta_graph else None,
        },
    )
    return found(run)


def choose(run: RunDirectory, candidate: Candidate, **origin: Any) -> dict[str, Any]:
    """Make a network the answer of a run without a search; returns the content of ``search.json``.

    Args:
        run: the folder; an answer that it has already stays.
        candidate: the network.
        origin: where it comes from, kept with the answer.
    """
    if not run.has(SEARCH):
        answer = {"best": candidate.to_json(), "evaluations": 0, "cpu_s": 0.0, "trajectory": []}
        run.write_json(SEARCH, {**answer, "meta_graph": None, **origin})
    return found(run)


def found(run: RunDirectory) -> dict[str, Any]:
    """The content of ``search.json`` of a finished search.

    Raises:
        RunUnusable: the search has not finished.
    """
    if not run.has(SEARCH):
        raise RunUnusable(f"the search in {run.path} has not finished; go on with --resume")
    return run.read_json(SEARCH)


def describe_answer(record: Mapping[str, Any]) -> str:
    """The content of ``search.json`` in two lines."""
    best = record["best"]
    latency = "" if best["p50_ms"] is None else f"{best['p50_ms']:.3f} ms predicted, "
    costs = f"{latency}{best['macs'] / 1e6:.2f} M MACs, {best['params']:,} parameters"
    if best["metric"] is None:
        return f"pruned from a meta-graph: {best['genotype']}\n  {costs}"
    return (
        f"best of {record['evaluations']} trained: {best['genotype']}\n"
        f"  proxy accuracy {best['metric']:.2%}, {costs}; the search took "
        f"{record['cpu_s']:.0f} CPU seconds"
    )


def describe_test(record: Mapping[str, Any]) -> str:
    """The content of ``test.json`` in one line."""
    return f"test accuracy {record['accuracy']:.2%} on {record['images']} images"


def train_network(
    run: RunDirectory,
    config: RunConfig,
    genotype: str,
    data: ClassificationData,
    *,
    on_step: Callable[[int, Step], None] | None = None,
) -> Iterator[EpochReport]:
    """Train a network in full; weights, curve and test accuracy are in the folder.

    The test set is looked at once, at the end.
    """
    if run.has(TEST):
        return
    torch.set_num_threads(1)
    per_class = len(data.train) // len(data.classes)
    training, validation = data.split(
        validation_per_class=max(1, round(HELD_OUT_SHARE * per_class)), seed=config.seed
    )
    module = GraphModule(config.space.decode(genotype))
    initialize(module, seed=config.seed)
    known = {record["epoch"] for record in run.records(TRAINING)}
    for report in train(
        module,
        training,
        validation,
        config.training,
        seed=config.seed,
        checkpoint=run.path / CHECKPOINT,
        resume=True,
        on_step=on_step,
    ):
        if report.epoch not in known:
            run.append(TRAINING, vars(report))
        yield report
    save_weights(run.path / WEIGHTS, module, {"genotype": genotype})
    place(module, "auto")
    result = evaluate(module, data.test)
    run.write_json(
        TEST, {"genotype": genotype, "accuracy": result.accuracy, "images": len(data.test)}
    )


def export(run: RunDirectory, config: RunConfig, data: ClassificationData) -> Artifact:
    """Lower the trained network to TFLite and prove on test images that it computes the same.

    Raises:
        RunUnusable: the network has not been trained.
        ExportFailed: an operator cannot be lowered, or the outputs differ.
    """
    if not run.has(WEIGHTS):
        raise RunUnusable(f"{run.path} has no trained network; run: pocketnas train {run.path}")
    genotype = found(run)["best"]["genotype"]
    graph = config.space.decode(genotype)
    module = GraphModule(graph)
    load_weights(run.path / WEIGHTS, module)
    images = data.test.images[:PARITY_IMAGES]
    return export_network(
        module,
        graph,
        normalize(images, data.test, torch.device("cpu")),
        run.path,
        genotype=genotype,
        normalization=Normalization(mean=data.test.mean, std=data.test.std),
    )


def quantize(
    run: RunDirectory,
    config: RunConfig,
    data: ClassificationData,
    artifact: Artifact,
    *,
    calibration_images: int = CALIBRATION_IMAGES,
) -> Artifact:
    """Make an int8 file of the exported network, ``network.int8.tflite``, with its own card.

    Args:
        run: the folder.
        config: its seed draws the calibration images.
        data: training images calibrate; test images show how far the outputs moved.
        artifact: the float network, as ``export`` returned it.
        calibration_images: how many training images to draw; all where there are fewer.

    Raises:
        NotInteger: operators would still compute in floating point.
        ExportFailed: the quantizer does not take the network.
        ValueError: no calibration image is asked for.
    """
    if calibration_images < 1:
        raise ValueError(f"calibration needs 1 image or more, got {calibration_images}")
    generator = torch.Generator().manual_seed(config.seed)
    drawn_N = torch.randperm(len(data.train), generator=generator)[:calibration_images]
    compared = min(HELD_OUT_IMAGES, len(data.test))
    held_out = data.test.select(torch.arange(compared) * len(data.test) // compared)
    return quantize_artifact(
        artifact,
        run.path / f"{artifact.path.stem}.int8.tflite",
        _pixels(data.train.select(drawn_N)),
        _pixels(held_out),
        held_out.labels.numpy(),
    )


def _pixels(images: ImageSet) -> npt.NDArray[np.float32]:
    """Normalised images as the exported files take them, but for the order of the axes."""
    normalized = normalize(images.images, images, torch.device("cpu"))
    return normalized.contiguous().numpy(force=True)
