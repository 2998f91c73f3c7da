"""ShrinkCNN against MobileNetV2 at comparable accuracy: parameters, MACs and measured ms.

    python benchmarks/shrinkcnn.py --data cifar10_jpeg75.tar.xz -o results.json
    python benchmarks/shrinkcnn.py runs/autoshrink/autoshrink-* --data cifar10_jpeg75.tar.xz

The answer of each search given, or without any the published cell in an outline for small images,
is made narrower and wider; MobileNetV2 has several width multipliers. All are trained alike,
exported and measured on this machine. Of the MobileNets, those that no smaller one surpasses give
the cost of an accuracy: between two of them the logarithm of the cost is linear in it.

Everything is kept in run folders, so that the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from machine import report
from run_folders import cost_of, fewer, given, mean_and_spread, measure, train_all

from toolchain import pipeline
from toolchain.config import RunConfig, config_from_json
from toolchain.kinds.classification import data_of
from toolchain.kinds.table import open_task
from toolchain.methods.method import make_settings
from toolchain.run_dir import RunDirectory
from toolchain.scaling import describe_outline, outlines, require_cell
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.tasks.classification import ClassificationData
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings
from toolchain.zoo import SHRINKCNN_CELL

PUBLISHED = ShrinkCnnSpace(stem_channels=16, base_width=8, replicate=(1, 2, 2))
"""Outline of the published cell for images of 32x32."""

COSTS = ("params", "macs", "measured_ms")


def main() -> None:
    """Train both sides and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("searches", nargs="*", type=Path, help="run folders; else the published")
    parser.add_argument("--task", default="image-folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/shrinkcnn"))
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 0.7, 1.0, 1.4, 2.0])
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 0.35, 0.5, 0.75])
    parser.add_argument("--grid", nargs="+", default=["v2-*-s1-d3", "v2-*-s1-d3-h"])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--train-per-class", type=int, help="images of each class; else all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    data = data_of(open_task(options.task, options.data))
    if options.train_per_class:
        data = replace(data, train=fewer(data, options.train_per_class))
    shrinkcnns = trained(options, data, list(cells(options, data)))
    mobilenets = trained(options, data, list(grid(options, data)))
    figures = {
        "data": data.name,
        "shrinkcnns": shrinkcnns,
        "mobilenets": mobilenets,
        "comparison": [compare(row, mobilenets) for row in shrinkcnns],
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    report("ShrinkCNN against MobileNetV2", figures, options.output)


def cells(
    options: argparse.Namespace, data: ClassificationData
) -> Iterator[tuple[str, ImageSpace, str]]:
    """The cells in outlines of every width: name, space and genotype."""
    found = {"published": (PUBLISHED, SHRINKCNN_CELL)}
    if options.searches:
        runs = [RunDirectory.open(path) for path in options.searches]
        found = {
            run.path.resolve().name: (
                require_cell(config_from_json(run.config).space),
                str(pipeline.found(run)["best"]["genotype"]),
            )
            for run in runs
        }
    for name, (space, genotype) in found.items():
        own = replace(space, input_shape=data.input_shape, classes=len(data.classes))
        for outline in outlines(own, options.scales, [own.replicate]):
            yield f"{name}, {describe_outline(outline)}", outline, genotype


def grid(
    options: argparse.Namespace, data: ClassificationData
) -> Iterator[tuple[str, ImageSpace, str]]:
    """The MobileNets: name, space and genotype."""
    space = MobileNetSpace(
        input_shape=data.input_shape, classes=len(data.classes), widths=tuple(options.widths)
    )
    for genotype in space.witnesses():
        if any(fnmatch(genotype, pattern) for pattern in options.grid):
            yield genotype, space, genotype


def trained(
    options: argparse.Namespace,
    data: ClassificationData,
    networks: Sequence[tuple[str, ImageSpace, str]],
) -> list[dict[str, Any]]:
    """Figures of every network, its accuracy the mean over the seeds."""
    paths: dict[str, list[Path]] = {}
    for name, space, genotype in networks:
        folder = name.replace(", ", "-").replace(" ", "-")
        paths[name] = [options.folder / f"{folder}-{seed}" for seed in options.seeds]
        for seed, path in zip(options.seeds, paths[name], strict=True):
            given(path, _config(options, space, seed), None, genotype)
    train_all([path for each in paths.values() for path in each], data, options.workers)
    rows = []
    for name, each in paths.items():
        measured = [measure(path, None, None) for path in each]
        accuracy = mean_and_spread([one["test_accuracy"] for one in measured])
        measured_ms = float(np.median([one["measured_ms"] for one in measured]))
        size = {"params": measured[0]["params"], "macs": measured[0]["macs"]}
        rows.append(
            {
                "name": name,
                "genotype": measured[0]["genotype"],
                "accuracy": accuracy["mean"],
                "accuracies": accuracy,
                "measured_ms": measured_ms,
                **size,
            }
        )
    return rows


def compare(
    shrinkcnn: Mapping[str, Any], mobilenets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a network saves of each cost of a MobileNet of its accuracy, as a share.

    Where no MobileNet is as accurate, the most accurate stands in, and the shares are lower
    bounds; where all are more accurate, the least accurate does, and they are upper bounds.
    """
    accuracies = [one["accuracy"] for one in mobilenets]
    saved = {
        cost: 1 - shrinkcnn[cost] / cost_of(shrinkcnn["accuracy"], mobilenets, cost)
        for cost in COSTS
    }
    return {
        "name": shrinkcnn["name"],
        "accuracy": shrinkcnn["accuracy"],
        "is_lower_bound": shrinkcnn["accuracy"] > max(accuracies),
        "is_upper_bound": shrinkcnn["accuracy"] < min(accuracies),
        "saved": saved,
    }


def _config(options: argparse.Namespace, space: ImageSpace, seed: int) -> RunConfig:
    return RunConfig(
        task=options.task,
        data=str(options.data.resolve()),
        image_size=None,
        space=space,
        method="random",
        method_settings=make_settings("random", {}),
        proxy=ProxySettings.quick(),
        training=TrainSettings(epochs=options.epochs),
        budget=None,
        seed=seed,
    )


if __name__ == "__main__":
    main()
