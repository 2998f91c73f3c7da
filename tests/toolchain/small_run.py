"""A run small enough to do whole in seconds, and a way to stop it where it is to be killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_up import middle_ms, table_of

from latency_tables.budget import Budget
from toolchain import pipeline
from toolchain.config import RunConfig, make_config
from toolchain.kinds.classification import Classification
from toolchain.methods.candidate import Appraiser
from toolchain.run_dir import RunDirectory
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.tasks.classification import ClassificationData, assemble

CLASSES = 3
TRAIN_PER_CLASS = 40
TEST_PER_CLASS = 10
STOPPED = "stopped"
GENOTYPE = "s0.s0.c012"
METHOD_SETTINGS = {
    "autoshrink": ["candidates_per_step=3"],
    "gram": ["evaluations=9", "warm_up=4", "chains=2"],
    "random": ["evaluations=9"],
}

SPACE = ShrinkCnnSpace(
    nodes=4,
    input_shape=(1, 8, 8),
    classes=CLASSES,
    stem_channels=4,
    base_width=4,
    scales=(1, 2),
    replicate=(1, 1),
    pools=(1, 2),
)
SWIFTNET = SwiftNetSpace(
    nodes=(5, 5),
    input_shape=(1, 8, 8),
    classes=CLASSES,
    stem_channels=4,
    stem_stride=1,
    stem_width=0,
    widths=(4, 8),
    outputs=(8, 8),
)


def space_of(method: str) -> ShrinkCnnSpace | SwiftNetSpace:
    """The space that a method searches."""
    return SWIFTNET if method == "gram" else SPACE


def make_data() -> ClassificationData:
    """Noise with a bright bar on the left; the class is its width."""
    rng = np.random.default_rng(0)

    def draw(per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.tile(np.arange(CLASSES), per_class)
        images = rng.integers(0, 200, (len(labels), 1, 8, 8), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, :, : 2 * label] += 55
        return torch.from_numpy(images), torch.from_numpy(labels)

    return assemble(
        "bars",
        train=draw(TRAIN_PER_CLASS),
        test=draw(TEST_PER_CLASS),
        classes=tuple(f"width {2 * label}" for label in range(CLASSES)),
    )


def make_task() -> Classification:
    """These images as a task."""
    return Classification(make_data())


def small_config(method: str = "autoshrink", **changes: Any) -> RunConfig:
    space = space_of(method)
    arguments: dict[str, Any] = {
        "space": space,
        "budget": Budget(limit_ms=middle_ms(space)),
        "seed": 5,
        "task": "fashion-mnist",
        "data": None,
        "image_size": None,
        "method": method,
        "method_set": METHOD_SETTINGS.get(method, ()),
        "proxy": "quick",
        "proxy_set": [
            "train_per_class=20", "validation_per_class=15", "training.epochs=1",
            "training.batch_size=12",
        ],
        "epochs": 3,
        "train_set": ["batch_size=16", "augment=none"],
    }  # fmt: skip
    return make_config(**{**arguments, **changes})


def start(
    path: Path, method: str, *, resume: bool = False
) -> tuple[RunDirectory, RunConfig, Appraiser]:
    """The folder of a search, and what it needs besides the data."""
    config, table = small_config(method), table_of(space_of(method))
    run = pipeline.open_run(path, config, table, resume=resume)
    return run, config, pipeline.make_appraiser(config, table)


def stop_in(stage: str, path: Path, method: str, *, workers: int, after: int) -> None:
    """Search or train until so many candidates or gradient steps are done, then wait for the end.

    That it has come so far is told by a file in the run's folder.
    """
    run, config, appraiser = start(path, method, resume=True)
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == after:
            (run.path / STOPPED).touch()
            time.sleep(60)

    task = make_task()
    if stage == "search":
        pipeline.search(run, config, appraiser, task, workers=workers, on_candidate=count)
    else:
        list(pipeline.train_network(run, config, GENOTYPE, task, on_step=count))
