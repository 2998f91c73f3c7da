"""What the training of a language model is made of between two epochs: a checkpoint's content."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from toolchain.train.language_recipe import should_average
from toolchain.train.recurrent import RecurrentModule
from toolchain.train.weight_average import WeightAverage


class LanguageState(nn.Module):
    """The model and what its training remembers; it has to be moved and saved as a whole.

    Segments and dropout of an epoch follow from the seed and its number, the optimizer has no
    momentum, and an epoch begins with a state of zeros: nothing else is needed to go on.

    Attributes:
        model: what is trained.
        best: the same with the weights of the least validation loss.
        best_loss: that loss, infinite before the first epoch.
        average: of the weights since averaging began.
        losses: validation loss of each epoch; not a number for those to come.
    """

    best_loss: Tensor
    losses: Tensor

    def __init__(self, model: RecurrentModule, epochs: int) -> None:
        super().__init__()
        self.model = model
        self.best = copy.deepcopy(model).requires_grad_(False)
        self.average = WeightAverage(model)
        self.register_buffer("best_loss", torch.tensor(math.inf, dtype=torch.float64))
        self.register_buffer("losses", torch.full((epochs,), math.nan, dtype=torch.float64))

    def should_average(self, epochs_done: int, patience_epochs: int) -> bool:
        """Return whether the next epoch's weights are averaged; once begun, all are."""
        losses = self.losses[:epochs_done].tolist()
        return self.average.steps > 0 or (
            epochs_done > 0 and should_average(losses, patience_epochs)
        )

    @contextmanager
    def applied_average(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, if there are any."""
        if self.average.steps == 0:
            yield
            return
        with self.average.applied():
            yield

    def see(self, epoch: int, loss: float) -> bool:
        """Take the validation loss of the weights that the model has now.

        Args:
            epoch: Number of the epoch, from 1.
            loss: Mean cross-entropy in nats.

        Returns:
            Whether it is the least so far; the weights are then kept as the best.
        """
        self.losses[epoch - 1] = loss
        if not loss < self.best_loss.item():
            return False
        self.best_loss.fill_(loss)
        self.best.load_state_dict(self.model.state_dict())
        return True
