"""Supernets trained with different samplings, and what searches find in them.

    python benchmarks/scalenas.py --seeds 0 1 2 -o results.json
    python benchmarks/scalenas.py --camvid camvid.tar --image-size 96 128 -o results.json

For every seed a teacher (the largest network) is trained, and from it one supernet for each
sampling, with equally many steps. Parts:

    fronts      mean IoU of the same networks, drawn from small to large, in each supernet
    search      ScaleNAS's evolution and random search in the first sampling's supernet, with as
                many evaluations and one budget, on validation images; the answers on test images

Everything is kept in the folder, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import report
from run_folders import host_table, mean_and_spread

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from toolchain.evaluation import JournaledEvaluator, prepare
from toolchain.executors import ProcessExecutor
from toolchain.methods.candidate import Appraiser
from toolchain.methods.method import METHODS, make_settings
from toolchain.run_dir import RunDirectory
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.supernet_scores import SupernetScores
from toolchain.tasks.camvid import load_camvid
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.tasks.segmentation import SegmentationData
from toolchain.train.checkpoint import load_weights, save_weights
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective, measure_segmentation
from toolchain.train.supernet import Supernet, recalibrate
from toolchain.train.supernet_training import (
    SupernetSettings,
    frozen_teacher,
    score,
    train_supernet,
)

DENSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of fusions of the networks of the fronts; each with every depth."""


def main() -> None:
    """Train and search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, help="CamVid; without it, drawn scenes")
    parser.add_argument("--image-size", type=int, nargs=2, default=[64, 64])
    parser.add_argument("--folder", type=Path, default=Path("runs/scalenas"))
    parser.add_argument("--parts", nargs="+", default=["fronts", "search"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samplings", nargs="+", default=["grouped", "sandwich", "uniform"])
    parser.add_argument("--teacher-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--evaluations", type=int, default=180)
    parser.add_argument("--validation", type=int, default=1024)
    parser.add_argument("--share", type=float, default=0.55, help="budget between the ends")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, sampling) for seed in options.seeds for sampling in options.samplings]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        list(pool.map(partial(teacher_weights, options), options.seeds))
        list(pool.map(partial(supernet_weights, options), jobs))
    parts = {"fronts": fronts, "search": searches}
    figures = {part: parts[part](options) for part in options.parts}
    figures["options"] = {key: str(value) for key, value in vars(options).items()}
    report("ScaleNet supernets and searches in them", figures, options.output)


def data_of(options: argparse.Namespace) -> SegmentationData:
    """CamVid, or drawn scenes with as many validation images as are asked for."""
    if options.camvid:
        return load_camvid(options.camvid, tuple(options.image_size))
    return people_and_shapes(validation=options.validation)


def space_of(options: argparse.Namespace, data: SegmentationData) -> ScaleNetSpace:
    """The small outline for these images."""
    classes = len(data.classes)
    return ScaleNetSpace(input_shape=data.input_shape, classes=classes, head="segmentation")


def objective_of(data: SegmentationData) -> SegmentationObjective:
    """Trained on the training images, scored on the data set's own validation images."""
    training, validation = data.split(seed=0)
    return SegmentationObjective(
        training=training, validation=validation, classes=len(data.classes)
    )


def teacher_weights(options: argparse.Namespace, seed: int) -> Path:
    """Train the largest network, unless the file is there."""
    settings = SupernetSettings(
        steps=options.teacher_steps, learning_rate=3e-3, sampling="largest", distillation=0.0
    )
    return _trained(options, seed, settings, None)


def supernet_weights(options: argparse.Namespace, job: tuple[int, str]) -> Path:
    """Train a supernet from its teacher, unless the file is there."""
    seed, sampling = job
    settings = SupernetSettings(steps=options.steps, sampling=sampling)
    return _trained(options, seed, settings, teacher_weights(options, seed))


