"""Short trainings that rank recurrent cells: little text, few epochs, early stops.

Source: AutoShrink, arXiv 1911.09251, and the code its authors released
(`LanguageProxySettings.paper`).

All candidates of a search should share the seed: they then start with the same weights on the
edges that they share, read the same segments and leave the same values out, and their differences
are less noisy than their perplexities.

Shapes: D words of a text.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from toolchain.errors import DataUnusable, TrainingDiverged
from toolchain.tasks.language import LanguageData
from toolchain.tasks.text_segments import SegmentLengths
from toolchain.train.language import train_language
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.recipe import derived_seed
from toolchain.train.recurrent import RecurrentModule

StopReason = Literal["all epochs", "no progress", "overfitted", "diverged"]

BLOCK_WORDS = 500
"""Words of a passage that an excerpt takes whole."""


@dataclass(frozen=True, kw_only=True)
class LanguageProxySettings:
    """How much training a candidate gets, and when it is cut short.

    Attributes:
        training: The recipe; its epochs are the most that a candidate gets.
        train_words: Words of the training text, taken from all over it; all where it has fewer.
        validation_words: Words of the validation text, likewise.
        patience_epochs: Stop after so many epochs in a row without a better validation loss.
        overfit_ratio: Stop if the validation loss exceeds the training loss so many times.
    """

    training: LanguageSettings
    train_words: int
    validation_words: int
    patience_epochs: int = 4
    overfit_ratio: float = 3.0

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        for name in ("train_words", "validation_words", "patience_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.overfit_ratio > 1:
            raise ValueError(f"overfit_ratio must be more than 1, got {self.overfit_ratio}")

    @classmethod
    def paper(cls) -> Self:
        """Return the settings of AutoShrink's released code for the Penn Treebank."""
        return cls(training=LanguageSettings.proxy(), train_words=88_832, validation_words=7_060)

    @classmethod
    def quick(cls) -> Self:
        """Return settings that take a fifth of the time on one core."""
        return cls(
            training=LanguageSettings(
                epochs=4,
                batch_size=32,
                evaluation_batch_size=32,
                segments=SegmentLengths(deviation=0.0),
                decay_after=(3,),
                patience_epochs=0,
            ),
            train_words=40_000,
            validation_words=10_000,
        )

    def draw(self, data: LanguageData, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return excerpts of the training text and of the validation text; the seed chooses."""
        return (
            excerpt(data.train, self.train_words, derived_seed(seed, 0)),
            excerpt(data.validation, self.validation_words, derived_seed(seed, 1)),
        )


def excerpt(text_D: Tensor, words: int, seed: int) -> Tensor:
    """Return passages from all over a text, in its order, of about so many words together.

    Args:
        text_D: Words by their numbers.
        words: Wanted, rounded up to whole passages; the text itself where it has no more.
        seed: Chooses the passages.

    Raises:
        DataUnusable: The text is empty.
    """
    if len(text_D) == 0:
        raise DataUnusable("there is no excerpt of a text without words: give a longer text")
    blocks = len(text_D) // BLOCK_WORDS
    wanted = -(-words // BLOCK_WORDS)
    if wanted >= blocks:
        return text_D
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(blocks, generator=generator)[:wanted].sort().values
    return text_D[: blocks * BLOCK_WORDS].view(blocks, BLOCK_WORDS)[chosen].flatten()


@dataclass(frozen=True, kw_only=True)
class LanguageProxyResult:
    """How good a candidate is after its short training.

    Attributes:
        loss: Least validation loss over the epochs, in nats a word; infinite if it diverged
            before one.
        epochs: Epochs that were trained, one that diverged included.
        cpu_s: Processor time of this process that it took, in seconds.
        stopped_because: Which rule ended it.
    """

    loss: float
    epochs: int
    cpu_s: float
    stopped_because: StopReason


def evaluate_language_proxy(
    module: RecurrentModule,
    training_D: Tensor,
    validation_D: Tensor,
    settings: LanguageProxySettings,
    *,
    seed: int,
    device: str = "auto",
) -> LanguageProxyResult:
    """Train `module` from the weights it has and return its least validation loss.

    On a CPU the result depends on the arguments and the number of threads alone.

    Args:
        module: Candidate; left with the weights of the last step, or of the best epoch where all
            epochs were trained.
        training_D: Text to learn from; see `LanguageProxySettings.draw`.
        validation_D: Text to measure on.
        settings: Recipe and stop rules.
        seed: Chooses lengths of segments and dropout.
        device: "auto" for the GPU if there is one, or a device name of torch.
    """
    start_s = time.process_time()
    best, epochs, without_gain = math.inf, 0, 0
    reason: StopReason = "all epochs"
    try:
        for report in train_language(
            module, training_D, validation_D, settings.training, seed=seed, device=device
        ):
            epochs = report.epoch
            best = min(best, report.validation_loss)
            without_gain = 0 if report.is_best else without_gain + 1
            if epochs == settings.training.epochs:
                continue
            if without_gain >= settings.patience_epochs:
                reason = "no progress"
                break
            if report.validation_loss > settings.overfit_ratio * report.train_loss:
                reason = "overfitted"
                break
    except TrainingDiverged:
        epochs += 1
        reason = "diverged"
    return LanguageProxyResult(
        loss=best,
        epochs=epochs,
        cpu_s=time.process_time() - start_s,
        stopped_because=reason,
    )
