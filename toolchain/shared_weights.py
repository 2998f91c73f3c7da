"""The supernet of a run: trained before the search, kept in the folder, read again.

::

    RUN/
      teacher.safetensors     the largest network, trained alone; teacher.checkpoint before that
      supernet.safetensors    the weights that all networks share; supernet.checkpoint before that
      supernet.jsonl          the curve: steps and losses of both trainings
      supernet.json           what teacher, smallest and largest network score

Each training can be killed at any time and goes on from its last checkpoint to the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import torch

from toolchain.atomic import atomic_path
from toolchain.config import RunConfig, require_scalenet
from toolchain.errors import RunUnusable
from toolchain.kinds.task import Record, Task
from toolchain.module import GraphModule
from toolchain.run_dir import RunDirectory
from toolchain.supernet_scores import SupernetScores
from toolchain.train.checkpoint import load_weights, save_weights
from toolchain.train.epoch import place
from toolchain.train.objective import Objective
from toolchain.train.supernet import Supernet, recalibrate
from toolchain.train.supernet_plan import SupernetPlan
from toolchain.train.supernet_training import (
    SupernetSettings,
    frozen_teacher,
    score,
    train_supernet,
)

CURVE = "supernet.jsonl"
SCORES = "supernet.json"
TEACHER, SHARED = "teacher", "supernet"
WEIGHTS = {name: f"{name}.safetensors" for name in (TEACHER, SHARED)}

OnSupernetStep = Callable[[int, int, str], None]
"""Called after each step with steps done, those of both trainings, and a text."""


def train_shared_weights(
    run: RunDirectory,
    config: RunConfig,
    task: Task,
    *,
    on_step: OnSupernetStep | None = None,
) -> Record:
    """Train teacher and supernet, or go on with that; returns the content of ``supernet.json``.

    Raises:
        CheckpointUnusable: a file in the folder belongs to another network or training.
        TrainingDiverged: a loss is infinite or not a number.
        DataUnusable: there are too few data to set some aside.
    """
    if run.has(SCORES):
        return run.read_json(SCORES)
    plan = _plan(config)
    torch.set_num_threads(1)
    objective = task.objective(config.seed)
    supernet = Supernet(require_scalenet(config.space))
    task.initialize(supernet, config.seed)
    place(supernet, "auto")
    trainings = {SHARED: plan.shared}
    if plan.teacher_steps:
        trainings = {TEACHER: plan.teacher, **trainings}
    teacher, scores, done = None, {}, 0
    for name, settings in trainings.items():
        _train(
            run, supernet, objective, settings, name, config,
            teacher=teacher, before=done, on_step=on_step,
        )  # fmt: skip
        done += settings.steps
        if name == TEACHER:
            teacher = frozen_teacher(supernet)
            scores[TEACHER] = score(supernet, supernet.space.largest(), objective)
    for name, genotype in (
        ("smallest", supernet.space.smallest()),
        ("largest", supernet.space.largest()),
    ):
        scores[name] = score(supernet, genotype, objective)
    run.write_json(SCORES, {"scores": scores, "seconds": _seconds(run)})
    return run.read_json(SCORES)


def describe_shared_weights(record: Mapping[str, Any], config: RunConfig) -> str:
    """The content of ``supernet.json`` in one line."""
    metric = config.kind.metric
    scores = [f"{name} {metric.text(metric.value(one))}" for name, one in record["scores"].items()]
    return f"supernet, {metric.name} on validation data: {', '.join(scores)}"


def adopt_shared_weights(run: RunDirectory, config: RunConfig, other: RunDirectory) -> None:
    """Take the supernet of another run, so that one training serves several searches.

    Args:
        run: gets the files; a supernet that it has already stays.
        config: what the run is.
        other: a run whose supernet is trained.

    Raises:
        RunUnusable: the other's supernet is not trained, or not the one that this run would train.
    """
    if run.has(SCORES):
        return
    if not other.has(SCORES):
        raise RunUnusable(f"{other.path} has no trained supernet; search there first")
    mine, theirs = config.to_json(), other.config
    for name in ("task", "task_settings", "data", "image_size", "space", "supernet", "seed"):
        if _plain(mine.get(name)) != _plain(theirs.get(name)):
            raise RunUnusable(
                f"the supernet in {other.path} is another one: {name} was {theirs.get(name)}, now "
                f"{mine.get(name)}. Search with the same, or train a supernet here"
            )
    for name in (*WEIGHTS.values(), CURVE, SCORES):  # the last file says that it is whole
        if other.has(name):
            with atomic_path(run.path / name) as path:
                shutil.copyfile(other.path / name, path)


def scoring_work(run: RunDirectory, config: RunConfig, task: Task) -> SupernetScores:
    """Work that judges candidates by the weights in the run's folder.

    Raises:
        CheckpointUnusable: they cannot be read or are of another space.
    """
    supernet = _load(run, config)
    return SupernetScores(
        space=supernet.space,
        weights=supernet.state_dict(),
        objective=task.objective(config.seed).scoring(),
    )


def inherited_network(
    run: RunDirectory, config: RunConfig, task: Task, genotype: str
) -> GraphModule:
    """A network of its own with the supernet's weights and statistics of its own.

    Raises:
        CheckpointUnusable: the supernet cannot be read or is of another space.
        GenotypeInvalid: the text stands for no network of the space.
    """
    network = _load(run, config).extract(genotype)
    recalibrate(network, task.objective(config.seed).calibration())
    return network


def _train(
    run: RunDirectory,
    supernet: Supernet,
    objective: Objective,
    settings: SupernetSettings,
    name: str,
    config: RunConfig,
    *,
    teacher: GraphModule | None,
    before: int,
    on_step: OnSupernetStep | None,
) -> None:
    """One of the two trainings; the supernet ends with its weights."""
    weights, plan = run.path / WEIGHTS[name], _plan(config)
    if weights.exists():
        load_weights(weights, supernet)
        return
    steps = plan.teacher_steps + plan.steps
    checkpoint = run.path / f"{name}.checkpoint"
    known = {record["step"] for record in run.records(CURVE) if record["network"] == name}

    def tell(step: int, loss: float) -> None:
        if on_step is not None:
            on_step(before + step, steps, f"{name}: loss {loss:.3f}")

    for report in train_supernet(
        supernet, objective, settings,
        seed=config.seed, teacher=teacher, checkpoint=checkpoint, resume=True,
        every=plan.report_steps, on_step=tell,
    ):  # fmt: skip
        if report.step not in known:
            run.append(CURVE, {"network": name, **vars(report)})
    save_weights(weights, supernet, {"sampling": settings.sampling})
    checkpoint.unlink()


def _load(run: RunDirectory, config: RunConfig) -> Supernet:
    supernet = Supernet(require_scalenet(config.space))
    load_weights(run.path / WEIGHTS[SHARED], supernet)
    return supernet


def _plan(config: RunConfig) -> SupernetPlan:
    assert config.supernet is not None, "the run trains its candidates one by one"
    return config.supernet


def _seconds(run: RunDirectory) -> float:
    return sum(float(record["seconds"]) for record in run.records(CURVE))


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
