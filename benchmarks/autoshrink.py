"""AutoShrink against random search: same space, table, budget, proxy and number of evaluations.

    python benchmarks/autoshrink.py --data cifar10_jpeg75.tar.xz --seeds 0 1 2 -o results.json

For each seed AutoShrink searches in budget mode; random search then gets exactly as many
evaluations; both answers are trained alike in full and tested once on the test set. Everything is
kept in run folders, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import report, spread
from run_folders import host_table

from latency_tables.budget import Budget
from latency_tables.table import LatencyTable
from toolchain import pipeline
from toolchain.config import RunConfig
from toolchain.kinds.classification import Classification, data_of
from toolchain.kinds.table import open_task
from toolchain.methods.method import make_settings
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.tasks.classification import ClassificationData
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings

SPACE = ShrinkCnnSpace(base_width=8, stem_channels=16)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="image-folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/autoshrink"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget-ms", type=float, default=0.15)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--train-per-class", type=int, default=150)
    parser.add_argument("--validation-per-class", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    data = data_of(open_task(options.task, options.data))
    table = host_table(SPACE, options.folder / "host.table")
    pairs = []
    for seed in options.seeds:
        shrink = _run(options, "autoshrink", seed, data, table, {})
        random = _run(options, "random", seed, data, table, {"evaluations": shrink["evaluations"]})
        pairs.append({"seed": seed, "autoshrink": shrink, "random": random})
        print(json.dumps(pairs[-1]), flush=True)
    figures = {
        "data": data.name,
        "budget_ms": options.budget_ms,
        "pairs": pairs,
        "test_accuracy_difference": spread(
            [one["autoshrink"]["test_accuracy"] - one["random"]["test_accuracy"] for one in pairs]
        ),
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    report("autoshrink against random search", figures, options.output)


def _run(
    options: argparse.Namespace,
    method: str,
    seed: int,
    data: ClassificationData,
    table: LatencyTable,
    settings: dict[str, Any],
) -> dict[str, Any]:
    if method == "autoshrink":
        settings = {"candidates_per_step": options.candidates}
    proxy = replace(
        ProxySettings.quick(),
        train_per_class=options.train_per_class,
        validation_per_class=options.validation_per_class,
    )
    config = RunConfig(
        task=options.task,
        data=str(options.data),
        image_size=None,
        space=SPACE,
        method=method,
        method_settings=make_settings(method, settings),
        proxy=proxy,
        training=TrainSettings(epochs=options.epochs),
        budget=Budget(limit_ms=options.budget_ms),
        seed=seed,
    )
    appraiser = pipeline.make_appraiser(config, table)
    path = options.folder / f"{method}-{seed}"
    run = pipeline.open_run(path, config, table, resume=True)
    with run.locked():
        task = Classification(data)
        found = pipeline.search(run, config, appraiser, task, workers=options.workers)
        for _ in pipeline.train_network(run, config, found["best"]["genotype"], task):
            pass
    return {
        "genotype": found["best"]["genotype"],
        "evaluations": found["evaluations"],
        "search_cpu_s": found["cpu_s"],
        "proxy_accuracy": found["best"]["metric"],
        "predicted_ms": found["best"]["p50_ms"],
        "macs": found["best"]["macs"],
        "test_accuracy": run.read_json(pipeline.TEST)["accuracy"],
    }


if __name__ == "__main__":
    main()
