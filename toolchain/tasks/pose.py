"""Pose: images with the keypoints of the people in them, and the split a search may see.

Coordinates are (x, y) in pixels, x along a row; the *center* of the first pixel is (0, 0), so that
its left edge is at -0.5. Scaling an image by s thus moves x to s (x + 0.5) - 0.5.

Shapes: P persons, K keypoints, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.images import channel_statistics
from toolchain.tasks.skeleton import Skeleton
from toolchain.tasks.split import drawn_split


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseImage:
    """An image and the people in it, who may be none.

    Attributes:
        number: Unique in its part of the data set.
        pixels: Of shape CHW, uint8.
        points: Keypoints of shape PK2, float32; of no meaning where `visibility` is 0.
        visibility: Of shape PK, uint8: 0 not labelled, 1 labelled but hidden, 2 visible.
        boxes: Left, top, width and height of each person, of shape P4, float32.
        areas: Area of each person in square pixels, of shape P, float32, more than 0.
        is_crowd: Whether an entry is a crowd rather than a person, of shape P, bool.
        unlabelled: Pixels, of shape HW, bool, of people whose keypoints nobody labelled; None if
            there are none.
    """

    number: int
    pixels: Tensor
    points: Tensor
    visibility: Tensor
    boxes: Tensor
    areas: Tensor
    is_crowd: Tensor
    unlabelled: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse tensors that do not fit together.

        Raises:
            ValueError: A dtype or a shape does not fit.
        """
        persons, keypoints = self.visibility.shape
        shapes = {
            "points": (self.points, (persons, keypoints, 2)),
            "boxes": (self.boxes, (persons, 4)),
            "areas": (self.areas, (persons,)),
            "is_crowd": (self.is_crowd, (persons,)),
        }
        for name, (tensor, shape) in shapes.items():
            if tensor.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {tuple(tensor.shape)}")
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 3:
            raise ValueError(
                "pixels must be uint8 of shape CHW, not "
                f"{self.pixels.dtype} of shape {tuple(self.pixels.shape)}"
            )
        if self.unlabelled is not None and self.unlabelled.shape != self.pixels.shape[1:]:
            raise ValueError(
                f"unlabelled must have shape {tuple(self.pixels.shape[1:])}, not "
                f"{tuple(self.unlabelled.shape)}"
            )


class Person(NamedTuple):
    """One person: an image and the row of the person in its tensors."""

    image: PoseImage
    row: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseData:
    """A task: images to train on, images to report on, and what a person consists of.

    Attributes:
        name: What reports call the data set.
        skeleton: The keypoints.
        train: Images that a search or a training may learn or choose from.
        validation: The data set's own validation images, for choosing; None where it has none
            that are not its test set.
        test: Held back for the figure that is reported at the very end.
        mean: Mean of each channel over the *training* images, pixels taken in [0, 1].
        std: Standard deviation of each channel, likewise; greater than 0.
    """

    name: str
    skeleton: Skeleton
    train: tuple[PoseImage, ...]
    validation: tuple[PoseImage, ...] | None
    test: tuple[PoseImage, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def split(
        self, *, validation: int | None = None, train: int | None = None, seed: int
    ) -> tuple[tuple[PoseImage, ...], tuple[PoseImage, ...]]:
        """Draw training and validation images; the test set stays unseen.

        The two never share an image. The validation images depend on `seed` and `validation`
        alone.

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
        training = tuple(self.train[index] for index in rest_N)
        if aside_N is None:
            assert self.validation is not None
            return training, self.validation
        return training, tuple(self.train[index] for index in aside_N)


def labelled_persons(images: Sequence[PoseImage]) -> list[Person]:
    """List the persons that have a labelled keypoint and a box with an area, crowds left out."""
    persons = []
    for image in images:
        is_labelled_P = (image.visibility > 0).any(dim=1) & ~image.is_crowd
        has_box_P = (image.boxes[:, 2:] > 0).all(dim=1)
        rows = (is_labelled_P & has_box_P).nonzero().flatten().tolist()
        persons += [Person(image, row) for row in rows]
    return persons


def assemble_pose(
    name: str,
    skeleton: Skeleton,
    *,
    train: Sequence[PoseImage],
    validation: Sequence[PoseImage] | None,
    test: Sequence[PoseImage],
) -> PoseData:
    """Build a task; the training images give mean and deviation.

    Raises:
        DataUnusable: No person in the training or in the test images has labelled keypoints.
    """
    for part, images in (("training", train), ("test", test)):
        if not labelled_persons(images):
            raise DataUnusable(
                f"none of the {len(images)} {part} images of {name} has a person with labelled "
                "keypoints: is this the file of keypoints?"
            )
    # All pixels in one row: images may differ in size.
    pixels_C1L = torch.cat([image.pixels.flatten(1) for image in train], dim=1).unsqueeze(1)
    mean, std = channel_statistics(pixels_C1L.unsqueeze(0))
    return PoseData(
        name=name,
        skeleton=skeleton,
        train=tuple(train),
        validation=None if validation is None else tuple(validation),
        test=tuple(test),
        mean=mean,
        std=std,
    )
