"""Recipes of training: the settings, the learning rate over time, the optimizer, first weights.

Mechanisms (steps, epochs, checkpoints) are in the modules beside this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

ONE_CYCLE_WARM_UP = 0.3
ONE_CYCLE_START = 0.04

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train a classifier.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images of one gradient step.
        optimizer: "sgd" with Nesterov momentum, or "adam".
        learning_rate: Peak rate; `schedule` scales it.
        schedule: "one-cycle" (up for 30% of the steps, then down along a cosine to 0),
            "cosine" (down from the first step), or "constant".
        momentum: Of SGD; Adam has its customary 0.9 and 0.999.
        weight_decay: L2 term added to the gradient of the weights of convolutions that are not
            depthwise and, where `decays_linear`, of linear layers.
        decays_linear: See `weight_decay`.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        augment: "crop-flip" shifts by up to an eighth of the image and mirrors half of them;
            "none" leaves the images as they are.
    """

    epochs: int
    batch_size: int = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decays_linear: bool = True
    label_smoothing: float = 0.0
    augment: Literal["none", "crop-flip"] = "crop-flip"

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        ranges = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2,
            "learning_rate": self.learning_rate > 0,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "label_smoothing": 0 <= self.label_smoothing < 1,
        }
        for field, is_in_range in ranges.items():
            if not is_in_range:
                raise ValueError(f"{field} {getattr(self, field)} is out of range")

    def learning_rate_at(self, progress: float) -> float:
        """Return the rate of a step.

        Args:
            progress: Share of all steps that came before it, in [0, 1].
        """
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "cosine":
            return self.learning_rate * _cosine_fall(progress)
        if progress < ONE_CYCLE_WARM_UP:
            risen = progress / ONE_CYCLE_WARM_UP
            return self.learning_rate * (ONE_CYCLE_START + (1 - ONE_CYCLE_START) * risen)
        fallen = (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP)
        return self.learning_rate * _cosine_fall(fallen)


def _cosine_fall(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make the optimizer that `settings` ask for, over all parameters of `module`."""
    decayed = {id(weight) for weight in _decayed_weights(module, settings.decays_linear)}
    groups = [
        {
            "params": [p for p in module.parameters() if id(p) in decayed],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in module.parameters() if id(p) not in decayed], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate)
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
    )


def _decayed_weights(module: nn.Module, decays_linear: bool) -> list[nn.Parameter]:
    weights = []
    for layer in module.modules():
        is_convolution = isinstance(layer, CONVOLUTIONS) and not _is_depthwise(layer)
        if is_convolution or (decays_linear and isinstance(layer, nn.Linear)):
            assert isinstance(layer.weight, nn.Parameter)
            weights.append(layer.weight)
    return weights


def _is_depthwise(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return layer.groups > 1 and layer.groups == layer.in_channels


def initialize(module: nn.Module, *, seed: int) -> None:
    """Give `module` first weights that depend on its architecture and `seed` alone.

    Convolutions and linear layers are drawn from Glorot's normal distribution with biases of 0;
    every other layer resets itself, running statistics included. The global random state is
    left as it was.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif callable(reset := getattr(layer, "reset_parameters", None)):
                reset()


def derived_seed(*parts: int) -> int:
    """Mix non-negative numbers into one seed; near inputs give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
