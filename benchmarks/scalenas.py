"""Supernets trained with different samplings, and what searches find in them.

    python benchmarks/scalenas.py --seeds 0 1 2 -o results.json
    python benchmarks/scalenas.py --camvid camvid.tar --image-size 96 128 -o results.json

For every seed a teacher (the largest network) is trained, and from it one supernet for each
sampling, with equally many steps. Parts:

    fronts      mean IoU of the same networks, drawn from small to large, in each supernet
    search      ScaleNAS's evolution and random search in the first sampling's supernet, with as
                many evaluations and one budget, on validation images; the answers on test images
    budgets     ScaleNAS's answers for several budgets from the first seed's supernet, measured
    alone       networks of the fronts trained alone: how well each supernet ranks them
    regular     ScaleNAS's answers against the HRNets of the space, all trained alone

Everything is kept in the folder, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machine import report
from run_folders import host_table, mean_and_spread, measure_untrained
from scalenas_alone import rank_correlations, train_alone
from scalenas_supernets import (
    data_of,
    load_supernet,
    objective_of,
    space_of,
    supernet_weights,
    teacher_weights,
)

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from toolchain.evaluation import JournaledEvaluator, prepare
from toolchain.executors import ProcessExecutor
from toolchain.methods.candidate import Appraiser
from toolchain.methods.method import METHODS, make_settings
from toolchain.run_dir import RunDirectory
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.supernet_scores import SupernetScores
from toolchain.train.segmentation_objective import measure_segmentation
from toolchain.train.supernet import recalibrate
from toolchain.train.supernet_training import score

DENSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of fusions of the networks of the fronts; each with every depth."""


def main() -> None:
    """Train and search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, help="CamVid; without it, drawn scenes")
    parser.add_argument("--image-size", type=int, nargs=2, default=[64, 64])
    parser.add_argument("--folder", type=Path, default=Path("runs/scalenas"))
    parser.add_argument("--parts", nargs="+", default=["fronts", "search", "budgets", "alone"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samplings", nargs="+", default=["grouped", "sandwich", "uniform"])
    parser.add_argument("--teacher-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--evaluations", type=int, default=180)
    parser.add_argument("--validation", type=int, default=1024)
    parser.add_argument("--share", type=float, default=0.55, help="budget between the ends")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8])
    parser.add_argument("--epochs", type=int, default=10, help="of networks trained alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    decisive = ("camvid", "image_size", "teacher_steps", "steps", "validation")
    identity = {name: str(getattr(options, name)) for name in decisive}
    RunDirectory.create(options.folder, identity, resume=True)
    jobs = [(seed, sampling) for seed in options.seeds for sampling in options.samplings]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        list(pool.map(partial(teacher_weights, options), options.seeds))
        list(pool.map(partial(supernet_weights, options), jobs))
    parts = {
        "fronts": fronts, "search": searches, "budgets": budgets, "alone": alone,
        "regular": regular,
    }  # fmt: skip
    figures = {part: parts[part](options) for part in options.parts}
    figures["options"] = {key: str(value) for key, value in vars(options).items()}
    report("ScaleNet supernets and searches in them", figures, options.output)


def front(space: ScaleNetSpace) -> list[str]:
    """Networks from small to large: every depth, with few to all fusions."""
    rng = np.random.default_rng(0)
    return [
        space.sample_group(rng, (depth,), density)
        for depth in range(space.min_depth, space.max_depth + 1)
        for density in DENSITIES
    ]


def fronts(options: argparse.Namespace) -> dict[str, Any]:
    """The same networks in every supernet, on the validation images."""
    genotypes = front(space_of(options, data_of(options)))
    figures: dict[str, Any] = {"genotypes": genotypes}
    for sampling, scores in scores_of(options, genotypes).items():
        means = [float(np.mean(one)) for one in scores]
        figures[sampling] = {"mean": mean_and_spread(means), "scores": scores}
    return figures


def scores_of(
    options: argparse.Namespace, genotypes: Sequence[str]
) -> dict[str, list[list[float]]]:
    """By sampling and seed, what a supernet's weights give each network on validation images."""
    data = data_of(options)
    space, objective = space_of(options, data), objective_of(data)
    scores: dict[str, list[list[float]]] = {}
    for sampling in options.samplings:
        scores[sampling] = []
        for seed in options.seeds:
            supernet = load_supernet(options, space, f"{sampling}-{seed}")
            scores[sampling].append([score(supernet, one, objective) for one in genotypes])
    return scores


