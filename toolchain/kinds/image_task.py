"""What tasks of images have in common: networks are graphs that read one image.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from toolchain.export.artifact import Artifact, Normalization
from toolchain.export.export import export_network
from toolchain.export.quantize import quantize_artifact
from toolchain.kinds.task import Task
from toolchain.module import GraphModule
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.protocol import Space
from toolchain.spaces.space import require_images
from toolchain.train.epoch import normalize
from toolchain.train.recipe import initialize

PARITY_INPUTS = 200
"""Test inputs on which the exported network is compared with the trained one."""

HELD_OUT_IMAGES = 1000
"""Test images, from all over the test set, on which int8 and float networks are compared."""

MOST_BYTES = 1 << 30
"""Of inputs in memory at once, as float32: of large images there are fewer of each."""

CLASSIFICATION = "classification"
"""Head of the networks of a space that has no choice of heads."""

Array = npt.NDArray[np.float32]


class HeldOut(NamedTuple):
    """Test inputs on which the files of a network are compared.

    Attributes:
        inputs: Normalised, of shape NCHW.
        judge: Gives the metric's value of outputs, features or maps of each input.
    """

    inputs: Tensor
    judge: Callable[[Array], float]


class ImageTask(Task):
    """Base of such tasks; see Task.

    Attributes:
        verb: What networks do in messages: "classifies images".
    """

    examples: ClassVar[str] = "images"
    verb: ClassVar[str]

    @property
    @abstractmethod
    def head(self) -> str:
        """Head that networks of a space with several must have."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of what a network reads."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Features or maps of the head: classes, labels or keypoints."""

    @property
    @abstractmethod
    def normalization(self) -> Normalization:
        """What is done to inputs before a network sees them."""

    @abstractmethod
    def parity_inputs(self, count: int) -> Tensor:
        """The first test inputs, normalised, of shape NCHW."""

    @abstractmethod
    def calibration_inputs(self, count: int, seed: int) -> Tensor:
        """Training inputs drawn at random, normalised, NCHW; all where there are fewer."""

    @abstractmethod
    def held_out(self, images: int) -> HeldOut:
        """Inputs of so many test images from all over the test set; all where there are fewer."""

    def normalized(self, images_NCHW: Tensor) -> Tensor:
        """Inputs of a network from pixels, uint8."""
        return normalize(images_NCHW, self.normalization, torch.device("cpu"))

    def fitted(self, space: Space) -> dict[str, Any]:
        """See Task."""
        if not isinstance(space, ImageSpace):
            raise ValueError(
                f"task {self.name} {self.verb}, and the networks of space {space.name} read no "
                "images: take another space"
            )
        fit: dict[str, Any] = {"input_shape": self.input_shape, "classes": self.classes}
        if has_heads(space):
            fit["head"] = self.head
        elif self.head != CLASSIFICATION:
            raise ValueError(
                f"task {self.name} {self.verb}, and the networks of space {space.name} classify "
                f"images: they have no head {self.head!r}; take --space scalenet"
            )
        return fit

    def initialize(self, module: nn.Module, seed: int) -> None:
        """See Task."""
        initialize(module, seed=seed)

    def network(self, space: Space, genotype: str) -> GraphModule:
        """See Task."""
        return GraphModule(require_images(space).decode(genotype))

    def export(self, module: nn.Module, space: Space, genotype: str, directory: Path) -> Artifact:
        """See Task."""
        return export_network(
            module,
            require_images(space).decode(genotype),
            self.parity_inputs(self._at_most(PARITY_INPUTS)),
            directory,
            genotype=genotype,
            normalization=self.normalization,
        )

    def quantize(self, artifact: Artifact, path: Path, calibration: int, seed: int) -> Artifact:
        """See Task."""
        held_out = self.held_out(self._at_most(HELD_OUT_IMAGES))
        return quantize_artifact(
            artifact,
            path,
            _array(self.calibration_inputs(self._at_most(calibration), seed)),
            _array(held_out.inputs),
            None,
            judge=held_out.judge,
            metric=self.metric.name,
        )

    def _at_most(self, count: int) -> int:
        """So many inputs, or as many as memory should hold."""
        return max(1, min(count, MOST_BYTES // (4 * math.prod(self.input_shape))))


def has_heads(space: Space) -> bool:
    """Whether the networks of a space may end in heads of several kinds."""
    return any(field.name == "head" for field in fields(space))  # type: ignore[arg-type]


def spread(images: int, count: int) -> list[int]:
    """Numbers of so many of the images, from all over the set; of all where there are fewer."""
    count = min(images, count)
    return [index * images // count for index in range(count)]


def _array(inputs_NCHW: Tensor) -> Array:
    """Inputs as the exported files take them, but for the order of the axes."""
    return inputs_NCHW.contiguous().numpy(force=True)
