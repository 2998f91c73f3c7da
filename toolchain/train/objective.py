"""What the networks of a task are trained for, whatever the task.

Shape suffixes: N images of a batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn


class Objective(Protocol):
    """A task's training and validation images, its loss and its score.

    Attributes:
        images: Number of training images.
    """

    @property
    def images(self) -> int:
        """Number of training images."""

    def batch(self, indices_N: Tensor, generator: torch.Generator) -> tuple[Tensor, Any]:
        """Return inputs of shape NCHW and targets.

        Args:
            indices_N: Which training images.
            generator: Chooses how they are moved about.
        """

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Mean loss of a batch, a scalar."""

    def imitation(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """How far the outputs of a batch are from a teacher's, a scalar."""

    def calibration(self) -> Iterator[Tensor]:
        """Inputs for the statistics of batch norms, always the same ones."""

    def score(self, network: nn.Module) -> float:
        """Quality of a network on the validation images, the more the better.

        The network's mode is left as it was.
        """

    def scoring(self) -> Self:
        """The same for `calibration` and `score` alone, with few training images.

        This is what travels to other processes.
        """
