"""The table of search spaces, and how one is made by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from latency_tables.kernel import Kernel
from toolchain.errors import NameUnknown
from toolchain.settings import override
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.protocol import Space as Space
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace

SPACES: Mapping[str, Callable[[], Space]] = {
    ShrinkCnnSpace.name: ShrinkCnnSpace,
    SwiftNetSpace.name: SwiftNetSpace,
    MobileNetSpace.name: MobileNetSpace,
    ScaleNetSpace.name: ScaleNetSpace,
    ShrinkRnnSpace.name: ShrinkRnnSpace,
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


def require_images(space: Space) -> ImageSpace:
    """The space, if its networks read images.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(space, ImageSpace):
        raise ValueError(f"the networks of space {space.name} read no images: take another space")
    return space


def space_to_json(space: Space) -> dict[str, Any]:
    """Name and fields of a space, as ``make_space`` takes them."""
    return {"name": space.name, "settings": asdict(space)}  # type: ignore[call-overload]


def space_kernels(space: Space) -> frozenset[Kernel]:
    """Every kernel that any network of the space can run."""
    return frozenset(
        kernel for genotype in space.witnesses() for kernel in space.kernels(genotype)
    )
