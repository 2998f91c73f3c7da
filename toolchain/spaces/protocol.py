"""What every search space can do, and what more AutoShrink needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from latency_tables.kernel import Kernel
from toolchain.count import Counts
from toolchain.kernels import Plan
from toolchain.spaces.cell import Cell


class Space(Protocol):
    """A set of networks, each named by a genotype: short text.

    Spaces are frozen dataclasses; their fields are the outline that all their networks share.
    Those of images are ``ImageSpace``s.

    Attributes:
        name: as in the table below.
    """

    name: ClassVar[str]

    def sample(self, rng: np.random.Generator) -> str:
        """A random genotype."""

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one random step away; the same where there is no such step."""

    def plan(self, genotype: str) -> Plan:
        """What a network runs for one input, an image or a word of a text, and on what.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def kernels(self, genotype: str) -> tuple[Kernel, ...]:
        """The kernels of the plan.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def counts(self, genotype: str) -> Counts:
        """What a network costs for one input.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run."""


@runtime_checkable
class CellSpace(Space, Protocol):
    """A space whose networks differ in one cell: what AutoShrink walks."""

    def random_operators(self, rng: np.random.Generator) -> str:
        """Letters of nodes 1, 2, ..., which a walk keeps."""

    def complete(self, operators: str) -> str:
        """The genotype of the complete DAG."""

    def parse(self, genotype: str) -> Cell:
        """The cell of a genotype.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def scored_cost(self, genotype: str) -> int:
        """Multiply-accumulates, as the paper's score counts them."""

    def score(self, metric: float, decades: float) -> float:
        """What the paper's score makes of a metric and of a cost.

        Args:
            metric: of a candidate; more is better.
            decades: how many powers of ten the cost is above a reference.
        """
