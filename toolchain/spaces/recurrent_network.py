"""A ShrinkRNN language model: its outline and what it costs; the equations are in `shrinkrnn.py`.

Source: AutoShrink, AAAI 2020, arXiv 1911.09251, and the authors' released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolchain.spaces.cell import Cell

ACTIVATIONS: Mapping[str, str] = {"r": "relu", "s": "sigmoid", "t": "tanh", "i": "identity"}
"""Activations by their letters."""


@dataclass(frozen=True, kw_only=True)
class RecurrentNetwork:
    """A language model: embedding, one cell, output tied to the embedding.

    Attributes:
        cell: its operators are letters of ``ACTIVATIONS``; node 0 computes s_0.
        hidden: values of the state and of an embedding, H.
        vocabulary: words.
    """

    cell: Cell
    hidden: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Weights: the embedding, counted once, the output's biases, W, and W_ij of each edge."""
        return self.vocabulary * (self.hidden + 1) + self._cell_weights

    @property
    def macs_per_token(self) -> int:
        """Multiply-accumulates of all matrix products for one token, the output's included."""
        return self.vocabulary * self.hidden + self._cell_weights

    @property
    def score_flops(self) -> int:
        """Cost as AutoShrink's score has it: H^2 for each edge, and nothing else."""
        return len(self.cell.edges) * self.hidden**2

    def to_json(self) -> dict[str, str | int]:
        """Outline and counts."""
        return {
            "genotype": self.cell.genotype,
            "hidden": self.hidden,
            "vocabulary": self.vocabulary,
            "params": self.parameters,
            "macs_per_token": self.macs_per_token,
        }

    @property
    def _cell_weights(self) -> int:
        return (2 + len(self.cell.edges)) * 2 * self.hidden**2
