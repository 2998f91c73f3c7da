"""The mean of a module's weights over the steps of a training.

Source: Acceleration of Stochastic Approximation by Averaging, Polyak and Juditsky, 1992; as
AutoShrink (arXiv 1911.09251) uses it: torch's ASGD with ``t0=0, lambd=0``. That leaves the first
step out of its mean and takes each step with the learning rate of the one before; this does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """A running mean.

    Attributes:
        steps: How many sets of weights it is of.
    """

    def __init__(self, module: nn.Module) -> None:
        self.steps = 0
        self._weights = list(module.parameters())
        self._means = [torch.zeros_like(weight) for weight in self._weights]

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights that the module has now."""
        self.steps += 1
        for mean, weight in zip(self._means, self._weights, strict=True):
            mean.add_(weight - mean, alpha=1 / self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the mean inside the block, and its own weights back after it."""
        assert self.steps > 0, "the mean of no weights"
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for mean, weight in zip(self._means, self._weights, strict=True):
            own = weight.clone()
            weight.copy_(mean)
            mean.copy_(own)
