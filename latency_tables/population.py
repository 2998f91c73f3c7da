"""Many networks at once: as lists of parts, and their latencies as arrays.

A part is a tuple of kernels that many networks share: a node of a cell, a step of a branch. Of a
population each part's kernels are looked up once, and a network costs a sum over a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from latency_tables.budget import Z95, Latency
from latency_tables.kernel import Kernel

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Networks as lists of parts; a network runs the kernels of all its parts.

    Attributes:
        parts: kernels of each part, in no order; networks need not use all parts.
        numbers: which parts each network has, network after network, in one array.
        lengths: how many of these numbers are each network's, at least one; an array.
    """

    parts: Sequence[tuple[Kernel, ...]]
    numbers: Integers
    lengths: Integers

    def __post_init__(self) -> None:
        if len(self.lengths) and self.lengths.min() < 1:
            raise ValueError("a network has at least one part")
        if self.lengths.sum() != len(self.numbers):
            raise ValueError(
                f"the networks have {self.lengths.sum()} parts together, but there are "
                f"{len(self.numbers)} numbers of parts"
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def blocks(self, size: int) -> Iterator[Block]:
        """The networks, so many at a time."""
        ends = np.cumsum(self.lengths)
        for first in range(0, len(self), size):
            lengths = self.lengths[first : first + size]
            start = ends[first] - lengths[0]
            numbers = self.numbers[start : start + lengths.sum()]
            used, places = np.unique(numbers, return_inverse=True)
            rows = np.repeat(np.arange(len(lengths)), lengths)
            counts = np.bincount(
                rows * len(used) + places, minlength=len(lengths) * len(used)
            ).reshape(len(lengths), len(used))
            yield Block([self.parts[number] for number in used], counts.astype(np.float64))


class Block(NamedTuple):
    """Some networks of a population.

    Attributes:
        parts: kernels of each part that one of them has.
        counts: how often each network has each part, [networks, parts].
    """

    parts: list[tuple[Kernel, ...]]
    counts: Floats


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Predicted latencies of many networks; see ``Latency``.

    Attributes:
        p50_ms: one for each network.
        p95_ms: likewise.
        doubt: likewise.
    """

    p50_ms: Floats
    p95_ms: Floats
    doubt: Floats

    def __len__(self) -> int:
        return len(self.p50_ms)

    def __getitem__(self, index: int) -> Latency:
        """The latency of one network, without its kernels' shares."""
        return Latency(
            p50_ms=float(self.p50_ms[index]),
            p95_ms=float(self.p95_ms[index]),
            doubt=float(self.doubt[index]),
        )

    def at(self, confidence: float) -> Floats:
        """The latencies that are not exceeded with this confidence; see ``Latency.at``."""
        exponent = NormalDist().inv_cdf(confidence) / Z95
        return np.asarray(self.p50_ms * (self.p95_ms / self.p50_ms) ** exponent)
