"""GRAM against random search and evolution, its ablations and its family.

    python benchmarks/swiftnet.py --data cifar10_jpeg75.tar.xz --seeds 0 1 2 -o results.json

Same space, table, budget, proxy and number of evaluations for every method; every answer is
trained alike in full, exported, and measured on this machine. Parts:

    search      gram, random, evolution, and GRAM without parts of itself, for every seed
    family      networks for five budgets pruned from each seed's meta-graph; beside them the
                budget's answer scaled in width, and networks pruned at random

Everything is kept in run folders, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import report
from run_folders import given, host_table, mean_and_spread, measure, search, train_all

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.family import meta_graph_of, prune_to_budget
from toolchain.kinds.classification import data_of
from toolchain.kinds.table import open_task
from toolchain.methods.candidate import Appraiser
from toolchain.methods.meta_graph import MetaGraph
from toolchain.methods.method import make_settings
from toolchain.run_dir import RunDirectory
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.tasks.classification import ClassificationData
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings

SPACE = SwiftNetSpace(nodes=(16, 16, 16))
FAMILY = (0.55, 0.65, 0.75, 0.85, 1.0)
"""Budgets of the family, as shares of the search's."""

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gram": ("gram", {}),
    "random": ("random", {}),
    "evolution": ("evolution", {}),
    "gram, random sampler": ("gram", {"sampler": "random"}),
    "gram, no propagation": ("gram", {"propagation": 0.0}),
    "gram, far foresight": ("gram", {"foresight": 32}),
    "gram, no trend": ("gram", {"smoothing": 0.0, "foresight": 1}),
}
"""Method and settings by the name in the results."""


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="image-folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/swiftnet"))
    parser.add_argument("--parts", nargs="+", default=["search", "family"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget-ms", type=float, default=0.1)
    parser.add_argument("--fill", type=float, default=0.85)
    parser.add_argument("--evaluations", type=int, default=120)
    parser.add_argument("--warm-up", type=int, default=40)
    parser.add_argument("--train-per-class", type=int, default=400)
    parser.add_argument("--validation-per-class", type=int, default=200)
    parser.add_argument("--proxy-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    data = data_of(open_task(options.task, options.data))
    parts = {"search": searches, "family": families}
    figures = {part: parts[part](options, data) for part in options.parts}
    figures["options"] = {key: str(value) for key, value in vars(options).items()}
    report("GRAM, its rivals and its family", {"data": data.name, **figures}, options.output)


def searches(options: argparse.Namespace, data: ClassificationData) -> dict[str, Any]:
    """Every method for every seed."""
    table = host_table(SPACE, options.folder / "swiftnet.table")
    paths = {
        (name, seed): options.folder / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        for seed in options.seeds
        for name in options.methods
    }
    for (name, seed), path in paths.items():
        search(path, _config(options, name, seed), table, data, options.workers)
        print(f"searched {path}", flush=True)
    train_all(list(paths.values()), data, options.workers)
    budget = Budget(limit_ms=options.budget_ms)
    found = {key: measure(path, table, budget) for key, path in paths.items()}
    results = {name: [found[name, seed] for seed in options.seeds] for name in options.methods}
    accuracies = {
        name: mean_and_spread([one["test_accuracy"] for one in rows])
        for name, rows in results.items()
    }
    return {"results": results, "test_accuracy": accuracies}


def families(options: argparse.Namespace, data: ClassificationData) -> list[dict[str, Any]]:
    """Members of each seed's family with what they compete with; needs the searches."""
    table = host_table(SPACE, options.folder / "swiftnet.table")
    rows = []
    for seed in options.seeds:
        config = _config(options, "gram", seed)
        run = RunDirectory.open(options.folder / f"gram-{seed}")
        answer = run.read_json("search.json")
        meta_graph = meta_graph_of(answer, run)
        for share in FAMILY:
            budget = Budget(limit_ms=options.budget_ms * share)
            own = replace(config, budget=budget)
            for kind, space, genotype in _members(own, table, meta_graph, answer, seed):
                path = options.folder / "family" / f"{kind}-{seed}-{share:g}"
                member_table = table
                if space != SPACE:
                    member_table = host_table(space, path.with_suffix(".table"))
                given(path, replace(own, space=space), member_table, genotype)
                rows.append((kind, seed, budget, path, member_table))
    train_all([path for *_, path, _ in rows], data, options.workers)
    return [
        {"kind": kind, "seed": seed, "budget_ms": budget.limit_ms, **measure(path, own, budget)}
        for kind, seed, budget, path, own in rows
    ]


def _members(
    config: RunConfig,
    table: LatencyTable,
    meta_graph: MetaGraph,
    answer: Mapping[str, Any],
    seed: int,
) -> Iterator[tuple[str, SwiftNetSpace, str]]:
    """Networks for one budget: pruned by weight, pruned at random, the answer made narrower."""
    model, budget = LatencyModel(table), config.budget
    appraiser = Appraiser(space=SPACE, model=model, budget=budget)
    yield "pruned", SPACE, prune_to_budget(meta_graph, appraiser).candidate.genotype
    by_weight = replace(meta_graph, answer=())
    yield "pruned-by-weight-alone", SPACE, prune_to_budget(by_weight, appraiser).candidate.genotype
    rng = np.random.default_rng([seed, 1])
    noise = tuple(rng.normal(size=weights.shape) for weights in meta_graph.weights)
    at_random = replace(meta_graph, weights=noise, answer=())
    yield "pruned-at-random", SPACE, prune_to_budget(at_random, appraiser).candidate.genotype
    limit_ms = appraiser.budget.limit_ms if appraiser.budget else 0.0
    scale = min(1.0, (limit_ms / answer["best"]["p95_ms"]) ** 0.5)  # MACs go with its square
    yield "narrowed", replace(SPACE, channel_scale=scale), answer["best"]["genotype"]


def _config(options: argparse.Namespace, name: str, seed: int) -> RunConfig:
    method, settings = METHODS[name]
    own = {"warm_up": options.warm_up, **settings} if method == "gram" else settings
    return RunConfig(
        task=options.task,
        data=str(options.data),
        image_size=None,
        space=SPACE,
        method=method,
        method_settings=make_settings(method, {"evaluations": options.evaluations, **own}),
        proxy=replace(
            ProxySettings.quick(),
            training=replace(ProxySettings.quick().training, epochs=options.proxy_epochs),
            train_per_class=options.train_per_class,
            validation_per_class=options.validation_per_class,
        ),
        training=TrainSettings(epochs=options.epochs),
        budget=Budget(limit_ms=options.budget_ms, fill=options.fill),
        seed=seed,
    )


if __name__ == "__main__":
    main()
