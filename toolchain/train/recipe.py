"""Recipes of training: the settings, the learning rate over time, the optimizer, first weights.

Mechanisms (steps, epochs, checkpoints) are in the modules beside this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import nn

from toolchain.train.rmsprop import TensorFlowRmsProp

ONE_CYCLE_WARM_UP = 0.3
ONE_CYCLE_START = 0.04

LINEAR_DEVIATION = 0.01

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train a classifier.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images of one gradient step.
        optimizer: "sgd" with Nesterov momentum, "adam", or "rmsprop" in TensorFlow's form.
        learning_rate: Peak rate; `schedule` scales it.
        schedule: "one-cycle" (up for 30% of the steps, then down along a cosine to 0),
            "cosine" (down from the end of the warm-up), or "constant".
        warm_up_epochs: In which "cosine" rises to the peak from 0, along a line.
        momentum: Of SGD and RMSProp; Adam has its customary 0.9 and 0.999.
        square_decay: Of RMSProp's mean of squares.
        epsilon: Of RMSProp, inside the root.
        weight_decay: L2 term added to the gradient of the weights of convolutions that are not
            depthwise and, where `decays_linear`, of linear layers.
        decays_linear: See `weight_decay`.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        augment: "crop-flip" shifts by up to an eighth of the image and mirrors half of them;
            "photo" is for photographs (see `photo_augmentation.py`); "none" leaves the images as
            they are.
        first_weights: "given" are those that the module has (see `initialize`); "fan-out" are
            drawn anew when a full training begins.
        average: Decay of the mean of weights that is evaluated, and kept, in place of the last
            ones; 0 for none.
        norm_momentum: Share of a batch in the running statistics of batch norms.
        norm_epsilon: Added to their variance.
    """

    epochs: int
    batch_size: int = 64
    optimizer: Literal["sgd", "adam", "rmsprop"] = "sgd"
    learning_rate: float = 0.1
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warm_up_epochs: float = 0.0
    momentum: float = 0.9
    square_decay: float = 0.9
    epsilon: float = 1.0
    weight_decay: float = 5e-4
    decays_linear: bool = True
    label_smoothing: float = 0.0
    augment: Literal["none", "crop-flip", "photo"] = "crop-flip"
    first_weights: Literal["given", "fan-out"] = "given"
    average: float = 0.0
    norm_momentum: float = 0.1
    norm_epsilon: float = 1e-5

    @classmethod
    def imagenet(cls, epochs: int = 300) -> Self:
        """Return AutoShrink's recipe for ImageNet, for one process.

        Source: arXiv 1911.09251, released code: 300 epochs, 10 of them warm-up, batches of 256
        at rate 0.1. Where we differ: the cosine falls step by step; images are normalised by
        their mean and deviation, and resized without regard to their aspect; tests look at the
        whole image, not at its central 0.875. See also `moving_average.py` and
        `photo_augmentation.py`.

        Args:
            epochs: Of the training; the warm-up is a thirtieth of them.
        """
        return cls(
            epochs=epochs,
            batch_size=256,
            optimizer="rmsprop",
            learning_rate=0.1,
            schedule="cosine",
            warm_up_epochs=epochs / 30,
            weight_decay=4e-5,
            label_smoothing=0.1,
            augment="photo",
            first_weights="fan-out",
            average=0.999,
            norm_momentum=0.001,
            norm_epsilon=1e-3,
        )

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        ranges = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2,
            "learning_rate": self.learning_rate > 0,
            "warm_up_epochs": 0 <= self.warm_up_epochs < self.epochs,
            "momentum": 0 <= self.momentum < 1,
            "square_decay": 0 <= self.square_decay < 1,
            "epsilon": self.epsilon > 0,
            "weight_decay": self.weight_decay >= 0,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "average": 0 <= self.average < 1,
            "norm_momentum": 0 < self.norm_momentum <= 1,
            "norm_epsilon": self.norm_epsilon > 0,
        }
        for field, is_in_range in ranges.items():
            if not is_in_range:
                raise ValueError(f"{field} {getattr(self, field)} is out of range")
        if self.warm_up_epochs and self.schedule != "cosine":
            raise ValueError(
                f"warm_up_epochs {self.warm_up_epochs} is of schedule cosine, not {self.schedule}"
            )

    def learning_rate_at(self, progress: float) -> float:
        """Return the rate of a step.

        Args:
            progress: Share of all steps that came before it, in [0, 1].
        """
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "cosine":
            warm_up = self.warm_up_epochs / self.epochs
            if progress < warm_up:
                return self.learning_rate * progress / warm_up
            return self.learning_rate * _cosine_fall((progress - warm_up) / (1 - warm_up))
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
    if settings.optimizer == "rmsprop":
        return TensorFlowRmsProp(
            groups,
            settings.learning_rate,
            decay=settings.square_decay,
            momentum=settings.momentum,
            epsilon=settings.epsilon,
        )
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


def initialize(
    module: nn.Module, *, seed: int, rule: Literal["glorot", "fan-out"] = "glorot"
) -> None:
    """Give `module` first weights that depend on its architecture and `seed` alone.

    Convolutions and linear layers are drawn from normal distributions with biases of 0; every
    other layer resets itself, running statistics included. The global random state is left as it
    was.

    Args:
        module: Changed in place.
        seed: Chooses the weights.
        rule: "glorot"; or "fan-out", of variance 2 over the outputs that an input of a
            convolution has a part in (He, arXiv 1502.01852), and 0.0001 in linear layers.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
                _draw(layer, rule)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif callable(reset := getattr(layer, "reset_parameters", None)):
                reset()


def _draw(layer: nn.Module, rule: str) -> None:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    if rule == "glorot":
        nn.init.xavier_normal_(weight)
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(weight, std=LINEAR_DEVIATION)
    else:
        assert isinstance(layer, CONVOLUTIONS)
        fan_out = math.prod(layer.kernel_size) * layer.out_channels / layer.groups
        nn.init.normal_(weight, std=math.sqrt(2 / fan_out))


def derived_seed(*parts: int) -> int:
    """Mix non-negative numbers into one seed; near inputs give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
