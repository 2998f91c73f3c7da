"""The stages of a run, each a function on its folder: search, train, export.

They know no kind of task: what differs between kinds is asked of the task (`kinds/task.py`).

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
import torch
from torch import nn

from latency_tables.model import LatencyModel
from latency_tables.precision import kernels_in
from latency_tables.store import save_table, table_sha256
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.errors import RunUnusable
from toolchain.evaluation import JournaledEvaluator, Work, prepare
from toolchain.executors import make_executor
from toolchain.export.artifact import Artifact
from toolchain.kinds.task import OnStep, Record, Task
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.method import METHODS
from toolchain.run_dir import TABLE, RunDirectory
from toolchain.shared_weights import (
    OnSupernetStep,
    inherited_network,
    scoring_work,
    train_shared_weights,
)
from toolchain.spaces.space import space_kernels
from toolchain.train.checkpoint import load_weights, save_weights

SEARCH = "search.json"
TRAINING = "training.jsonl"
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
PREDICTIONS = "predictions.png"
TEST = "test.json"
BENCHMARK = "benchmark.json"

CALIBRATION_IMAGES = 200
"""Training examples that give the ranges of an int8 network's activations, unless said
otherwise."""


def make_appraiser(config: RunConfig, table: LatencyTable | None) -> Appraiser:
    """What says which networks a search may return; checked before anything is trained.

    Raises:
        ValueError: a budget without a table.
        KernelMissing: the table lacks kernels that the space can produce.
        BudgetUnreachable: nothing in the space is within the budget.
    """
    model = LatencyModel(table) if table else None
    if model is not None:
        model.require(kernels_in(model.table.target.precision, space_kernels(config.space)))
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
    task: Task,
    *,
    workers: int | None,
    ray: str | None = None,
    on_supernet_step: OnSupernetStep | None = None,
    on_candidate: Callable[[Candidate], None] | None = None,
) -> dict[str, Any]:
    """Search, or go on searching; returns the content of ``search.json``, the answer in ``best``.

    Where candidates share weights, these are trained first.

    Args:
        run: the folder.
        config: what to search.
        appraiser: the space with its table and budget.
        task: judges candidates.
        workers: processes that judge candidates, one thread each; None for one a core. The result
            does not depend on how many, nor on where they are.
        ray: address of the Ray cluster that judges candidates; None for this computer alone.
        on_supernet_step: called after each step of the shared weights' training.
        on_candidate: called with each candidate as it becomes known.

    Raises:
        BudgetUnreachable: nothing that the search trained is within the budget.
        ClusterUnusable: the Ray cluster cannot be used.
        ExtraMissing: ray is not installed.
        WorkerLost: a candidate's worker died in each of three attempts.
    """
    if run.has(SEARCH):
        return found(run)
    work = _work(run, config, task, on_supernet_step)
    with make_executor(partial(prepare, work), workers=workers, ray=ray) as executor:
        evaluator = JournaledEvaluator(appraiser, executor, run, on_candidate)
        result = METHODS[config.method].search(
            appraiser, evaluator, config.method_settings, np.random.default_rng(config.seed)
        )
    run.write_json(
        SEARCH,
        {
            "best": result.best.to_json(),
            "evaluations": len(result.evaluated),
            "doubtful": [one.genotype for one in result.evaluated if appraiser.is_doubtful(one)],
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
        run.write_json(SEARCH, {**answer, "doubtful": [], "meta_graph": None, **origin})
    return found(run)


def found(run: RunDirectory) -> dict[str, Any]:
    """The content of ``search.json`` of a finished search.

    Raises:
        RunUnusable: the search has not finished.
    """
    if not run.has(SEARCH):
        raise RunUnusable(f"the search in {run.path} has not finished; go on with --resume")
    return run.read_json(SEARCH)


def describe_answer(record: Mapping[str, Any], config: RunConfig) -> str:
    """The content of ``search.json`` in two or three lines."""
    best = record["best"]
    latency = "" if best["p50_ms"] is None else f"{best['p50_ms']:.3f} ms predicted, "
    costs = f"{latency}{best['macs'] / 1e6:.2f} M MACs, {best['params']:,} parameters"
    if "scaled_from" in record:
        return f"scaled: {best['genotype']} in {record['outline']}\n  {costs}"
    if best["metric"] is None:
        return f"pruned from a meta-graph: {best['genotype']}\n  {costs}"
    metric = config.kind.metric
    verb, judged = ("trained", "proxy") if config.supernet is None else ("scored", "supernet")
    doubtful = record["doubtful"]
    doubt = (
        f"\n  unlike what the table was measured on, so that their latencies are less certain: "
        f"{len(doubtful)} of them{', the best too' if best['genotype'] in doubtful else ''} "
        "(see --measure-doubtful)"
        if doubtful
        else ""
    )
    return (
        f"best of {record['evaluations']} {verb}: {best['genotype']}\n"
        f"  {judged} {metric.name} {metric.text(metric.value(best['metric']))}, {costs}; the "
        f"search took {record['cpu_s']:.0f} CPU seconds{doubt}"
    )


def describe_test(record: Mapping[str, Any], config: RunConfig) -> str:
    """The content of ``test.json`` in one line."""
    kind = config.kind
    value = kind.metric.text(record[kind.metric.key])
    return f"test {kind.metric.name} {value} on {record[kind.examples]} {kind.examples}"


def train_network(
    run: RunDirectory,
    config: RunConfig,
    genotype: str,
    task: Task,
    *,
    on_step: OnStep | None = None,
) -> Iterator[Record]:
    """Train a network in full; weights, curve and test result are in the folder.

    From fresh weights, or from those of the run's supernet if it has one. The test data are looked
    at once, at the end. Yields what ``training.jsonl`` gets, epoch by epoch.
    """
    if run.has(TEST):
        return
    torch.set_num_threads(1)
    if config.supernet is not None:
        module: nn.Module = inherited_network(run, config, task, genotype)
    else:
        module = task.network(config.space, genotype)
        task.initialize(module, config.seed)
    known = {record["epoch"] for record in run.records(TRAINING)}
    for record in task.train(
        module,
        config.training,
        seed=config.seed,
        checkpoint=run.path / CHECKPOINT,
        on_step=on_step,
    ):
        if record["epoch"] not in known:
            run.append(TRAINING, record)
        yield record
    save_weights(run.path / WEIGHTS, module, {"genotype": genotype})
    result = task.test(module)
    if (figure := task.figure(module)) is not None:
        run.write_bytes(PREDICTIONS, figure)
    run.write_json(TEST, {"genotype": genotype, **result})


def export(run: RunDirectory, config: RunConfig, task: Task) -> Artifact:
    """Lower the trained network to TFLite and prove on test data that it computes the same.

    Raises:
        RunUnusable: the network has not been trained.
        ExportFailed: an operator cannot be lowered, or the outputs differ.
    """
    if not run.has(WEIGHTS):
        raise RunUnusable(f"{run.path} has no trained network; run: pocketnas train {run.path}")
    genotype = found(run)["best"]["genotype"]
    module = task.network(config.space, genotype)
    load_weights(run.path / WEIGHTS, module)
    return task.export(module, config.space, genotype, run.path)


def quantize(
    run: RunDirectory,
    config: RunConfig,
    task: Task,
    artifact: Artifact,
    *,
    calibration_images: int = CALIBRATION_IMAGES,
) -> Artifact:
    """Make an int8 file of the exported network, ``network.int8.tflite``, with its own card.

    Args:
        run: the folder.
        config: its seed draws the calibration images.
        task: training data calibrate; test data show how far the outputs moved.
        artifact: the float network, as ``export`` returned it.
        calibration_images: how many training examples to draw; all where there are fewer.

    Raises:
        NotInteger: operators would still compute in floating point.
        ExportFailed: the quantizer does not take the network.
        ValueError: no calibration image is asked for.
    """
    if calibration_images < 1:
        raise ValueError(f"calibration needs 1 image or more, got {calibration_images}")
    path = run.path / f"{artifact.path.stem}.int8.tflite"
    return task.quantize(artifact, path, calibration_images, config.seed)


def _work(
    run: RunDirectory, config: RunConfig, task: Task, on_supernet_step: OnSupernetStep | None
) -> Work:
    """How candidates are judged."""
    if config.supernet is None:
        return task.candidate_training(config.space, config.proxy, config.seed)
    train_shared_weights(run, config, task, on_step=on_supernet_step)
    return scoring_work(run, config, task)
