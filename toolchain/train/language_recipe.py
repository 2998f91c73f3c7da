"""Recipes of training language models: the settings, and when averaging of weights begins.

Sources: AutoShrink, arXiv 1911.09251, and the authors' released code; Regularizing and Optimizing
LSTM Language Models, arXiv 1708.02182, which that builds on: averaged SGD with a trigger
(section 3), activation regularization (section 4.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from toolchain.tasks.text_segments import SegmentLengths
from toolchain.train.locked_dropout import LockedDropout

DECAY = 10.0


@dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """How to train a language model.

    Attributes:
        epochs: Passes over the training text.
        batch_size: Columns of the text that are read side by side.
        evaluation_batch_size: The same of the validation text.
        segments: Rows of each gradient step.
        learning_rate: Of SGD, for a segment of mean length; in proportion for others.
        decay_after: Epochs, counted from 1, after which the learning rate is divided by ten.
        clip_norm: Longest gradient; a longer one is shortened to it.
        weight_decay: L2 term added to the gradient of all weights.
        activation_decay: Weight in the loss of the mean square of the outputs, after dropout.
        slowness: Weight in the loss of the mean square of the states' change from token to token.
        patience_epochs: Averaging begins when the validation loss is worse than the best of more
            than so many epochs before; never when 0.
        dropout: Shares of what is left out.
    """

    epochs: int
    batch_size: int = 64
    evaluation_batch_size: int = 10
    segments: SegmentLengths = field(default_factory=SegmentLengths)
    learning_rate: float = 20.0
    decay_after: tuple[int, ...] = ()
    clip_norm: float = 0.25
    weight_decay: float = 0.0
    activation_decay: float = 0.0
    slowness: float = 0.0
    patience_epochs: int = 5
    dropout: LockedDropout = field(default_factory=LockedDropout)

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        ranges = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "evaluation_batch_size": self.evaluation_batch_size >= 1,
            "learning_rate": self.learning_rate > 0,
            "clip_norm": self.clip_norm > 0,
            "weight_decay": self.weight_decay >= 0,
            "activation_decay": self.activation_decay >= 0,
            "slowness": self.slowness >= 0,
            "patience_epochs": self.patience_epochs >= 0,
        }
        for name, is_in_range in ranges.items():
            if not is_in_range:
                raise ValueError(f"{name} {getattr(self, name)} is out of range")

    @classmethod
    def paper(cls, epochs: int = 3000) -> Self:
        """Return the settings of the released ShrinkRNN's training on the Penn Treebank.

        Test with one column (``evaluation_batch_size`` 1). They restore the best weights when the
        loss is not a number and go on; here that ends the training.

        Args:
            epochs: Passes over the training text.
        """
        return cls(
            epochs=epochs,
            weight_decay=8e-7,
            slowness=1e-3,
            dropout=LockedDropout.paper(),
        )

    @classmethod
    def proxy(cls) -> Self:
        """Return the settings of the short trainings that rank candidates in AutoShrink's search.

        They stop after four epochs without a better validation loss, or when that exceeds three
        times the training loss; the caller stops asking for epochs.
        """
        return cls(
            epochs=10,
            batch_size=128,
            evaluation_batch_size=256,
            segments=SegmentLengths(deviation=0.0),
            decay_after=(7, 9),
            patience_epochs=0,
        )

    def learning_rate_in(self, epoch: int) -> float:
        """Return the rate of an epoch, counted from 1, for a segment of mean length."""
        decays = sum(epoch > after for after in self.decay_after)
        return float(self.learning_rate / DECAY**decays)


def should_average(losses: Sequence[float], patience_epochs: int) -> bool:
    """Return whether averaging of weights begins after the last of some epochs.

    Args:
        losses: Validation loss of each epoch so far, at least one.
        patience_epochs: See `LanguageSettings`.
    """
    *before, last = losses
    if patience_epochs == 0 or len(before) <= patience_epochs:
        return False
    return last > min(before[:-patience_epochs])
