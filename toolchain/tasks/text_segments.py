"""A text cut for truncated back-propagation: columns side by side, and segments of their rows.

Source: Regularizing and Optimizing LSTM Language Models, arXiv 1708.02182, section 4.1 (segments
of varying length), as AutoShrink (arXiv 1911.09251) uses it.

Shape suffixes: D words of a text, T rows, N columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from toolchain.errors import DataUnusable


class Segment(NamedTuple):
    """Rows of a text that a model reads at once.

    Attributes:
        tokens: Words to read, of shape TN.
        targets: The word after each of them, of shape TN.
    """

    tokens: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class SegmentLengths:
    """How many rows a segment has while training.

    Attributes:
        mean: Rows, customarily; segments of another length get a learning rate in proportion.
        deviation: Of the normal distribution that lengths are drawn from; 0 for none.
        least: No segment is shorter, but for the last of a text.
        most: No segment is longer.
        halved_share: Share of segments that have half the mean, in [0, 1].
    """

    mean: int = 35
    deviation: float = 5.0
    least: int = 5
    most: int = 55
    halved_share: float = 0.05

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        if not 2 <= self.least <= self.mean <= self.most:
            raise ValueError(
                "segments need 2 <= least <= mean <= most, "
                f"got {self.least}, {self.mean} and {self.most}"
            )
        if self.deviation < 0 or not 0 <= self.halved_share <= 1:
            raise ValueError(
                "segments need a deviation of 0 or more and a halved_share in [0, 1], "
                f"got {self.deviation} and {self.halved_share}"
            )

    def draw(self, rng: np.random.Generator) -> int:
        """Return the length of a segment."""
        middle = self.mean / 2 if rng.uniform() < self.halved_share else self.mean
        return min(max(int(rng.normal(middle, self.deviation)), self.least), self.most)


def columns(text_D: Tensor, count: int) -> Tensor:
    """Return a text as `count` columns that are read side by side, TN; what is left over is cut.

    Raises:
        ValueError: `count` is less than 1.
        DataUnusable: The text is too short for two targets in each column.
    """
    if count < 1:
        raise ValueError(f"a text is read in 1 column or more, got {count}")
    rows = len(text_D) // count
    if rows < 3:
        raise DataUnusable(
            f"a text of {len(text_D)} words is too short for {count} columns of 3 words: give a "
            "longer text, or a smaller batch"
        )
    return text_D[: rows * count].view(count, rows).t().contiguous()


def segments(
    text_TN: Tensor, lengths: SegmentLengths, rng: np.random.Generator
) -> Iterator[Segment]:
    """Yield a text in segments of drawn lengths; a last one with a single target is left out."""
    start = 0
    while len(text_TN) - 1 - start >= 2:  # Two rows at least: their difference is regularized.
        segment = _segment(text_TN, start, lengths.draw(rng))
        yield segment
        start += len(segment.tokens)


def regular_segments(text_TN: Tensor, length: int) -> Iterator[Segment]:
    """Yield a text in segments of one length, the last may be shorter: every target once."""
    for start in range(0, len(text_TN) - 1, length):
        yield _segment(text_TN, start, length)


def _segment(text_TN: Tensor, start: int, length: int) -> Segment:
    end = min(start + length, len(text_TN) - 1)
    return Segment(text_TN[start:end], text_TN[start + 1 : end + 1])
