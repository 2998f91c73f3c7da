"""Train the weights that the networks of a ScaleNet space share.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, sections 3.3 and 4.1. First the largest
network alone (``sampling="largest"``): the teacher. Then one drawn network a step, taught by the
labels and by the frozen teacher's outputs.

Several processes may share the work (`distributed.py`): all train the same network in a step,
each on its part of the batch.

Every step is a function of the state before it, the seed and its own number, so that a training
that was stopped goes on exactly.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from toolchain.module import GraphModule
from toolchain.train.checkpoint import load_checkpoint, save_checkpoint
from toolchain.train.distributed import mean_over_processes, place, shared_training
from toolchain.train.gradient_step import adam, gradient_step, require_step_settings
from toolchain.train.objective import Objective
from toolchain.train.sub_networks import SAMPLINGS
from toolchain.train.supernet import Supernet, recalibrate


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """How to train a supernet.

    Attributes:
        steps: Gradient steps, each of one network.
        batch_size: Images of a step, over all processes.
        learning_rate: Of Adam, at first; see `gradient_step.py`.
        weight_decay: L2 term added to the gradient of every weight.
        clip_norm: Largest norm of a step's gradient.
        sampling: A name of ``SAMPLINGS``: which networks are trained.
        distillation: Weight of the squared distance to the teacher's outputs (alpha of the
            paper, 1 there and 0.5 in its code), beside the loss.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    sampling: str = "grouped"
    distillation: float = 1.0

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling is one of {', '.join(SAMPLINGS)}, got {self.sampling!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")
        require_step_settings(self)
        if not self.distillation >= 0:
            raise ValueError(f"distillation must be 0 or more, got {self.distillation}")


@dataclass(frozen=True, kw_only=True)
class SupernetReport:
    """What some steps brought.

    Attributes:
        step: Steps done by then.
        loss: Mean loss of these steps, distillation included.
        seconds: Wall time of these steps.
    """

    step: int
    loss: float
    seconds: float


def train_supernet(
    supernet: Supernet,
    objective: Objective,
    settings: SupernetSettings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    every: int = 100,
    on_step: Callable[[int, float], None] | None = None,
) -> Iterator[SupernetReport]:
    """Train from the weights that the supernet has; one report every so many steps.

    Args:
        supernet: Trained in place, on the device that it is on.
        objective: What for.
        settings: The recipe.
        seed: Chooses networks, order and augmentation of the images.
        teacher: Its outputs are learned from too; none when None. Not changed.
        checkpoint: File to keep the state in at each report; none is kept when None.
        resume: Go on from `checkpoint` if it exists.
        every: Steps of a report.
        on_step: Called after each step with its number, from 1, and its loss.

    Raises:
        CheckpointUnusable: The checkpoint cannot be read or belongs to another training.
        TrainingDiverged: The loss is infinite or not a number.
    """
    optimizer = adam(supernet, settings)
    done = 0
    if checkpoint is not None and resume and checkpoint.exists():
        done = load_checkpoint(checkpoint, supernet, optimizer, settings=settings, seed=seed)
    network = shared_training(supernet)
    start_s, losses = time.perf_counter(), []
    for step in range(done, settings.steps):
        supernet.choose(SAMPLINGS[settings.sampling](supernet.space, step, seed))
        loss = gradient_step(
            network, optimizer, objective, settings, seed=seed, step=step, steps=settings.steps,
            teacher=teacher, distillation=settings.distillation,
        )  # fmt: skip
        losses.append(loss)
        if on_step is not None:
            on_step(step + 1, loss)
        if (step + 1) % every and step + 1 < settings.steps:
            continue
        if checkpoint is not None and place()[0] == 0:
            save_checkpoint(
                checkpoint, supernet, optimizer, epochs_done=step + 1, settings=settings, seed=seed
            )
        seconds = time.perf_counter() - start_s
        mean_loss = mean_over_processes(sum(losses) / len(losses))
        yield SupernetReport(step=step + 1, loss=mean_loss, seconds=seconds)
        start_s, losses = time.perf_counter(), []


def frozen_teacher(supernet: Supernet) -> GraphModule:
    """A copy of the largest network as it is now, to teach the others."""
    teacher = copy.deepcopy(supernet.extract(supernet.space.largest())).eval()
    return teacher.requires_grad_(False)


def score(supernet: Supernet, genotype: str, objective: Objective) -> float:
    """Quality of a network with the shared weights, more is better; the supernet is not changed.

    Its batch norms get statistics of their own first: the shared ones mix all networks.
    """
    network = supernet.extract(genotype)
    recalibrate(network, objective.calibration())
    return objective.score(network.eval())
