"""Bottom-up pose: all persons of an image at once, told apart by tags.

Source: HigherHRNet, arXiv 1908.10357, and its released code, whose head and targets ScaleNAS uses.
A network gives K heatmaps and K tags at a coarse stride, and K heatmaps at a fine one.

Shapes: N images, P persons at most, K keypoints, H rows and W columns of an image, h and w of a
map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.affine import after, moved_images, moved_masks, placing
from toolchain.tasks.augmentation import STILL, Movement, Moves, moved_keypoints
from toolchain.tasks.heatmaps import bells, on_map, reaches
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.skeleton import Skeleton

MAX_PERSONS = 30
"""More persons than these get no tags, as in HigherHRNet."""


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """How whole images are brought to one size, and the maps that stand for their keypoints.

    Attributes:
        side: Rows and columns, a multiple of both strides.
        coarse_stride: Pixels of an image for one of the maps with tags.
        fine_stride: Of the finer maps.
        sigma: Standard deviation of a bell, in pixels of a map, the same at both strides.
    """

    side: int = 512
    coarse_stride: int = 4
    fine_stride: int = 2
    sigma: float = 2.0

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        if not 1 <= self.fine_stride < self.coarse_stride:
            raise ValueError(
                f"strides {self.coarse_stride} and {self.fine_stride}: the fine one is smaller"
            )
        if self.side < 1 or self.side % self.coarse_stride or self.side % self.fine_stride:
            raise ValueError(
                f"side {self.side} is no multiple of the strides {self.coarse_stride} and "
                f"{self.fine_stride}"
            )
        if self.sigma <= 0:
            raise ValueError(f"sigma {self.sigma} is out of range")

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.side, self.side


class Targets(NamedTuple):
    """What a network should give at one stride.

    Attributes:
        heatmaps: Of shape NKhw, float32; where bells meet, the higher one.
        is_labelled: Pixels that a loss counts, of shape Nhw.
    """

    heatmaps: Tensor
    is_labelled: Tensor


class Scenes(NamedTuple):
    """Whole images, and what a network should give for them.

    Attributes:
        images: Of shape NCHW, uint8.
        coarse: At the coarse stride.
        fine: At the fine one.
        places: Pixel of each keypoint on the coarse maps, row w + column, or -1; of shape NPK.
        maps: Affine maps from the original images, of shape N23, float64.
    """

    images: Tensor
    coarse: Targets
    fine: Targets
    places: Tensor
    maps: Tensor


def scenes(
    images: Sequence[PoseImage],
    settings: SceneSettings,
    skeleton: Skeleton,
    *,
    movement: Movement = STILL,
    generator: torch.Generator | None = None,
) -> Scenes:
    """Bring images to one size, whole and in the middle, and draw their targets.

    The longer side fills the result, so that nobody is cut off before a movement; HigherHRNet's
    training fills it with the shorter side.

    Args:
        images: At least one; they may differ in size, and there may be nobody in them.
        settings: Sizes.
        skeleton: The keypoints.
        movement: Random movement of each image.
        generator: Chooses the movements; needed unless `movement` is STILL.

    Raises:
        ValueError: There is no generator.
    """
    maps_N23 = _fitting(images, settings)
    is_mirrored_N = torch.zeros(len(images), dtype=torch.bool)
    if movement != STILL:
        if generator is None:
            raise ValueError("a random movement needs a generator")
        moves = movement.draw(len(images), settings.hw, settings.hw, generator)
        maps_N23, is_mirrored_N = after(moves.maps, maps_N23), moves.is_mirrored
    points_NPK2, visibility_NPK = moved_keypoints(
        *_padded(images, skeleton), Moves(maps_N23, is_mirrored_N), skeleton
    )
    each = list(zip(images, maps_N23.unsqueeze(1), strict=True))
    pixels_NCHW = torch.cat(
        [moved_images(image.pixels.unsqueeze(0), map_123, settings.hw) for image, map_123 in each]
    )
    # Whatever lies outside the image is known to hold nobody.
    is_unlabelled_NHW = torch.cat(
        [_unlabelled(image, map_123, settings) for image, map_123 in each]
    )
    coarse, fine = (
        _targets(points_NPK2, visibility_NPK, is_unlabelled_NHW, stride, settings)
        for stride in (settings.coarse_stride, settings.fine_stride)
    )
    places_NPK = _places(points_NPK2, visibility_NPK, settings)
    return Scenes(pixels_NCHW, coarse, fine, places_NPK, maps_N23)


def _fitting(images: Sequence[PoseImage], settings: SceneSettings) -> Tensor:
    """Affine maps that put each image in the middle, its longer side as long as the result's."""
    sizes_N2 = torch.tensor(
        [image.pixels.shape[:0:-1] for image in images], dtype=torch.float64
    )  # columns, rows
    middle_N2 = torch.full_like(sizes_N2, (settings.side - 1) / 2)
    return placing((sizes_N2 - 1) / 2, middle_N2, settings.side / sizes_N2.max(dim=1).values)


def _padded(images: Sequence[PoseImage], skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Keypoints and visibility of all images, with persons of no keypoints where there are few."""
    persons = max(1, *(len(image.points) for image in images))
    points_NPK2 = torch.zeros(len(images), persons, len(skeleton), 2)
    visibility_NPK = torch.zeros(len(images), persons, len(skeleton), dtype=torch.uint8)
    for index, image in enumerate(images):
        is_person_P = ~image.is_crowd
        count = int(is_person_P.sum())
        points_NPK2[index, :count] = image.points[is_person_P]
        visibility_NPK[index, :count] = image.visibility[is_person_P]
    return points_NPK2, visibility_NPK


def _unlabelled(image: PoseImage, map_123: Tensor, settings: SceneSettings) -> Tensor:
    if image.unlabelled is None:
        return torch.zeros(1, *settings.hw, dtype=torch.bool)
    mask_1HW = moved_masks(image.unlabelled.byte().unsqueeze(0), map_123, settings.hw)
    return mask_1HW == 1


def _targets(
    points_NPK2: Tensor,
    visibility_NPK: Tensor,
    is_unlabelled_NHW: Tensor,
    stride: int,
    settings: SceneSettings,
) -> Targets:
    side = settings.side // stride
    middles_NPK2 = on_map(points_NPK2, stride)
    is_drawn_NPK = (visibility_NPK > 0) & reaches(middles_NPK2, (side, side), settings.sigma)
    heatmaps_NKhw = torch.stack(
        [
            bells(middles_PK2, is_drawn_PK, (side, side), settings.sigma).amax(dim=0)
            for middles_PK2, is_drawn_PK in zip(middles_NPK2, is_drawn_NPK, strict=True)
        ]
    )
    is_unlabelled_Nhw = F.max_pool2d(is_unlabelled_NHW.float().unsqueeze(1), stride).squeeze(1) > 0
    return Targets(heatmaps_NKhw, ~is_unlabelled_Nhw)


def _places(points_NPK2: Tensor, visibility_NPK: Tensor, settings: SceneSettings) -> Tensor:
    side = settings.side // settings.coarse_stride
    pixel_NPK2 = on_map(points_NPK2, settings.coarse_stride).round().long()
    is_inside_NPK = ((pixel_NPK2 >= 0) & (pixel_NPK2 < side)).all(dim=-1)
    place_NPK = pixel_NPK2[..., 1] * side + pixel_NPK2[..., 0]
    place_NPK = place_NPK.where(is_inside_NPK & (visibility_NPK > 0), -1)
    return place_NPK[:, :MAX_PERSONS]
