"""RMSProp in TensorFlow's form, which recipes written for TensorFlow mean.

Source: tf.compat.v1.train.RMSPropOptimizer. torch's RMSprop adds epsilon outside the square root,
begins the mean of squares at 0 and keeps the learning rate out of the momentum: with an epsilon of
1, the ImageNet recipes' customary one, that is another optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class TensorFlowRmsProp(torch.optim.Optimizer):
    """Steps of ``v = momentum v + rate g / sqrt(mean(g^2) + epsilon)``; weights go down by v."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        decay: float,
        momentum: float,
        epsilon: float,
    ) -> None:
        """Make one over parameters, or groups of them with a ``weight_decay`` each.

        Args:
            params: Parameters or groups.
            lr: Learning rate.
            decay: Of the mean of squares, in [0, 1).
            momentum: Share of the last step that is taken again, in [0, 1).
            epsilon: Added to the mean of squares, more than 0.
        """
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon}
        super().__init__(params, {**defaults, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the parameters that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["mean_square"] = torch.ones_like(weight)  # As TensorFlow begins it.
            state["velocity"] = torch.zeros_like(weight)
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        mean_square, velocity = state["mean_square"], state["velocity"]
        mean_square.lerp_(gradient.square(), 1 - group["decay"])
        scaled = gradient / (mean_square + group["epsilon"]).sqrt()
        velocity.mul_(group["momentum"]).add_(scaled, alpha=group["lr"])
        weight.sub_(velocity)
