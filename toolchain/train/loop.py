"""Full training of one network: epochs, reports, checkpoints.

Shapes are described in the module `epoch`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from toolchain.tasks.classification import ImageSet
from toolchain.train.checkpoint import load_checkpoint, save_checkpoint
from toolchain.train.epoch import Step, evaluate, place, train_epoch
from toolchain.train.moving_average import MovingAverage
from toolchain.train.norms import set_norms, settle_norms
from toolchain.train.recipe import TrainSettings, build_optimizer, initialize


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What one epoch brought.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: Epochs of the whole training.
        train_loss: Mean loss of the training images, each as it was met.
        validation_loss: Mean cross-entropy of the validation images after the epoch.
        validation_accuracy: Share of them classified rightly, in [0, 1].
        learning_rate: Rate of the last step.
        seconds: Wall time of the epoch, without the validation.
        images_per_second: Training images in that time.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


def train(
    module: nn.Module,
    training: ImageSet,
    validation: ImageSet,
    settings: TrainSettings,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, Step], None] | None = None,
) -> Iterator[EpochReport]:
    """Train `module` from the weights it has, or the recipe draws; one report for each epoch.

    A report comes after the checkpoint of its epoch is on disk, so that a training killed at any
    time can be resumed. On a CPU the resumed training ends with the very weights of an
    uninterrupted one, given the same number of threads.

    Args:
        module: Classifier; moved to the device and trained in place.
        training: Images to learn from.
        validation: Images to measure each epoch on; nothing is chosen by them.
        settings: The recipe.
        seed: Chooses order and augmentation of the images, and dropout.
        device: "auto" for the GPU if there is one, or a device name of torch.
        checkpoint: File to keep the state in after each epoch; none is kept when None.
        resume: Go on from `checkpoint` if it exists; epochs that it has are not reported again.
        on_step: Called after each gradient step with the number of the epoch, from 1, and the
            step.

    Raises:
        ValueError: `resume` without a checkpoint file to resume from.
        CheckpointUnusable: The checkpoint cannot be read or belongs to another training.
        TrainingDiverged: The loss is infinite or not a number.
    """
    if resume and checkpoint is None:
        raise ValueError("resume needs the checkpoint to resume from")
    if settings.first_weights == "fan-out":
        initialize(module, seed=seed, rule="fan-out")
    place(module, device)
    set_norms(module, settings)
    optimizer = build_optimizer(module, settings)
    average = MovingAverage(module, settings.average) if settings.average else None
    state = nn.ModuleDict({"network": module, "average": average}) if average else module
    epochs_done = 0
    if checkpoint is not None and resume and checkpoint.exists():
        epochs_done = load_checkpoint(checkpoint, state, optimizer, settings=settings, seed=seed)
    for epoch in range(epochs_done, settings.epochs):
        start_s = time.perf_counter()
        loss_sum, images, learning_rate = 0.0, 0, 0.0
        for step in train_epoch(module, optimizer, training, settings, seed=seed, epoch=epoch):
            loss_sum += step.loss * step.images
            images += step.images
            learning_rate = step.learning_rate
            if average is not None:
                average.add()
            if on_step is not None:
                on_step(epoch + 1, step)
        seconds = time.perf_counter() - start_s
        # Before the checkpoint: an epoch that it holds is not reported again.
        with average.applied() if average else nullcontext():
            evaluation = evaluate(module, validation)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint,
                state,
                optimizer,
                epochs_done=epoch + 1,
                settings=settings,
                seed=seed,
            )
        yield EpochReport(
            epoch=epoch + 1,
            epochs=settings.epochs,
            train_loss=loss_sum / images,
            validation_loss=evaluation.loss,
            validation_accuracy=evaluation.accuracy,
            learning_rate=learning_rate,
            seconds=seconds,
            images_per_second=images / seconds,
        )
    if average is not None:
        average.adopt()
    settle_norms(module, settings)
