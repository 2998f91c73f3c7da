"""Batch norms with constants of the recipe's own, during a training.

Networks are made, exported and loaded with the constants of ``NormSettings``. A recipe with
another epsilon trains with that; afterwards the running variance takes the difference over, so
that the network computes the same with the epsilon that everything else knows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from toolchain.module import NormSettings
from toolchain.train.recipe import TrainSettings

MADE = NormSettings()


def set_norms(module: nn.Module, settings: TrainSettings) -> None:
    """Give the batch norms a recipe's constants, where those are not the customary ones."""
    for norm in _norms(module):
        if settings.norm_momentum != MADE.momentum:
            norm.momentum = settings.norm_momentum
        if settings.norm_epsilon != MADE.eps:
            norm.eps = settings.norm_epsilon


@torch.no_grad()
def settle_norms(module: nn.Module, settings: TrainSettings) -> None:
    """Give them the customary constants back; in evaluation the module computes the same."""
    for norm in _norms(module):
        if settings.norm_momentum != MADE.momentum:
            norm.momentum = MADE.momentum
        if settings.norm_epsilon != MADE.eps:
            variance = norm.running_var
            assert isinstance(variance, Tensor)
            variance += norm.eps - MADE.eps
            norm.eps = MADE.eps


def _norms(module: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))
