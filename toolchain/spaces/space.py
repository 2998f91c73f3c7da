"""What every search space can do, and the table of those there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import numpy as np

from latency_tables.kernel import Kernel
from toolchain.errors import NameUnknown
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.layers import Shape
from toolchain.settings import override
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace


class Space(Protocol):
    """A set of networks, each named by a genotype: short text.

    Spaces are frozen dataclasses; their fields are the outline that all their networks share.

    Attributes:
        name: as in the table below.
        input_shape: CHW of the images.
        classes: features of the classifier, or labels or keypoints where a space has such heads.
    """

    name: ClassVar[str]

    @property
    def input_shape(self) -> Shape:
        """CHW of the images."""

    @property
    def classes(self) -> int:
        """Features of the classifier, or labels or keypoints."""

    def sample(self, rng: np.random.Generator) -> str:
        """A random genotype."""

    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text stands for no network of this space.
        """

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one random step away; the same where there is no such step."""

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run."""


SPACES: Mapping[str, Callable[[], Space]] = {
    ShrinkCnnSpace.name: ShrinkCnnSpace,
    SwiftNetSpace.name: SwiftNetSpace,
    MobileNetSpace.name: MobileNetSpace,
    ScaleNetSpace.name: ScaleNetSpace,
}
"""Every space by its name."""


def make_space(name: str, settings: Mapping[str, Any]) -> Space:
    """The space of a name with the given fields; the others keep their defaults.

    Raises:
        NameUnknown: there is no such space, or it has no such field.
        ValueError: a field's value is out of range.
    """
    if name not in SPACES:
        raise NameUnknown("space", name, SPACES)
    return override(SPACES[name](), settings)


def space_to_json(space: Space) -> dict[str, Any]:
    """Name and fields of a space, as ``make_space`` takes them."""
    return {"name": space.name, "settings": asdict(space)}  # type: ignore[call-overload]


def space_kernels(space: Space) -> frozenset[Kernel]:
    """Every kernel that any network of the space can run."""
    return frozenset(
        kernel for genotype in space.witnesses() for kernel in plan(space.decode(genotype)).kernels
    )
