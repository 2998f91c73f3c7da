"""The exponential mean of a module's weights, which recipes for ImageNet evaluate in their place.

Source: AutoShrink, arXiv 1911.09251, and its released code (decay 0.999). Theirs begins at the
first weights; ours is the plain mean of all steps until there are more than ``1 / (1 - decay)``,
so that a short training's mean does not remember weights that knew nothing.
"""

from __future__ import annotations

import torch
from torch import nn

from toolchain.train.weight_average import WeightAverage


class MovingAverage(WeightAverage):
    """A mean that forgets; running statistics of batch norms are the module's own.

    Attributes:
        decay: share of the old mean in the new one, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module)
        self.decay = decay

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights that the module has now."""
        self.count += 1
        share = max(1 - self.decay, 1 / self.steps)
        for mean, weight in self._pairs():
            mean.lerp_(weight, share)

    @torch.no_grad()
    def adopt(self) -> None:
        """Give the module the mean for good."""
        for mean, weight in self._pairs():
            weight.copy_(mean)