def limited(options: argparse.Namespace, space: ScaleNetSpace, share: float) -> Appraiser:
    """The space under a budget so far between its smallest and its largest network."""
    table = host_table(space, options.folder / "host.table")
    appraiser = Appraiser(space=space, model=LatencyModel(table))
    low, high = (appraiser.appraise(one).p50_ms for one in (space.smallest(), space.largest()))
    budget = Budget(limit_ms=low + share * (high - low), fill=0.6)
    return replace(appraiser, budget=budget)


def search_in(options: argparse.Namespace, method: str, seed: int, share: float) -> dict[str, Any]:
    """The answer of one search in the first sampling's supernet, on validation and on test."""
    data = data_of(options)
    space, objective = space_of(options, data), objective_of(data)
    appraiser = limited(options, space, share)
    supernet = load_supernet(options, space, f"{options.samplings[0]}-{seed}")
    work = SupernetScores(space=space, weights=supernet.state_dict(), objective=objective)
    run = RunDirectory.create(options.folder / f"{method}-{seed}-{share:g}", {}, resume=True)
    settings = make_settings(method, {"evaluations": options.evaluations})
    with ProcessExecutor(options.workers, partial(prepare, work)) as executor:
        evaluator = JournaledEvaluator(appraiser, executor, run)
        found = METHODS[method].search(appraiser, evaluator, settings, np.random.default_rng(seed))
    network = supernet.extract(found.best.genotype)
    recalibrate(network, objective.calibration())
    test = measure_segmentation(network, data.test, len(data.classes)).mean_iou
    assert appraiser.budget is not None
    row = {
        **found.best.to_json(),
        "limit_ms": appraiser.budget.limit_ms,
        "test": test,
        "mean": float(np.mean([one.accuracy for one in found.evaluated])),
        "search_cpu_s": sum(float(one.cost["cpu_s"]) for one in found.evaluated),
    }
    print(json.dumps(row), flush=True)
    return row


def searches(options: argparse.Namespace) -> dict[str, Any]:
    """Evolution and random search in the supernet of the first sampling."""
    figures: dict[str, Any] = {}
    for method in ("scalenas", "random"):
        rows = [search_in(options, method, seed, options.share) for seed in options.seeds]
        figures[method] = {"rows": rows, "test": mean_and_spread([row["test"] for row in rows])}
    return figures


def budgets(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One supernet, several budgets, no further training."""
    space = space_of(options, data_of(options))
    rows = []
    for share in options.shares:
        row = search_in(options, "scalenas", options.seeds[0], share)
        rows.append({**row, "measured_ms": measure_untrained(space.plan(row["genotype"]))})
    return rows


def alone(options: argparse.Namespace) -> dict[str, Any]:
    """Networks of the front trained alone, and how well each supernet ranks them."""
    everything = front(space_of(options, data_of(options)))
    genotypes = [one for index, one in enumerate(everything) if index % len(DENSITIES) % 2 == 0]
    rows = train_alone(options, [(one, options.seeds[0]) for one in genotypes])
    scores = scores_of(options, genotypes)
    return {
        "networks": rows,
        "spearman": {
            part: {
                sampling: rank_correlations([row[part] for row in rows], each)
                for sampling, each in scores.items()
            }
            for part in ("validation", "test")
        },
    }


def regular(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The searches' answers and the HRNets of each depth, trained alone and measured."""
    space = space_of(options, data_of(options))
    answers = [
        search_in(options, "scalenas", seed, options.share)["genotype"] for seed in options.seeds
    ]
    hrnets = [space.regular(depth) for depth in range(space.min_depth, space.max_depth + 1)]
    jobs = [*zip(answers, options.seeds, strict=True)]
    jobs += [(one, seed) for one in hrnets for seed in options.seeds]
    rows = train_alone(options, jobs)
    measured = {one: measure_untrained(space.plan(one)) for one, _ in jobs}
    return [{**row, "measured_ms": measured[row["genotype"]]} for row in rows]


if __name__ == "__main__":
    main()
