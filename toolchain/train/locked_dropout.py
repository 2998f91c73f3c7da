"""Dropout whose masks hold for a whole sequence: the same values are left out at every token.

Source: A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, arXiv
1512.05287 (variational dropout), at the places where AutoShrink's released code (arXiv
1911.09251) has it.

Shape suffixes: N sequences, H values of a state, V words.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Masks(NamedTuple):
    """Factors for one sequence: 0 or 1 / (1 - share); None where nothing is left out.

    Attributes:
        word: Of the embedding of each word, whole; of shape V1.
        embedding: Of embeddings, of shape NH like those below.
        input: Of embeddings where the cell reads them.
        hidden: Of states, at every matrix that multiplies one.
        output: Of the cell's output, before logits are computed.
    """

    word: Tensor | None = None
    embedding: Tensor | None = None
    input: Tensor | None = None
    hidden: Tensor | None = None
    output: Tensor | None = None


NO_MASKS = Masks()
"""Nothing is left out."""


@dataclass(frozen=True, kw_only=True)
class LockedDropout:
    """Shares of what is left out while training, each in [0, 1).

    Attributes:
        word: Of the words.
        embedding: Of the values of an embedding.
        input: Of the same where the cell reads them.
        hidden: Of the values of a state, at every matrix that multiplies one.
        output: Of the values of the cell's output.
    """

    word: float = 0.0
    embedding: float = 0.0
    input: float = 0.0
    hidden: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            share = getattr(self, field.name)
            if not 0 <= share < 1:
                raise ValueError(f"dropout of {field.name} lies in [0, 1), got {share}")

    @classmethod
    def paper(cls) -> Self:
        """Return the shares of the released ShrinkRNN's training."""
        return cls(word=0.1, embedding=0.2, input=0.75, hidden=0.25, output=0.75)

    def draw(
        self,
        *,
        batch: int,
        hidden: int,
        vocabulary: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> Masks:
        """Draw the masks of one sequence.

        Args:
            batch: Sequences side by side, N; each gets masks of its own.
            hidden: H.
            vocabulary: V.
            generator: A generator of the CPU, so that every device gets the same masks.
            device: Where the masks are wanted.
        """

        def mask(share: float, *shape: int) -> Tensor | None:
            if share == 0:
                return None
            kept = torch.rand(shape, generator=generator) >= share
            return (kept.float() / (1 - share)).to(device)

        return Masks(
            word=mask(self.word, vocabulary, 1),
            embedding=mask(self.embedding, batch, hidden),
            input=mask(self.input, batch, hidden),
            hidden=mask(self.hidden, batch, hidden),
            output=mask(self.output, batch, hidden),
        )


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the values with a mask on them, if there is one."""
    return values if mask is None else values * mask