def _trained(
    options: argparse.Namespace, seed: int, settings: SupernetSettings, start: Path | None
) -> Path:
    torch.set_num_threads(1)
    path: Path = options.folder / f"{settings.sampling}-{seed}.safetensors"
    if path.exists():
        return path
    data = data_of(options)
    supernet = Supernet(space_of(options, data))
    teacher = None
    if start is None:
        initialize(supernet, seed=seed)
    else:
        load_weights(start, supernet)
        teacher = frozen_teacher(supernet)
    reports = train_supernet(
        supernet,
        objective_of(data),
        settings,
        seed=seed,
        teacher=teacher,
        checkpoint=path.with_suffix(".checkpoint"),
        resume=True,
    )
    for one in reports:
        print(
            f"{path.stem}: step {one.step}, loss {one.loss:.3f}, {one.seconds:.0f} s", flush=True
        )
    save_weights(path, supernet, {"sampling": settings.sampling, "seed": str(seed)})
    return path


def load_supernet(options: argparse.Namespace, space: ScaleNetSpace, name: str) -> Supernet:
    """A trained supernet."""
    supernet = Supernet(space)
    load_weights(options.folder / f"{name}.safetensors", supernet)
    return supernet


def fronts(options: argparse.Namespace) -> dict[str, Any]:
    """The same networks in every supernet, on the validation images."""
    data = data_of(options)
    space, objective = space_of(options, data), objective_of(data)
    rng = np.random.default_rng(0)
    genotypes = [
        space.sample_group(rng, (depth,), density)
        for depth in range(space.min_depth, space.max_depth + 1)
        for density in DENSITIES
    ]
    figures: dict[str, Any] = {"genotypes": genotypes}
    for sampling in options.samplings:
        scores = []
        for seed in options.seeds:
            supernet = load_supernet(options, space, f"{sampling}-{seed}")
            scores.append([score(supernet, one, objective) for one in genotypes])
        means = [float(np.mean(one)) for one in scores]
        figures[sampling] = {"mean": mean_and_spread(means), "scores": scores}
    return figures


def searches(options: argparse.Namespace) -> dict[str, Any]:
    """Evolution and random search in the supernet of the first sampling."""
    data = data_of(options)
    space, objective = space_of(options, data), objective_of(data)
    table = host_table(space, options.folder / "host.table")
    appraiser = Appraiser(space=space, model=LatencyModel(table))
    ends = [appraiser.appraise(one).p50_ms for one in (space.smallest(), space.largest())]
    budget = Budget(limit_ms=ends[0] + options.share * (ends[1] - ends[0]), fill=0.6)
    limited = replace(appraiser, budget=budget)
    figures: dict[str, Any] = {"ends_ms": ends, "limit_ms": budget.limit_ms}
    for method in ("scalenas", "random"):
        rows = []
        for seed in options.seeds:
            supernet = load_supernet(options, space, f"{options.samplings[0]}-{seed}")
            weights = supernet.state_dict()
            work = SupernetScores(space=space, weights=weights, objective=objective)
            run = RunDirectory.create(options.folder / f"{method}-{seed}", {}, resume=True)
            settings = make_settings(method, {"evaluations": options.evaluations})
            with ProcessExecutor(options.workers, partial(prepare, work)) as executor:
                evaluator = JournaledEvaluator(limited, executor, run)
                found = METHODS[method].search(
                    limited, evaluator, settings, np.random.default_rng(seed)
                )
            network = supernet.extract(found.best.genotype)
            recalibrate(network, objective.calibration())
            test = measure_segmentation(network, data.test, len(data.classes)).mean_iou
            rows.append({**found.best.to_json(), "test": test, "mean": _mean(found.evaluated)})
            print(json.dumps(rows[-1]), flush=True)
        figures[method] = {"rows": rows, "test": mean_and_spread([row["test"] for row in rows])}
    return figures


def _mean(candidates: Any) -> float:
    return float(np.mean([one.accuracy for one in candidates]))


if __name__ == "__main__":
    main()
