"""One gradient step for an objective: Adam's rate falling to nothing, gradients clipped.

A step is a function of the weights before it, the seed and its own number, so that a training
that was stopped goes on exactly. Several processes may share one (`distributed.py`).

Source of the recipe: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, and its released code.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from toolchain.errors import TrainingDiverged
from toolchain.train.distributed import place
from toolchain.train.objective import Objective
from toolchain.train.recipe import derived_seed

POLY_POWER = 0.9


class StepSettings(Protocol):
    """What a step needs of a recipe."""

    @property
    def batch_size(self) -> int:
        """Examples of a step, over all processes."""

    @property
    def learning_rate(self) -> float:
        """Of Adam, at first; it falls with the share of the steps left to the power 0.9."""

    @property
    def weight_decay(self) -> float:
        """L2 term added to the gradient of every weight."""

    @property
    def clip_norm(self) -> float:
        """Largest norm of a step's gradient."""


def require_step_settings(settings: StepSettings) -> None:
    """Refuse numbers outside their range.

    Raises:
        ValueError: A number is out of range; the message names it.
    """
    if settings.batch_size < 2:
        raise ValueError(f"batch_size must be 2 or more, got {settings.batch_size}")
    if not (settings.learning_rate > 0 and settings.clip_norm > 0):
        raise ValueError(
            "learning_rate and clip_norm must be more than 0, got "
            f"{settings.learning_rate} and {settings.clip_norm}"
        )
    if not settings.weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more, got {settings.weight_decay}")


def adam(network: nn.Module, settings: StepSettings) -> torch.optim.Optimizer:
    """The optimizer of a recipe, over all parameters of the network."""
    return torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )


def gradient_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    settings: StepSettings,
    *,
    seed: int,
    step: int,
    steps: int,
    teacher: nn.Module | None = None,
    distillation: float = 0.0,
) -> float:
    """Change the weights once; return the loss before that.

    Args:
        network: Trained in place, on the device that it is on; put into training mode.
        optimizer: Over its parameters.
        objective: What for.
        settings: The recipe.
        seed: Chooses order and augmentation of the examples.
        step: Number of the step, from 0.
        steps: Of the whole training.
        teacher: Its outputs are learned from too; none when None. Not changed.
        distillation: Weight of that beside the loss.

    Raises:
        TrainingDiverged: The loss is infinite or not a number; the weights are kept.
    """
    learning_rate = learning_rate_at(settings, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    rank, processes = place()
    generator = torch.Generator().manual_seed(derived_seed(seed, step, rank))
    indices_N = examples_of_step(objective.images, settings.batch_size, seed, step)
    device = next(network.parameters()).device
    inputs, targets = _on(device, objective.batch(indices_N[rank::processes], generator))
    network.train()
    outputs = network(inputs)
    loss = objective.loss(outputs, targets)
    if teacher is not None and distillation > 0:
        with torch.no_grad():
            taught = teacher(inputs)
        loss = loss + distillation * objective.imitation(outputs, taught)
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


def learning_rate_at(settings: StepSettings, step: int, steps: int) -> float:
    """The rate of a step, numbered from 0."""
    return float(settings.learning_rate * (1 - step / steps) ** POLY_POWER)


def examples_of_step(examples: int, batch_size: int, seed: int, step: int) -> Tensor:
    """The examples of a step: every one once, in random order, before any comes again."""
    size = min(batch_size, examples)
    epoch, part = divmod(step, examples // size)
    generator = torch.Generator().manual_seed(derived_seed(seed, epoch, 1))
    return torch.randperm(examples, generator=generator)[part * size : (part + 1) * size]


def _on(device: torch.device, values: Any) -> Any:
    """Tensors, alone or in tuples, on a device."""
    if isinstance(values, Tensor):
        return values.to(device)
    if isinstance(values, tuple):
        moved = [_on(device, value) for value in values]
        return type(values)(*moved) if hasattr(values, "_fields") else tuple(moved)
    return values
