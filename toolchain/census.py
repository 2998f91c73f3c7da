"""Which kernels many networks of a space run, without a graph of each.

A network of some spaces is put together of parts whose kernels do not depend on each other: a
node of a SwiftNet, a step of a ScaleNet's branch. There it is enough to read the genotype and list
the parts; what each part runs is worked out once, by the same rules that plan a graph. Networks of
other spaces are planned one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from latency_tables.kernel import Kernel
from latency_tables.population import Population
from latency_tables.precision import FLOAT32, INT8, ends, kernels_in, network_in
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_parts import ScaleNetParts
from toolchain.spaces.space import Space
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.spaces.swiftnet_parts import SwiftNetParts


class Parts(Protocol):
    """The parts that the networks of one space are made of."""

    @property
    def kernels(self) -> Sequence[tuple[Kernel, ...]]:
        """Kernels of each part, by its number; more may be found as genotypes are read.

        Part 0 is what all networks have in common, and every network has it once.
        """

    def numbers(self, genotype: str) -> list[int]:
        """Numbers of the parts of a network.

        Raises:
            GenotypeInvalid: the text stands for no network of the space.
        """


PARTS: Mapping[str, Callable[[Any], Parts]] = {
    ScaleNetSpace.name: ScaleNetParts,
    SwiftNetSpace.name: SwiftNetParts,
}
"""By name of a space what tells its parts, for the spaces that have some."""


class Census:
    """Lists what the networks of a space run; keeps what it has learned about parts.

    Attributes:
        space: the space.
        precision: of the target that runs them.
    """

    def __init__(self, space: Space, precision: str = FLOAT32) -> None:
        self.space = space
        self.precision = precision
        self._parts = PARTS[space.name](space) if space.name in PARTS else None
        self._ends: tuple[Kernel, ...] = ()
        if precision == INT8:
            kernels = space.kernels(next(iter(space.witnesses())))
            self._ends = ends(kernels[0].inputs[0], kernels[-1].output)

    def take(self, genotypes: Sequence[str]) -> Population:
        """The networks of some genotypes, in their order.

        Raises:
            GenotypeInvalid: one of the texts stands for no network of the space.
        """
        if self._parts is None:
            return Population(
                parts=[self._network(genotype) for genotype in genotypes],
                numbers=np.arange(len(genotypes)),
                lengths=np.ones(len(genotypes), dtype=np.intp),
            )
        numbers: list[int] = []
        lengths: list[int] = []
        for genotype in genotypes:
            of_network = self._parts.numbers(genotype)
            numbers += of_network
            lengths.append(len(of_network))
        parts = [kernels_in(self.precision, kernels) for kernels in self._parts.kernels]
        parts[0] += self._ends
        return Population(
            parts=parts,
            numbers=np.array(numbers, dtype=np.intp),
            lengths=np.array(lengths, dtype=np.intp),
        )

    def _network(self, genotype: str) -> tuple[Kernel, ...]:
        return network_in(self.precision, self.space.kernels(genotype))
