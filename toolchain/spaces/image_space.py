"""Spaces of networks that classify, segment or find keypoints in one image: graphs."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

from latency_tables.kernel import Kernel
from toolchain.count import Counts, count
from toolchain.graph import Graph
from toolchain.kernels import Plan, plan
from toolchain.layers import Shape
from toolchain.spaces.protocol import Space


class ImageSpace(Space):
    """Base of such spaces: what a network runs and costs follows from its graph.

    Attributes:
        input_shape: CHW of the images.
        classes: features of the classifier, or labels or keypoints where a space has such heads.
    """

    input_shape: Shape
    classes: int

    @abstractmethod
    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def plan(self, genotype: str) -> Plan:
        """See Space."""
        return plan(_decoded(self, genotype))

    def kernels(self, genotype: str) -> tuple[Kernel, ...]:
        """See Space."""
        return self.plan(genotype).kernels

    def counts(self, genotype: str) -> Counts:
        """See Space."""
        return count(_decoded(self, genotype))


@lru_cache(maxsize=1)
def _decoded(space: ImageSpace, genotype: str) -> Graph:
    """The network; kept, because who asks for its kernels asks for its counts next."""
    return space.decode(genotype)
