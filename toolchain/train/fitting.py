"""Training of one network for an objective: from fresh weights, or on from a supernet's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from toolchain.train.checkpoint import load_checkpoint, save_checkpoint
from toolchain.train.epoch import place
from toolchain.train.gradient_step import (
    adam,
    gradient_step,
    learning_rate_at,
    require_step_settings,
)
from toolchain.train.objective import Objective


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train a network for an objective.

    Attributes:
        epochs: Passes over the training examples; 0 leaves the weights as they are.
        batch_size: Examples of a step.
        learning_rate: Of Adam, at first; see `gradient_step.py`.
        weight_decay: L2 term added to the gradient of every weight.
        clip_norm: Largest norm of a step's gradient.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs {self.epochs} is out of range")
        require_step_settings(self)


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What one epoch brought.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: Epochs of the whole training.
        train_loss: Mean loss of its steps.
        validation_score: Quality on the validation images after it, the more the better.
        learning_rate: Rate of the last step.
        seconds: Wall time of the epoch, without the validation.
        images_per_second: Training examples in that time.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_score: float
    learning_rate: float
    seconds: float
    images_per_second: float


def fit(
    module: nn.Module,
    objective: Objective,
    settings: FitSettings,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Iterator[FitReport]:
    """Train from the weights that the module has; one report for each epoch.

    A report comes after the checkpoint of its epoch is on disk. A training that was stopped goes
    on from it when called again, and ends with the weights of an uninterrupted one.

    Args:
        module: Moved to the device and trained in place.
        objective: What for; nothing is chosen by its score.
        settings: The recipe.
        seed: Chooses order and augmentation of the examples.
        device: "auto" for the GPU if there is one, or a device name of torch.
        checkpoint: File to keep the state in after each epoch; none is kept when None.
        on_step: Called after each step with the steps done, those of the whole training, and the
            step's loss.

    Raises:
        CheckpointUnusable: The checkpoint cannot be read or belongs to another training.
        TrainingDiverged: The loss is infinite or not a number.
    """
    place(module, device)
    optimizer = adam(module, settings)
    size = min(settings.batch_size, objective.images)
    per_epoch = objective.images // size
    steps = settings.epochs * per_epoch
    epochs_done = 0
    if checkpoint is not None and checkpoint.exists():
        epochs_done = load_checkpoint(checkpoint, module, optimizer, settings=settings, seed=seed)
    for epoch in range(epochs_done, settings.epochs):
        start_s, losses = time.perf_counter(), []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            loss = gradient_step(
                module, optimizer, objective, settings, seed=seed, step=step, steps=steps
            )
            losses.append(loss)
            if on_step is not None:
                on_step(step + 1, steps, loss)
        seconds = time.perf_counter() - start_s
        score = objective.score(module)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint, module, optimizer, epochs_done=epoch + 1, settings=settings, seed=seed
            )
        yield FitReport(
            epoch=epoch + 1,
            epochs=settings.epochs,
            train_loss=sum(losses) / len(losses),
            validation_score=score,
            learning_rate=learning_rate_at(settings, step, steps),
            seconds=seconds,
            images_per_second=per_epoch * size / seconds,
        )
