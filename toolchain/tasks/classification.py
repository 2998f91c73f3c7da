"""Image classification: labelled images in memory, and the split that a search may see.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import DataUnusable


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images, as they were read, with the statistics that normalise them.

    Attributes:
        images: Pixels of shape NCHW, uint8.
        labels: Class of each image, of shape N, int64, an index into the classes of the task.
        mean: Mean of each channel over the *training* images, pixels taken in [0, 1].
        std: Standard deviation of each channel, likewise; greater than 0.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what the training loop would only trip over later.

        Raises:
            ValueError: A dtype, a shape or a number of channels does not fit.
        """
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                "images must be uint8 of shape NCHW, not "
                f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 of shape ({len(self.images)},), not "
                f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )
        if not len(self.mean) == len(self.std) == self.images.shape[1]:
            raise ValueError(
                f"{self.images.shape[1]} channels need as many means and deviations, "
                f"not {len(self.mean)} and {len(self.std)}"
            )

    def __len__(self) -> int:
        return len(self.images)

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


def channel_statistics(images_NCHW: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, exact, from a histogram of its bytes.

    Args:
        images_NCHW: Pixels, uint8; the statistics are of pixels taken in [0, 1].
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel_NHW in images_NCHW.unbind(dim=1):
        counts = torch.bincount(channel_NHW.flatten(), minlength=256).double()
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        means.append(mean.item())
        # A constant channel carries nothing; any deviation but 0 normalises it to 0.
        deviations.append(variance.sqrt().item() or 1.0)
    return tuple(means), tuple(deviations)
