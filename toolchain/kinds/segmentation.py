"""Semantic segmentation; see `task.py`.

Shapes: N images, C channels, H rows, W columns, K classes; h, w of what a network gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from toolchain.export.artifact import Normalization
from toolchain.kinds.image_task import Array, HeldOut, spread
from toolchain.kinds.metric import Metric
from toolchain.kinds.objective_task import ObjectiveTask, aside
from toolchain.kinds.task import Record
from toolchain.report.predictions_figure import segmentation_figure
from toolchain.tasks.augmentation import SEGMENTATION, STILL
from toolchain.tasks.confusion import confusion
from toolchain.tasks.segmentation import MaskedImages, SegmentationData
from toolchain.train.epoch import normalize, place
from toolchain.train.segmentation_losses import class_weights, cross_entropy, hard_cross_entropy
from toolchain.train.segmentation_objective import (
    PixelLoss,
    SegmentationObjective,
    labels_of,
    measure_segmentation,
)

FIGURE_IMAGES = 6


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """What a user may choose of such a task.

    Attributes:
        validation: Training images to set aside for choosing; 0 for the data set's own, or a
            tenth of the training images where it has none.
        loss: "plain" cross entropy, "weighted" by how rare a class is (ENet), or "hard" pixels
            alone (OHEM).
        augment: "moves" for random scale, crop and mirror image; "none".
    """

    validation: int = 0
    loss: Literal["plain", "weighted", "hard"] = "plain"
    augment: Literal["none", "moves"] = "moves"

    def __post_init__(self) -> None:
        if self.validation < 0:
            raise ValueError(f"validation {self.validation} is out of range")


@dataclass(frozen=True, eq=False)
class Segmentation(ObjectiveTask):
    """See Task.

    Attributes:
        data: Images with a label for each pixel.
        settings: The user's choice.
    """

    metric: ClassVar = Metric(key="mean_iou", name="mIoU")
    verb: ClassVar = "labels pixels"

    data: SegmentationData
    settings: SegmentationSettings

    @property
    def name(self) -> str:
        """See Task."""
        return self.data.name

    @property
    def head(self) -> str:
        """See ImageTask."""
        return "segmentation"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """See ImageTask."""
        return self.data.input_shape

    @property
    def classes(self) -> int:
        """See ImageTask."""
        return len(self.data.classes)

    @property
    def normalization(self) -> Normalization:
        """See ImageTask."""
        return Normalization(mean=self.data.train.mean, std=self.data.train.std)

    def objective_of(self, train: int | None, seed: int) -> SegmentationObjective:
        """See ObjectiveTask."""
        data, settings = self.data, self.settings
        validation = aside(len(data.train), data.validation is not None, settings.validation)
        if train is not None:
            train = min(train, max(1, len(data.train) - (validation or 0)))
        training, validating = data.split(validation=validation, train=train, seed=seed)
        return SegmentationObjective(
            training=training,
            validation=validating,
            classes=self.classes,
            movement=SEGMENTATION if settings.augment == "moves" else STILL,
            pixel_loss=self._pixel_loss(),
        )

    def test(self, module: nn.Module) -> Record:
        """See Task."""
        place(module, "auto")
        measured = measure_segmentation(module, self.data.test, self.classes)
        pairs = zip(self.data.classes, measured.class_iou, strict=True)
        return {
            "mean_iou": measured.mean_iou,
            "images": len(self.data.test),
            "details": {
                **{f"IoU of {name}": iou for name, iou in pairs},
                "pixels right": measured.accuracy,
            },
        }

    @torch.no_grad()
    def figure(self, module: nn.Module) -> bytes:
        """See Task."""
        device = next(module.parameters()).device
        part = self._test_images(FIGURE_IMAGES)
        logits_NKhw = module.eval()(normalize(part.images, part, device))
        return segmentation_figure(
            part.images,
            part.masks,
            labels_of(logits_NKhw, part.masks),
            self.data.classes,
            self.data.colors,
        )

    def parity_inputs(self, count: int) -> Tensor:
        """See ImageTask."""
        return self.normalized(self.data.test.images[:count])

    def calibration_inputs(self, count: int, seed: int) -> Tensor:
        """See ImageTask."""
        generator = torch.Generator().manual_seed(seed)
        drawn_N = torch.randperm(len(self.data.train), generator=generator)[:count]
        return self.normalized(self.data.train.images[drawn_N])

    def held_out(self, images: int) -> HeldOut:
        """See ImageTask."""
        part = self._test_images(images)

        def mean_iou(outputs_NKhw: Array) -> float:
            predicted_NHW = labels_of(torch.from_numpy(outputs_NKhw), part.masks)
            return confusion(predicted_NHW, part.masks, self.classes).mean_iou

        return HeldOut(self.normalized(part.images), mean_iou)

    def _pixel_loss(self) -> PixelLoss:
        weights_K = None
        if self.settings.loss == "weighted":
            weights_K = class_weights(self.data.train.class_pixels(self.classes))
        losses = {"plain": cross_entropy, "weighted": cross_entropy, "hard": hard_cross_entropy}
        loss = losses[self.settings.loss]
        return loss if weights_K is None else partial(loss, class_weights_K=weights_K)

    def _test_images(self, count: int) -> MaskedImages:
        return self.data.test.select(torch.tensor(spread(len(self.data.test), count)))
