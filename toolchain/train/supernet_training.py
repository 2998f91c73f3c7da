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
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.errors import TrainingDiverged
from toolchain.module import GraphModule
from toolchain.train.checkpoint import load_checkpoint, save_checkpoint
from toolchain.train.distributed import mean_over_processes, place, shared_training
from toolchain.train.objective import Objective
from toolchain.train.recipe import derived_seed
from toolchain.train.sub_networks import SAMPLINGS
from toolchain.train.supernet import Supernet, recalibrate


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """How to train a supernet.

    Attributes:
        steps: Gradient steps, each of one network.
        batch_size: Images of a step, over all processes.
        learning_rate: Of Adam, at first; it falls with the share of the steps left to the power
            0.9, as in the authors' code.
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
        if self.steps < 1 or self.batch_size < 2:
            raise ValueError(
                "steps must be 1 or more and batch_size 2 or more, got "
                f"{self.steps} and {self.batch_size}"
            )
        if not (self.learning_rate > 0 and self.clip_norm > 0):
            raise ValueError(
                "learning_rate and clip_norm must be more than 0, got "
                f"{self.learning_rate} and {self.clip_norm}"
            )
        if not (self.weight_decay >= 0 and self.distillation >= 0):
            raise ValueError(
                "weight_decay and distillation must be 0 or more, got "
                f"{self.weight_decay} and {self.distillation}"
            )


POLY_POWER = 0.9


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

    Raises:
        CheckpointUnusable: The checkpoint cannot be read or belongs to another training.
        TrainingDiverged: The loss is infinite or not a number.
    """
    optimizer = torch.optim.Adam(
        supernet.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    done = 0
    if checkpoint is not None and resume and checkpoint.exists():
        done = load_checkpoint(checkpoint, supernet, optimizer, settings=settings, seed=seed)
    network = shared_training(supernet)
    start_s, losses = time.perf_counter(), []
    for step in range(done, settings.steps):
        supernet.choose(SAMPLINGS[settings.sampling](supernet.space, step, seed))
        losses.append(_step(network, optimizer, objective, settings, seed, step, teacher))
        if (step + 1) % every and step + 1 < settings.steps:
            continue
        if checkpoint is not None and place()[0] == 0:
            save_checkpoint(
                checkpoint, supernet, optimizer, epochs_done=step + 1, settings=settings, seed=seed
            )
        seconds = time.perf_counter() - start_s
        loss = mean_over_processes(sum(losses) / len(losses))
        yield SupernetReport(step=step + 1, loss=loss, seconds=seconds)
        start_s, losses = time.perf_counter(), []


def frozen_teacher(supernet: Supernet) -> GraphModule:
    """A copy of the largest network as it is now, to teach the others."""
    teacher = copy.deepcopy(supernet.extract(supernet.space.largest())).eval()
    return teacher.requires_grad_(False)


def score(supernet: Supernet, genotype: str, objective: Objective) -> float:
    """Quality of a network with the shared weights, in [0, 1]; the supernet is not changed.

    Its batch norms get statistics of their own first: the shared ones mix all networks.
    """
    network = supernet.extract(genotype)
    recalibrate(network, objective.calibration())
    return objective.score(network.eval())


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    settings: SupernetSettings,
    seed: int,
    step: int,
    teacher: nn.Module | None,
) -> float:
    learning_rate = settings.learning_rate * (1 - step / settings.steps) ** POLY_POWER
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    rank, processes = place()
    generator = torch.Generator().manual_seed(derived_seed(seed, step, rank))
    indices_N = _indices(objective.images, settings.batch_size, seed, step)[rank::processes]
    inputs_NCHW, targets = objective.batch(indices_N, generator)
    network.train()
    outputs = network(inputs_NCHW)
    loss = objective.loss(outputs, targets)
    if teacher is not None and settings.distillation > 0:
        with torch.no_grad():
            taught = teacher(inputs_NCHW)
        loss = loss + settings.distillation * F.mse_loss(outputs, taught)
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"the loss became {value} in step {step + 1}, at learning rate {learning_rate:.3g}: "
            "train with a lower learning rate"
        )
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    optimizer.step()
    return value


def _indices(images: int, batch_size: int, seed: int, step: int) -> Tensor:
    """The images of a step: every image once, in random order, before any comes again."""
    size = min(batch_size, images)
    epoch, place = divmod(step, images // size)
    generator = torch.Generator().manual_seed(derived_seed(seed, epoch, 1))
    return torch.randperm(images, generator=generator)[place * size : (place + 1) * size]
