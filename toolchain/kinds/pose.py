"""Pose: keypoints of people, found one person at a time or all at once; see `task.py`.

Shapes: N inputs (persons or images), C channels, H rows, W columns, L maps, h, w of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from toolchain.export.artifact import Normalization
from toolchain.kinds.image_task import Array, HeldOut, spread
from toolchain.kinds.metric import Metric
from toolchain.kinds.objective_task import ObjectiveTask, aside
from toolchain.kinds.task import Record
from toolchain.report.predictions_figure import pose_figure
from toolchain.tasks.augmentation import BOTTOM_UP, STILL, TOP_DOWN
from toolchain.tasks.bottom_up import SceneSettings
from toolchain.tasks.keypoint_scores import keypoint_scores
from toolchain.tasks.pose import PoseData, PoseImage, labelled_persons
from toolchain.tasks.top_down import CropSettings
from toolchain.train.epoch import place
from toolchain.train.pose_approaches import BottomUp, PoseApproach, TopDown
from toolchain.train.pose_losses import TAG_WEIGHT
from toolchain.train.pose_objective import PoseObjective, find_people, measure_pose

FIGURE_IMAGES = 8
CHANNELS = 3

FIGURES = {
    "ap50": "AP at similarity 0.5",
    "ap75": "AP at similarity 0.75",
    "ap_medium": "AP of medium persons",
    "ap_large": "AP of large persons",
    "recall": "recall",
}
"""COCO's figures beside the AP, by what people read."""


@dataclass(frozen=True, kw_only=True)
class PoseSettings:
    """What a user may choose of such a task.

    Attributes:
        approach: "top-down" cuts persons out by the boxes that the data set states; "bottom-up"
            finds all persons of an image at once.
        validation: Training images to set aside for choosing; 0 for the data set's own, or a
            tenth of the training images where it has none.
        sigma: Standard deviation of a keypoint's bell, in pixels of a map, which has a quarter of
            the input's rows and columns.
        augment: "moves" for random scale, rotation and mirror image; "none".
        half_bodies: Share of the persons of whom half is cut out in training, top-down.
        tag_weight: Of the losses of tags beside that of heatmaps, bottom-up.
    """

    approach: Literal["top-down", "bottom-up"] = "top-down"
    validation: int = 0
    sigma: float = 2.0
    augment: Literal["none", "moves"] = "moves"
    half_bodies: float = 0.3
    tag_weight: float = TAG_WEIGHT

    def __post_init__(self) -> None:
        ranges = {
            "validation": self.validation >= 0,
            "sigma": self.sigma > 0,
            "half_bodies": 0 <= self.half_bodies <= 1,
            "tag_weight": self.tag_weight >= 0,
        }
        for name, is_in_range in ranges.items():
            if not is_in_range:
                raise ValueError(f"{name} {getattr(self, name)} is out of range")


@dataclass(frozen=True, eq=False)
class Pose(ObjectiveTask):
    """See Task.

    Attributes:
        data: Images with keypoints.
        settings: The user's choice.
        size: Rows and columns that a network reads; equal ones bottom-up.
    """

    metric: ClassVar = Metric(key="ap", name="AP")
    verb: ClassVar = "finds keypoints"

    data: PoseData
    settings: PoseSettings
    size: tuple[int, int]

    def __post_init__(self) -> None:
        assert self.approach.hw == self.size  # the settings of the approach check the rest

    @property
    def name(self) -> str:
        """See Task."""
        return self.data.name

    @cached_property
    def approach(self) -> PoseApproach:
        """How people are found.

        Raises:
            ValueError: Inputs cannot have this size.
        """
        (rows, columns), settings = self.size, self.settings
        if settings.approach == "top-down":
            crop = CropSettings(rows=rows, columns=columns, sigma=settings.sigma)
            return TopDown(
                skeleton=self.data.skeleton, crop=crop, half_bodies=settings.half_bodies
            )
        if rows != columns:
            raise ValueError(
                f"bottom-up takes images of as many rows as columns, got {rows},{columns}: give "
                f"--image-size {max(self.size)}, or --task-set approach=top-down"
            )
        return BottomUp(
            skeleton=self.data.skeleton,
            scene=SceneSettings(side=rows, sigma=settings.sigma),
            tag_weight=settings.tag_weight,
        )

    @property
    def near_zero(self) -> tuple[str, ...]:
        """See ObjectiveTask: what gives heatmaps."""
        return ("heatmaps", "low", "high")

    @property
    def head(self) -> str:
        """See ImageTask."""
        return self.approach.head

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """See ImageTask."""
        return (CHANNELS, *self.size)

    @property
    def classes(self) -> int:
        """See ImageTask."""
        return len(self.data.skeleton)

    @property
    def normalization(self) -> Normalization:
        """See ImageTask."""
        return Normalization(mean=self.data.mean, std=self.data.std)

    def objective_of(self, train: int | None, seed: int) -> PoseObjective:
        """See ObjectiveTask."""
        data, settings = self.data, self.settings
        validation = aside(len(data.train), data.validation is not None, settings.validation)
        if train is not None:
            train = min(train, max(1, len(data.train) - (validation or 0)))
        training, validating = data.split(validation=validation, train=train, seed=seed)
        movement = TOP_DOWN if settings.approach == "top-down" else BOTTOM_UP
        return PoseObjective(
            approach=self.approach,
            training=self.approach.examples(training),
            validation=validating,
            statistics=self.normalization,
            movement=movement if settings.augment == "moves" else STILL,
        )

    def test(self, module: nn.Module) -> Record:
        """See Task."""
        place(module, "auto")
        scores = measure_pose(module, self.data.test, self.approach, self.normalization)
        return {
            "ap": scores.ap,
            "images": len(self.data.test),
            "details": {text: getattr(scores, name) for name, text in FIGURES.items()},
        }

    def figure(self, module: nn.Module) -> bytes:
        """See Task."""
        images = self._test_images(FIGURE_IMAGES)
        found = find_people(module, images, self.approach, self.normalization)
        return pose_figure(images, found, self.data.skeleton)

    def parity_inputs(self, count: int) -> Tensor:
        """See ImageTask."""
        return self._inputs(self.approach.examples(self.data.test)[:count])

    def calibration_inputs(self, count: int, seed: int) -> Tensor:
        """See ImageTask."""
        generator = torch.Generator().manual_seed(seed)
        examples = self.approach.examples(self.data.train)
        drawn_N = torch.randperm(len(examples), generator=generator)[:count]
        return self._inputs([examples[index] for index in drawn_N.tolist()])

    def held_out(self, images: int) -> HeldOut:
        """See ImageTask."""
        part = self._test_images(images)
        examples = self.approach.examples(part)
        maps_N23 = self.approach.prepared(examples).maps

        def average_precision(outputs_NLhw: Array) -> float:
            found = self.approach.found(torch.from_numpy(outputs_NLhw), maps_N23, examples)
            return keypoint_scores(part, found, self.data.skeleton).ap or 0.0

        return HeldOut(self._inputs(examples), average_precision)

    def _inputs(self, examples: Sequence[Any]) -> Tensor:
        return self.normalized(self.approach.prepared(examples).images)

    def _test_images(self, count: int) -> Sequence[PoseImage]:
        """Images from all over the test set, with somebody in one of them."""
        drawn = [self.data.test[index] for index in spread(len(self.data.test), count)]
        return drawn if labelled_persons(drawn) else self.data.test
