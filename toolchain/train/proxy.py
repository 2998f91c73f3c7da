"""Short trainings that rank candidates: few images, few epochs, early stops.

Source: AutoShrink, arXiv 1911.09251, and the code its authors released (`ProxySettings.paper`).
We differ where their choice would leak: they validate on images of the test set, we hold images
of the training set back, distinct ones.

All candidates of a search should share the seed: they then see the same images in the same
order, and their differences are less noisy than their accuracies.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal, Self

from torch import nn

from toolchain.errors import TrainingDiverged
from toolchain.tasks.classification import ClassificationData, ImageSet
from toolchain.train.epoch import Evaluation, Step, evaluate, place, train_epoch
from toolchain.train.recipe import TrainSettings, build_optimizer, initialize

RUNNING_MOMENTUM = 0.99

StopReason = Literal["all epochs", "no progress", "too weak", "overfitted", "diverged"]


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """How much training a candidate gets, and when it is cut short.

    "Running" figures are exponential averages over the steps with momentum 0.99, begun at the
    first step.

    Attributes:
        training: The recipe; its epochs are the most that a candidate gets.
        train_per_class: Training images of each class.
        validation_per_class: Validation images of each class.
        with_replacement: Draw the training images with replacement.
        mastered_accuracy: The rest of an epoch is skipped when the running training accuracy
            exceeds this.
        patience_epochs: Stop after so many epochs in a row without a better validation accuracy.
        weak_accuracy: Stop if the validation accuracy of epoch `weak_epoch` is below this.
        weak_epoch: Number of that epoch, from 1.
        overfit_ratio: Stop if the validation loss exceeds the running training loss so many
            times.
    """

    training: TrainSettings
    train_per_class: int
    validation_per_class: int
    with_replacement: bool = False
    mastered_accuracy: float = 1.0
    patience_epochs: int
    weak_accuracy: float = 0.0
    weak_epoch: int = 1
    overfit_ratio: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what only a full training does.

        Raises:
            ValueError: The recipe draws first weights, averages weights or sets batch norms.
        """
        plain = TrainSettings(epochs=1)
        for field in ("first_weights", "average", "norm_momentum", "norm_epsilon"):
            if getattr(self.training, field) != getattr(plain, field):
                raise ValueError(
                    f"{field} {getattr(self.training, field)} is for full trainings: a "
                    "candidate's short training leaves it as it is"
                )

    @classmethod
    def paper(cls) -> Self:
        """Return the settings of AutoShrink's released code for CIFAR-10.

        Epsilon 1e-5 and decay 0.9 of batch normalisation are the module's business and torch's
        defaults. `initialize` draws the weights from Glorot's normal distribution as they do.
        """
        return cls(
            training=TrainSettings(
                epochs=20,
                batch_size=128,
                optimizer="adam",
                learning_rate=4e-3,
                schedule="constant",
                weight_decay=1e-5,
                decays_linear=False,
                augment="none",
            ),
            train_per_class=500,
            validation_per_class=100,
            with_replacement=True,
            mastered_accuracy=0.98,
            patience_epochs=5,
            weak_accuracy=0.2,
            weak_epoch=4,
            overfit_ratio=3.0,
        )

    @classmethod
    def quick(cls) -> Self:
        """Return settings for a demonstration on two cores: a few seconds for each candidate."""
        return cls(
            training=TrainSettings(
                epochs=2,
                batch_size=32,
                optimizer="adam",
                learning_rate=1e-2,
                schedule="one-cycle",
                weight_decay=1e-5,
                augment="none",
            ),
            train_per_class=400,
            validation_per_class=200,
            patience_epochs=2,
        )

    def draw(self, data: ClassificationData, *, seed: int) -> tuple[ImageSet, ImageSet]:
        """Draw the training and validation images that all candidates of a search share.

        Raises:
            DataUnusable: A class has too few images.
        """
        return data.split(
            validation_per_class=self.validation_per_class,
            train_per_class=self.train_per_class,
            with_replacement=self.with_replacement,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class ProxyResult:
    """How good a candidate is after its short training.

    Attributes:
        accuracy: Best validation accuracy over the epochs, in [0, 1]; 0 if it diverged.
        loss: Validation loss of that epoch; infinite if it diverged.
        epochs: Epochs that were trained, the one that diverged included.
        cpu_s: Processor time of this process that it took, in seconds.
        stopped_because: Which rule ended it.
    """

    accuracy: float
    loss: float
    epochs: int
    cpu_s: float
    stopped_because: StopReason


def evaluate_proxy(
    module: nn.Module,
    training: ImageSet,
    validation: ImageSet,
    settings: ProxySettings,
    *,
    seed: int,
    device: str = "auto",
) -> ProxyResult:
    """Train `module` from fresh weights and return its best validation accuracy.

    On a CPU the result depends on the arguments and the number of threads alone, not on what
    this process did before.

    Args:
        module: Candidate; its weights are drawn anew.
        training: Images to learn from; see `ProxySettings.draw`.
        validation: Images to measure on.
        settings: Recipe and stop rules.
        seed: Chooses first weights, order and augmentation of the images.
        device: "auto" for the GPU if there is one, or a device name of torch.
    """
    start_s = time.process_time()
    initialize(module, seed=seed)
    place(module, device)
    optimizer = build_optimizer(module, settings.training)
    watch = _Watch(settings)
    reason: StopReason | None = None
    while reason is None:
        try:
            for step in train_epoch(
                module, optimizer, training, settings.training, seed=seed, epoch=watch.epochs
            ):
                watch.see_step(step)
                if watch.running_accuracy > settings.mastered_accuracy:
                    break
        except TrainingDiverged:
            return ProxyResult(
                accuracy=0.0,
                loss=math.inf,
                epochs=watch.epochs + 1,
                cpu_s=time.process_time() - start_s,
                stopped_because="diverged",
            )
        reason = watch.see_epoch(evaluate(module, validation))
    return ProxyResult(
        accuracy=watch.best.accuracy,
        loss=watch.best.loss,
        epochs=watch.epochs,
        cpu_s=time.process_time() - start_s,
        stopped_because=reason,
    )


class _Watch:
    """Follows one training and says when a rule ends it.

    Attributes:
        epochs: Epochs seen.
        best: Evaluation with the best accuracy so far.
        running_accuracy: Running training accuracy.
        running_loss: Running training loss.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self.epochs = 0
        self.best = Evaluation(accuracy=-1.0, loss=math.inf)
        self.running_accuracy = math.nan
        self.running_loss = math.nan
        self._settings = settings
        self._epochs_without_gain = 0

    def see_step(self, step: Step) -> None:
        if math.isnan(self.running_loss):
            self.running_accuracy, self.running_loss = step.accuracy, step.loss
        self.running_accuracy += (1 - RUNNING_MOMENTUM) * (step.accuracy - self.running_accuracy)
        self.running_loss += (1 - RUNNING_MOMENTUM) * (step.loss - self.running_loss)

    def see_epoch(self, evaluation: Evaluation) -> StopReason | None:
        settings = self._settings
        self.epochs += 1
        self._epochs_without_gain += 1
        if evaluation.accuracy > self.best.accuracy:
            self.best = evaluation
            self._epochs_without_gain = 0
        if self.epochs == settings.training.epochs:
            return "all epochs"
        if self._epochs_without_gain >= settings.patience_epochs:
            return "no progress"
        if self.epochs == settings.weak_epoch and evaluation.accuracy < settings.weak_accuracy:
            return "too weak"
        if evaluation.loss > settings.overfit_ratio * self.running_loss:
            return "overfitted"
        return None
