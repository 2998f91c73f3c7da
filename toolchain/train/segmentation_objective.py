"""Training for segmentation: cross entropy of pixels, scored by mean IoU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.errors import DataUnusable
from toolchain.tasks.augmentation import STILL, Movement, moved_with_masks
from toolchain.tasks.confusion import Confusion, confusion
from toolchain.tasks.segmentation import MaskedImages
from toolchain.train.epoch import EVALUATION_BATCH, normalize
from toolchain.train.segmentation_losses import cross_entropy, enlarged

CALIBRATION_BATCHES = 4
CALIBRATION_IMAGES = 64

PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""Takes scores NKhw and masks NHW."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationObjective:
    """See Objective.

    Attributes:
        training: Images to learn from.
        validation: Images to choose by.
        classes: Number of labels.
        movement: How training images are moved about.
        pixel_loss: What is minimized.
    """

    training: MaskedImages
    validation: MaskedImages
    classes: int
    movement: Movement = STILL
    pixel_loss: PixelLoss = cross_entropy

    def __post_init__(self) -> None:
        """Check that there is something to score by.

        Raises:
            DataUnusable: No pixel of the validation images has a label.
        """
        if not self.validation.class_pixels(self.classes).any():
            raise DataUnusable(
                f"no pixel of the {len(self.validation)} validation images has a label: set more "
                "of the training images aside"
            )

    @property
    def images(self) -> int:
        """See Objective."""
        return len(self.training)

    def batch(self, indices_N: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See Objective; targets are masks of shape NHW."""
        images_NCHW, masks_NHW = self.training.images[indices_N], self.training.masks[indices_N]
        if self.movement != STILL:
            rows, columns = images_NCHW.shape[2:]
            images_NCHW, masks_NHW = moved_with_masks(
                images_NCHW, masks_NHW, self.movement, (rows, columns), generator
            )
        return normalize(images_NCHW, self.training, torch.device("cpu")), masks_NHW

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See Objective."""
        return self.pixel_loss(outputs, targets)

    def imitation(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """See Objective: the squared distance of the scores."""
        return F.mse_loss(outputs, taught)

    def calibration(self) -> Iterator[Tensor]:
        """See Objective: the first training images, as they are."""
        for first in range(0, CALIBRATION_BATCHES * CALIBRATION_IMAGES, CALIBRATION_IMAGES):
            images_NCHW = self.training.images[first : first + CALIBRATION_IMAGES]
            if len(images_NCHW):
                yield normalize(images_NCHW, self.training, torch.device("cpu"))

    def score(self, network: nn.Module) -> float:
        """See Objective: the mean IoU, in [0, 1]."""
        return measure_segmentation(network, self.validation, self.classes).mean_iou

    def scoring(self) -> Self:
        """See Objective."""
        few_N = torch.arange(min(len(self.training), CALIBRATION_BATCHES * CALIBRATION_IMAGES))
        return replace(self, training=self.training.select(few_N))


@torch.no_grad()
def measure_segmentation(network: nn.Module, images: MaskedImages, classes: int) -> Confusion:
    """Count what a network takes the pixels of images for; its mode is left as it was."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    total = Confusion(counts=torch.zeros(classes, classes, dtype=torch.int64))
    for batch_N in torch.split(torch.arange(len(images)), EVALUATION_BATCH):
        logits_NKhw = network(normalize(images.images[batch_N], images, device))
        masks_NHW = images.masks[batch_N]
        total += confusion(labels_of(logits_NKhw, masks_NHW), masks_NHW, classes)
    network.train(was_training)
    return total


def labels_of(logits_NKhw: Tensor, masks_NHW: Tensor) -> Tensor:
    """Return what a network takes each pixel for, of shape NHW as the masks are, on the CPU."""
    rows, columns = masks_NHW.shape[1:]
    return enlarged(logits_NKhw, (rows, columns)).argmax(dim=1).cpu()
