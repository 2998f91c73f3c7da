"""Torch modules of the layers of networks that read texts, see ``word_layers.py``.

Shape suffixes: N words, F and G features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Difference(nn.Module):
    """One tensor less another."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Their difference."""
        return x - y


class Scaled(nn.Module):
    """Numbers times a fixed one."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Their product."""
        return x * self.factor


class Row(nn.Module):
    """One row of a matrix, as a matrix of one row."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x_NF: Tensor) -> Tensor:
        """The row."""
        return x_NF[self.index : self.index + 1]


class StackedRows(nn.Module):
    """Matrices of one row each, one below the other."""

    def forward(self, *xs_1F: Tensor) -> Tensor:
        """All rows in order."""
        return torch.cat(xs_1F, dim=0)


class BorrowingLinear(nn.Module):
    """A dense layer whose matrix belongs to another layer."""

    def __init__(self, features: int, activation: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None
        self.activation = activation

    def forward(self, x_NF: Tensor, matrix_GF: Tensor) -> Tensor:
        """G numbers for each row."""
        result: Tensor = self.activation(F.linear(x_NF, matrix_GF, self.bias))
        return result


def matrix_of(module: nn.Module) -> Tensor:
    """The matrix of a dense layer, with its activation or without, or of an embedding."""
    owner = module[0] if isinstance(module, nn.Sequential) else module
    assert isinstance(owner, nn.Linear | nn.Embedding)
    return owner.weight
