"""Whether both ways to find people can learn a few photographs by heart: plumbing, not accuracy.

    python benchmarks/pose.py --data coco_persons.tar -o results.json

A small ScaleNet is trained on the first images of COCO's training part with people whose keypoints
are labelled, and scored by COCO's AP on these same images. Coordinates, heatmaps, tags, grouping,
the way back to the original image and the scores must all be right for it to come near 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import report

from toolchain.kinds.objective_task import initialize_fitting
from toolchain.kinds.pose import Pose, PoseSettings
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.coco_keypoints import load_coco_keypoints
from toolchain.tasks.pose import PoseData, labelled_persons
from toolchain.train.fitting import FitSettings, fit
from toolchain.train.pose_objective import measure_pose

SIZES = {"top-down": (128, 96), "bottom-up": (192, 192)}
LONGER_SIDE = 320


def main() -> None:
    """Train both ways with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="COCO keypoints")
    parser.add_argument("--approaches", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = few(load_coco_keypoints(options.data, LONGER_SIDE), options.images)
    rows = [
        learn_by_heart(data, approach, seed, options)
        for approach in options.approaches
        for seed in options.seeds
    ]
    figures = {
        "images": [image.number for image in data.train],
        "persons": len(labelled_persons(data.train)),
        "options": {key: str(value) for key, value in vars(options).items()},
        "rows": rows,
    }
    report("pose, learned by heart", figures, options.output)


def few(data: PoseData, images: int) -> PoseData:
    """The first training images with labelled people, to train and to score on."""
    kept = tuple([image for image in data.train if labelled_persons([image])][:images])
    return replace(data, train=kept, validation=kept, test=kept)


def learn_by_heart(
    data: PoseData, approach: Any, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one network and score it on what it was trained on."""
    task = Pose(
        data=data,
        settings=PoseSettings(approach=approach, augment="none", half_bodies=0.0),
        size=SIZES[approach],
    )
    space = ScaleNetSpace(
        input_shape=task.input_shape, classes=task.classes, head=task.head, width=options.width
    )
    objective = task.objective(seed)
    settings = FitSettings(epochs=options.epochs, batch_size=options.images, weight_decay=0.0)
    module = GraphModule(space.decode(largest(space)))
    initialize_fitting(module, task.near_zero, seed)
    curve = []
    for epoch in fit(module, objective, settings, seed=seed):
        curve.append(round(epoch.validation_score, 4))
        if epoch.epoch % 10 == 0:
            loss = f"loss {epoch.train_loss:.4f}"
            print(f"{approach} epoch {epoch.epoch}: {loss}, AP {curve[-1]:.1%}", flush=True)
    scores = measure_pose(module, data.test, task.approach, task.normalization)
    return {
        "approach": approach,
        "seed": seed,
        "size": SIZES[approach],
        "examples": objective.images,
        "ap": scores.ap,
        "ap50": scores.ap50,
        "ap75": scores.ap75,
        "first_epoch_over_0.9": next((i + 1 for i, ap in enumerate(curve) if ap > 0.9), None),
        "curve": curve[9::10],
    }


def largest(space: ScaleNetSpace) -> str:
    """The network of the space with most multiply-accumulates among its witnesses."""
    genotypes: Sequence[str] = list(space.witnesses())
    return max(genotypes, key=lambda one: space.counts(one).macs)


if __name__ == "__main__":
    main()
