"""Small tasks of every kind, and runs of them that take seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from made_up import middle_ms, table_of

from latency_tables.budget import Budget
from toolchain import pipeline
from toolchain.config import RunConfig, make_config
from toolchain.kinds.classification import Classification
from toolchain.kinds.image_task import ImageTask
from toolchain.kinds.table import make_task_settings, open_task
from toolchain.methods.candidate import Appraiser
from toolchain.run_dir import RunDirectory
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space, make_space

CHOICES: Mapping[str, tuple[str, int | tuple[int, int] | None, dict[str, Any]]] = {
    "segmentation": ("people-and-shapes", 32, {"scenes": (40, 16, 12)}),
    "top-down": ("stick-people", (48, 32), {"scenes": (40, 16, 12)}),
    "bottom-up": ("stick-people", 32, {"scenes": (40, 16, 12), "approach": "bottom-up"}),
}
"""Task, image size and choices of every kind that can share weights."""

OUTLINE = {"modules": (1, 1), "max_depth": 2, "stem_channels": 8, "stem_blocks": 0}
STOPPED = "stopped"
FINE = ["batch_size=8"]
SUPERNET = ["teacher_steps=8", "steps=12", "batch_size=8", "report_steps=3"]


def small_task(kind: str) -> ImageTask:
    """A task of drawn scenes."""
    name, size, choices = CHOICES[kind]
    task = open_task(name, None, size, make_task_settings(name, choices))
    assert isinstance(task, ImageTask)
    return task


def small_space(task: ImageTask) -> Space:
    """A space of few, small networks that is fitted to the task."""
    if isinstance(task, Classification):
        outline = {"nodes": 4, "stem_channels": 4, "base_width": 4, "scales": (1, 2)}
        outline |= {"replicate": (1, 1), "pools": (1, 2)}
        return make_space("shrinkcnn", {**outline, **task.fitted(ShrinkCnnSpace())})
    return make_space("scalenet", {**OUTLINE, **task.fitted(ScaleNetSpace())})


def shared_config(kind: str = "segmentation", **changes: Any) -> RunConfig:
    """A search with a supernet that is trained for twenty steps."""
    name, size, choices = CHOICES[kind]
    space = small_space(small_task(kind))
    arguments: dict[str, Any] = {
        "space": space,
        "budget": Budget(limit_ms=middle_ms(space)),
        "seed": 5,
        "task": name,
        "task_set": [f"{key}={value}" for key, value in choices.items()],
        "data": None,
        "image_size": size,
        "method": "scalenas",
        "method_set": ["evaluations=6", "population=4", "parents=2"],
        "proxy": "quick",
        "proxy_set": [],
        "epochs": None,
        "train_set": [],
        "supernet_set": SUPERNET,
    }
    return make_config(**{**arguments, **changes})


def start_shared(
    path: Path, *, resume: bool = False, **changes: Any
) -> tuple[RunDirectory, RunConfig, Appraiser]:
    """The folder of a search, and what it needs besides the task."""
    config = shared_config(**changes)
    table = table_of(config.space)
    run = pipeline.open_run(path, config, table, resume=resume)
    return run, config, pipeline.make_appraiser(config, table)


def stop_shared(stage: str, path: Path, after: int) -> None:
    """Train the supernet, search or train on until so much is done, then wait for the end.

    That it has come so far is told by a file in the run's folder.
    """
    run, config, appraiser = start_shared(path, resume=True, epochs=2, train_set=FINE)
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == after:
            (run.path / STOPPED).touch()
            time.sleep(60)

    told: dict[str, Any] = {}
    if stage in ("supernet", "search"):
        told = {"on_supernet_step" if stage == "supernet" else "on_candidate": count}
    task = small_task("segmentation")
    found = pipeline.search(run, config, appraiser, task, workers=1, **told)
    genotype = found["best"]["genotype"]
    list(pipeline.train_network(run, config, genotype, task, on_step=count))
