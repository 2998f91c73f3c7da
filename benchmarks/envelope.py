"""SwiftNets that GRAM found against the upper envelope of MobileNetV2 and V3-small.

    python benchmarks/envelope.py runs/swiftnet/gram-* --data cifar10_jpeg75.tar.xz -o results.json

Every MobileNet of the grid (widths, stem strides, resolution schedules, heads) is measured on this
machine. Those within ``--reach-ms`` are screened with a short training; those that no network as
fast beats by more than ``--margin`` are trained like the SwiftNets. Of these, the networks that
none as fast surpasses are the envelope.

Everything is kept in run folders, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from machine import report
from run_folders import cost_of, fewer, given, measure, measure_untrained, train_all

from latency_tables.budget import Budget
from latency_tables.store import load_table
from latency_tables.table import LatencyTable
from toolchain.config import config_from_json
from toolchain.evaluation import JournaledEvaluator, ProxyTraining, prepare
from toolchain.executors import ProcessExecutor
from toolchain.kinds.classification import data_of
from toolchain.kinds.table import open_task
from toolchain.methods.candidate import Appraiser
from toolchain.run_dir import TABLE, RunDirectory
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.tasks.classification import ClassificationData
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings

BASELINES = MobileNetSpace(widths=(0.25, 0.35, 0.5, 0.75))


def main() -> None:
    """Train both sides and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", nargs="+", type=Path, help="run folders of searches")
    parser.add_argument("--task", default="image-folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/envelope"))
    parser.add_argument("--grid", default="*", help="MobileNets to look at, such as *-h")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--train-per-class", type=int, help="images of each class; else all")
    parser.add_argument("--reach-ms", type=float, nargs=2, default=[0.0, 0.6])
    parser.add_argument("--margin", type=float, default=0.02)
    parser.add_argument("--screen-epochs", type=int, default=2)
    parser.add_argument("--screen-per-class", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    data = data_of(open_task(options.task, options.data))
    if options.train_per_class:
        data = replace(data, train=fewer(data, options.train_per_class))
    measured_ms = measure_grid(options.folder)
    screened = screen(options, data, measured_ms)
    kept = contenders(screened, measured_ms, options.margin)
    print(f"{len(kept)} of {len(screened)} networks may be on the envelope", flush=True)
    swiftnets = train_answers(options, data)
    mobilenets = train_grid(options, data, kept)
    figures = {
        "data": data.name,
        "swiftnets": swiftnets,
        "grid_measured_ms": measured_ms,
        "screened_accuracy": screened,
        "mobilenets": mobilenets,
        "comparison": compare_with_families(swiftnets, mobilenets),
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    report("SwiftNets against the envelope of the MobileNets", figures, options.output)


def train_answers(options: argparse.Namespace, data: ClassificationData) -> list[dict[str, Any]]:
    """The answers of the searches, trained as long as everything else here."""
    rows = []
    for origin in options.answers:
        run = RunDirectory.open(origin)
        config = replace(
            config_from_json(run.config), training=TrainSettings(epochs=options.epochs)
        )
        path = options.folder / origin.name
        table = load_table(run.path / TABLE)
        given(path, config, table, run.read_json("search.json")["best"]["genotype"])
        rows.append((path, table, config.budget))
    train_all([path for path, *_ in rows], data, options.workers)
    return [figures_of(path, table, budget) for path, table, budget in rows]


def figures_of(path: Path, table: LatencyTable | None, budget: Budget | None) -> dict[str, Any]:
    """What was measured of a trained run's answer."""
    row = measure(path, table, budget)
    return {**row, "accuracy": row["test_accuracy"]}


def measure_grid(folder: Path) -> dict[str, float]:
    """Measured ms of every MobileNet of the grid, with random weights."""
    path = folder / "measured.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    for genotype in BASELINES.witnesses():
        if genotype not in known:
            known[genotype] = measure_untrained(BASELINES.plan(genotype))
            path.write_text(json.dumps(known))
    return known


def screen(
    options: argparse.Namespace,
    data: ClassificationData,
    measured_ms: Mapping[str, float],
) -> dict[str, float]:
    """Validation accuracy after a short training of the networks within the reach."""
    settings = ProxySettings(
        training=TrainSettings(epochs=options.screen_epochs),
        train_per_class=options.screen_per_class,
        validation_per_class=500,
        patience_epochs=options.screen_epochs,
    )
    training, validation = settings.draw(data, seed=0)
    job = ProxyTraining(
        space=BASELINES, training=training, validation=validation, settings=settings, seed=0
    )
    run = RunDirectory.create(options.folder / "screen", {}, resume=True)
    least_ms, most_ms = options.reach_ms
    within = [
        one
        for one, ms in measured_ms.items()
        if least_ms <= ms <= most_ms and fnmatch(one, options.grid)
    ]
    with ProcessExecutor(options.workers, partial(prepare, job)) as executor:
        evaluator = JournaledEvaluator(Appraiser(space=BASELINES), executor, run)
        return {one.genotype: one.accuracy for one in evaluator(within)}


def contenders(
    accuracy: Mapping[str, float], measured_ms: Mapping[str, float], margin: float
) -> list[str]:
    """Networks that none as fast beats by more than a margin, the fastest first."""
    kept = []
    best = -math.inf
    for genotype in sorted(accuracy, key=lambda one: measured_ms[one]):
        best = max(best, accuracy[genotype])
        if accuracy[genotype] >= best - margin:
            kept.append(genotype)
    return kept


def train_grid(
    options: argparse.Namespace, data: ClassificationData, genotypes: Sequence[str]
) -> list[dict[str, Any]]:
    """MobileNets trained as the SwiftNets were, and measured."""
    origin = config_from_json(RunDirectory.open(options.answers[0]).config)
    config = replace(
        origin, space=BASELINES, budget=None, training=TrainSettings(epochs=options.epochs), seed=0
    )
    paths = [options.folder / genotype for genotype in genotypes]
    for path, genotype in zip(paths, genotypes, strict=True):
        given(path, config, None, genotype)
    train_all(paths, data, options.workers)
    return [figures_of(path, None, None) for path in paths]


def compare_with_families(
    swiftnets: Sequence[Mapping[str, Any]], mobilenets: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Every SwiftNet against all MobileNets, and against those of each family alone."""
    families = {"all": "", "MobileNetV2": "v2-", "MobileNetV3-small": "v3s-"}
    return {
        family: [
            compare(row, [one for one in mobilenets if one["genotype"].startswith(prefix)])
            for row in swiftnets
        ]
        for family, prefix in families.items()
    }


def compare(
    swiftnet: Mapping[str, Any], mobilenets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How much slower and larger a MobileNet of equal accuracy is, read off the envelope.

    Where no MobileNet is as accurate, the most accurate stands in, and the ratios are bounds.
    """
    accuracy = swiftnet["accuracy"]
    return {
        "genotype": swiftnet["genotype"],
        "accuracy": accuracy,
        "is_lower_bound": accuracy > max(one["accuracy"] for one in mobilenets),
        **{
            f"times_{cost}": cost_of(accuracy, mobilenets, cost) / swiftnet[cost]
            for cost in ("measured_ms", "params", "macs")
        },
    }


if __name__ == "__main__":
    main()
