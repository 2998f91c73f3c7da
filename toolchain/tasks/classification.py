"""Image classification: labelled images in memory, and the split that a search may see.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.images import Images, channel_statistics


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet(Images):
    """Images with a label each.

    Attributes:
        labels: Class of each image, of shape N, int64, an index into the classes of the task.
    """

    labels: Tensor

    def __post_init__(self) -> None:
        """Check the labels too; see Images."""
        super().__post_init__()
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 of shape ({len(self.images)},), not "
                f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )

    def select(self, indices_N: Tensor) -> ImageSet:
        """Return the images at `indices_N`, in that order; an index may repeat."""
        return replace(self, images=self.images[indices_N], labels=self.labels[indices_N])


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassificationData:
    """A task: images to train on, images to report on, and the names of the classes.

    Attributes:
        name: What reports call the data set.
        train: The only images that a search or a training may learn or choose from.
        test: Held back for the figure that is reported at the very end.
        classes: Name of each label.
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of one image."""
        channels, rows, columns = self.train.images.shape[1:]
        return channels, rows, columns

    def split(
        self,
        *,
        validation_per_class: int,
        train_per_class: int | None = None,
        with_replacement: bool = False,
        seed: int,
    ) -> tuple[ImageSet, ImageSet]:
        """Draw training and validation images from the training set; the test set stays unseen.

        The two never share an image. The validation images depend on `seed` and
        `validation_per_class` alone.

        Args:
            validation_per_class: Distinct validation images of each class.
            train_per_class: Training images of each class; all that remain when None.
            with_replacement: Draw the training images with replacement, so that some repeat.
            seed: Chooses the draw.

        Returns:
            The training images and the validation images, each sorted by class.

        Raises:
            DataUnusable: A class has fewer images than are asked for.
        """
        labels_N = self.train.labels.numpy()
        training: list[np.ndarray] = []
        validation: list[np.ndarray] = []
        least = 1 if train_per_class is None or with_replacement else train_per_class
        for label, name in enumerate(self.classes):
            generator = np.random.default_rng([seed, label])
            drawn = generator.permutation(np.flatnonzero(labels_N == label))
            if len(drawn) < validation_per_class + least:
                raise DataUnusable(
                    f"class {name!r} of {self.name} has {len(drawn)} training images; "
                    f"{validation_per_class} for validation and {least} or more for training "
                    "were asked for: ask for fewer per class, or add images"
                )
            validation.append(drawn[:validation_per_class])
            rest = drawn[validation_per_class:]
            if train_per_class is not None:
                rest = generator.choice(rest, train_per_class, replace=with_replacement)
            training.append(rest)
        return (
            self.train.select(torch.from_numpy(np.concatenate(training))),
            self.train.select(torch.from_numpy(np.concatenate(validation))),
        )


def assemble(
    name: str,
    *,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
) -> ClassificationData:
    """Build a task from (images, labels) pairs; the training images give mean and deviation."""
    mean, std = channel_statistics(train[0])
    return ClassificationData(
        name=name,
        train=ImageSet(images=train[0], labels=train[1], mean=mean, std=std),
        test=ImageSet(images=test[0], labels=test[1], mean=mean, std=std),
        classes=classes,
    )
