"""The two ways to find people: one cut out at a time, or all of an image at once.

What differs between them, so that training, scores and drawings need not know which it is. Both
have losses of one scale, 100 times a squared error of heatmaps: the gradients of tiny maps are
else too small for clipping and weight decay (our choice).

Shapes: N examples (persons or images), C channels, H rows, W columns, K keypoints, L maps, h, w of
a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.augmentation import STILL, Movement
from toolchain.tasks.bottom_up import SceneSettings, Targets, scenes
from toolchain.tasks.bottom_up_detections import bottom_up_detections, network_maps
from toolchain.tasks.grouping import GroupingSettings
from toolchain.tasks.keypoint_scores import Detection
from toolchain.tasks.pose import Person, PoseImage, labelled_persons
from toolchain.tasks.skeleton import Skeleton
from toolchain.tasks.top_down import CropSettings, crops, detections
from toolchain.train.pose_losses import (
    TAG_WEIGHT,
    heatmap_loss,
    masked_heatmap_loss,
    tag_losses,
)

HEATMAP_WEIGHT = 100.0


class Prepared(NamedTuple):
    """Examples as a network sees them.

    Attributes:
        images: Of shape NCHW, uint8.
        targets: What `loss` takes.
        maps: Affine maps from the original images, of shape N23.
    """

    images: Tensor
    targets: Any
    maps: Tensor


class PoseApproach(Protocol):
    """A way to find people."""

    @property
    def head(self) -> str:
        """Of the networks, a name of `scalenet_heads.HEADS`."""

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns that a network reads."""

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints."""

    def examples(self, images: Sequence[PoseImage]) -> Sequence[Any]:
        """What a network looks at one by one: persons, or whole images."""

    def prepared(
        self,
        examples: Sequence[Any],
        movement: Movement = STILL,
        generator: torch.Generator | None = None,
    ) -> Prepared:
        """Examples with their targets; a movement needs a generator."""

    def loss(self, outputs_NLhw: Tensor, targets: Any) -> Tensor:
        """Mean loss of a batch, a scalar."""

    def imitation(self, outputs_NLhw: Tensor, taught_NLhw: Tensor) -> Tensor:
        """Distance of heatmaps to a teacher's, a scalar."""

    def found(
        self, outputs_NLhw: Tensor, maps_N23: Tensor, examples: Sequence[Any]
    ) -> list[Detection]:
        """The persons that the outputs stand for."""


@dataclass(frozen=True, kw_only=True)
class TopDown:
    """See PoseApproach: one person at a time, cut out by a box that is given.

    Attributes:
        skeleton: The keypoints.
        crop: Sizes.
        half_bodies: Share of the training persons of whom half is cut out.
    """

    skeleton: Skeleton
    crop: CropSettings
    half_bodies: float = 0.0

    head = "pose"

    @property
    def hw(self) -> tuple[int, int]:
        """See PoseApproach."""
        return self.crop.crop_hw

    def examples(self, images: Sequence[PoseImage]) -> list[Person]:
        """See PoseApproach: the persons with labels."""
        return labelled_persons(images)

    def prepared(
        self,
        examples: Sequence[Person],
        movement: Movement = STILL,
        generator: torch.Generator | None = None,
    ) -> Prepared:
        """See PoseApproach; targets are heatmaps and weights."""
        made = crops(
            examples,
            self.crop,
            self.skeleton,
            movement=movement,
            half_bodies=self.half_bodies if generator is not None and movement != STILL else 0.0,
            generator=generator,
        )
        return Prepared(made.images, (made.heatmaps, made.weights), made.maps)

    def loss(self, outputs_NLhw: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        """See PoseApproach."""
        return HEATMAP_WEIGHT * heatmap_loss(outputs_NLhw, *targets)

    def imitation(self, outputs_NLhw: Tensor, taught_NLhw: Tensor) -> Tensor:
        """See PoseApproach."""
        return HEATMAP_WEIGHT * F.mse_loss(outputs_NLhw, taught_NLhw)

    def found(
        self, outputs_NLhw: Tensor, maps_N23: Tensor, examples: Sequence[Person]
    ) -> list[Detection]:
        """See PoseApproach: as many persons as examples."""
        return detections(outputs_NLhw, maps_N23, examples, self.crop)


@dataclass(frozen=True, kw_only=True)
class BottomUp:
    """See PoseApproach: all persons of an image, told apart by tags (HigherHRNet).

    A network gives the coarse maps enlarged to the size of the fine ones, and the losses are taken
    there: of coarse heatmaps against targets that are enlarged alike, of tags after averaging
    back. HigherHRNet takes them at the coarse size; both are 0 for the same coarse maps.

    Attributes:
        skeleton: The keypoints.
        scene: Sizes.
        tag_weight: Of both losses of tags, beside that of heatmaps.
        grouping: Thresholds by which persons are put together.
    """

    skeleton: Skeleton
    scene: SceneSettings
    tag_weight: float = TAG_WEIGHT
    grouping: GroupingSettings = field(default_factory=GroupingSettings)

    head = "bottom-up"

    @property
    def hw(self) -> tuple[int, int]:
        """See PoseApproach."""
        return self.scene.hw

    def examples(self, images: Sequence[PoseImage]) -> Sequence[PoseImage]:
        """See PoseApproach: the images, with people or without."""
        return images

    def prepared(
        self,
        examples: Sequence[PoseImage],
        movement: Movement = STILL,
        generator: torch.Generator | None = None,
    ) -> Prepared:
        """See PoseApproach; targets are those of both strides, and places of keypoints."""
        made = scenes(examples, self.scene, self.skeleton, movement=movement, generator=generator)
        return Prepared(made.images, (made.coarse, made.fine, made.places), made.maps)

    def loss(self, outputs_NLhw: Tensor, targets: tuple[Targets, Targets, Tensor]) -> Tensor:
        """See PoseApproach."""
        coarse, fine, places_NPK = targets
        low_NKhw, tags_NKhw, high_NKhw = outputs_NLhw.chunk(3, dim=1)
        ratio = self.scene.coarse_stride // self.scene.fine_stride
        enlarged = F.interpolate(
            coarse.heatmaps, scale_factor=ratio, mode="bilinear", align_corners=False
        )
        error = masked_heatmap_loss(low_NKhw, enlarged, fine.is_labelled)
        error = error + masked_heatmap_loss(high_NKhw, *fine)
        pull, push = tag_losses(F.avg_pool2d(tags_NKhw, ratio), places_NPK)
        return HEATMAP_WEIGHT * (error + self.tag_weight * (pull + push))

    def imitation(self, outputs_NLhw: Tensor, taught_NLhw: Tensor) -> Tensor:
        """See PoseApproach; tags are each network's own."""
        (low, _, high), (low_taught, _, high_taught) = (
            maps.chunk(3, dim=1) for maps in (outputs_NLhw, taught_NLhw)
        )
        return HEATMAP_WEIGHT * (F.mse_loss(low, low_taught) + F.mse_loss(high, high_taught))

    def found(
        self, outputs_NLhw: Tensor, maps_N23: Tensor, examples: Sequence[PoseImage]
    ) -> list[Detection]:
        """See PoseApproach."""
        heatmaps, tags = network_maps(outputs_NLhw, len(self.skeleton))
        return bottom_up_detections(
            heatmaps, tags, maps_N23, examples, self.hw, self.skeleton, self.grouping
        )
