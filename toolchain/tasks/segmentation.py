"""Semantic segmentation: images with a label for each pixel, and the split a search may see.

Shapes: N images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.images import Images, channel_statistics
from toolchain.tasks.split import drawn_split

IGNORE = 255
"""Label of pixels that nobody labelled: no loss is taken on them, and no metric counts them."""

MAX_CLASSES = 254

Color = tuple[int, int, int]
"""Red, green and blue, each in 0..255."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedImages(Images):
    """Images with the label of each of their pixels.

    Attributes:
        masks: Labels of shape NHW, uint8: an index into the classes of the task, or IGNORE.
    """

    masks: Tensor

    def __post_init__(self) -> None:
        """Check the masks too; see Images."""
        super().__post_init__()
        count, _, *size = self.images.shape
        if self.masks.dtype != torch.uint8 or self.masks.shape != (count, *size):
            raise ValueError(
                f"masks must be uint8 of shape {(count, *size)}, not "
                f"{self.masks.dtype} of shape {tuple(self.masks.shape)}"
            )

    def select(self, indices_N: Tensor) -> MaskedImages:
        """Return the images at `indices_N`, in that order; an index may repeat."""
        return replace(self, images=self.images[indices_N], masks=self.masks[indices_N])

    def class_pixels(self, classes: int) -> Tensor:
        """Count the pixels of each class; shape K, int64."""
        return torch.bincount(self.masks.flatten(), minlength=IGNORE + 1)[:classes]


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationData:
    """A task: images to train on, images to report on, and the names of the classes.

    Attributes:
        name: What reports call the data set.
        train: Images that a search or a training may learn or choose from.
        validation: The data set's own validation images, for choosing; None where it has none
            that are not its test set.
        test: Held back for the figure that is reported at the very end.
        classes: Name of each label.
        colors: Color of each label in drawings.
    """

    name: str
    train: MaskedImages
    validation: MaskedImages | None
    test: MaskedImages
    classes: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        """Check that there is something to tell apart.

        Raises:
            ValueError: There are fewer than two classes or too many, or not as many colors.
            DataUnusable: No pixel of the training or of the test images has a label.
        """
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(f"{len(self.classes)} classes; there must be 2 to {MAX_CLASSES}")
        if len(self.colors) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colors)} colors")
        for part, images in (("training", self.train), ("test", self.test)):
            if not images.class_pixels(len(self.classes)).any():
                raise DataUnusable(
                    f"no pixel of the {len(images)} {part} images of {self.name} has a label: "
                    "are these its masks?"
                )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of one image."""
        channels, rows, columns = self.train.images.shape[1:]
        return channels, rows, columns

    def split(
        self, *, validation: int | None = None, train: int | None = None, seed: int
    ) -> tuple[MaskedImages, MaskedImages]:
        """Draw training and validation images; the test set stays unseen.

        The two never share an image. The validation images depend on `seed` and `validation`
        alone. Frames of one video are near copies of each other: where the data set brings
        validation images of its own, they tell more than drawn ones.

        Args:
            validation: Validation images to draw from the training images; the data set's own
                validation images when None.
            train: Training images to draw; all that remain when None.
            seed: Chooses the draw.

        Returns:
            The training images and the validation images.

        Raises:
            DataUnusable: There are fewer images than are asked for, or the data set has no
                validation images of its own.
        """
        rest_N, aside_N = drawn_split(
            self.name, len(self.train), self.validation is not None, validation, train, seed
        )
        training = self.train.select(rest_N)
        if aside_N is None:
            assert self.validation is not None
            return training, self.validation
        return training, self.train.select(aside_N)


def assemble_segmentation(
    name: str,
    *,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor] | None,
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
    colors: tuple[Color, ...],
) -> SegmentationData:
    """Build a task from (images, masks) pairs; the training images give mean and deviation.

    Raises:
        DataUnusable: No pixel of the training or of the test images has a label.
    """
    mean, std = channel_statistics(train[0])

    def part(pair: tuple[Tensor, Tensor]) -> MaskedImages:
        return MaskedImages(images=pair[0], masks=pair[1], mean=mean, std=std)

    return SegmentationData(
        name=name,
        train=part(train),
        validation=None if validation is None else part(validation),
        test=part(test),
        classes=classes,
        colors=colors,
    )
