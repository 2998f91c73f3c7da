"""The mean of a module's weights over the steps of a training.

Source: Acceleration of Stochastic Approximation by Averaging, Polyak and Juditsky, 1992; as
AutoShrink (arXiv 1911.09251) uses it: torch's ASGD with ``t0=0, lambd=0``. That leaves the first
step out of its mean and takes each step with the learning rate of the one before; this does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """A running mean; its state is what a checkpoint needs of it."""

    count: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._weights = list(module.parameters())  # A list: they are the module's, not ours.
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        for index, weight in enumerate(self._weights):
            self.register_buffer(f"mean_{index}", torch.zeros_like(weight.detach()))

    @property
    def steps(self) -> int:
        """How many sets of weights it is of."""
        return int(self.count.item())

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights that the module has now."""
        self.count += 1
        for mean, weight in self._pairs():
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
        for mean, weight in self._pairs():
            own = weight.clone()
            weight.copy_(mean)
            mean.copy_(own)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index, weight in enumerate(self._weights):
            yield self.get_buffer(f"mean_{index}"), weight
