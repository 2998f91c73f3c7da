"""Top-down pose: one person at a time, cut out and brought to one size.

Sources: Simple Baselines for Human Pose Estimation, arXiv 1804.06208, and HRNet, arXiv 1902.09212,
whose crops and scores ScaleNAS uses.

Shapes: N persons, C channels, H rows and W columns of a crop, h and w of a map, K keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toolchain.tasks.affine import after, inverse, moved_images, moved_points, placing
from toolchain.tasks.augmentation import STILL, Movement, Moves, moved_keypoints
from toolchain.tasks.half_body import half_body_boxes
from toolchain.tasks.heatmaps import bells, mirrored_back, on_image, on_map, peaks, reaches
from toolchain.tasks.keypoint_scores import Detection
from toolchain.tasks.pose import Person
from toolchain.tasks.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """How persons are cut out, and the maps that stand for their keypoints.

    Attributes:
        rows: Of a crop, a multiple of `stride`.
        columns: Likewise.
        stride: Pixels of a crop for one of a map, along either axis.
        sigma: Standard deviation of a bell, in pixels of a map.
        margin: Factor by which boxes are enlarged, so that limbs at their edge have surroundings.
    """

    rows: int = 256
    columns: int = 192
    stride: int = 4
    sigma: float = 2.0
    margin: float = 1.25

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        if self.stride < 1 or self.rows % self.stride or self.columns % self.stride:
            raise ValueError(
                f"{self.rows}x{self.columns} is no multiple of the stride {self.stride}"
            )
        for name in ("rows", "columns", "sigma", "margin"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} is out of range")

    @property
    def crop_hw(self) -> tuple[int, int]:
        """Rows and columns of a crop."""
        return self.rows, self.columns

    @property
    def map_hw(self) -> tuple[int, int]:
        """Rows and columns of a map."""
        return self.rows // self.stride, self.columns // self.stride


class Crops(NamedTuple):
    """Persons cut out.

    Attributes:
        images: Of shape NCHW, uint8.
        heatmaps: What a network should give, of shape NKhw, float32.
        weights: 1 where it should, 0 where nobody knows or the keypoint is outside; of shape NK.
        maps: Affine maps from the images to the crops, of shape N23, float64.
    """

    images: Tensor
    heatmaps: Tensor
    weights: Tensor
    maps: Tensor


def crops(
    persons: Sequence[Person],
    settings: CropSettings,
    skeleton: Skeleton,
    *,
    movement: Movement = STILL,
    half_bodies: float = 0.0,
    generator: torch.Generator | None = None,
) -> Crops:
    """Cut persons out of their images.

    Args:
        persons: At least one; each with a box that has an area.
        settings: Sizes.
        skeleton: The keypoints.
        movement: Random movement of each crop.
        half_bodies: Share of the persons, in [0, 1], of whom half is cut out.
        generator: Chooses movements and halves; needed where there are any.

    Raises:
        ValueError: There is no generator.
    """
    if generator is None and (movement != STILL or half_bodies):
        raise ValueError("a random movement needs a generator")
    boxes_N4 = torch.stack([person.image.boxes[person.row] for person in persons])
    if generator is not None and half_bodies:
        boxes_N4 = half_body_boxes(persons, boxes_N4, skeleton, half_bodies, generator)
    maps_N23 = crop_maps(boxes_N4, settings)
    is_mirrored_N = torch.zeros(len(persons), dtype=torch.bool)
    if generator is not None and movement != STILL:
        moves = movement.draw(len(persons), settings.crop_hw, settings.crop_hw, generator)
        maps_N23, is_mirrored_N = after(moves.maps, maps_N23), moves.is_mirrored
    images_NCHW = torch.cat(
        [
            moved_images(person.image.pixels.unsqueeze(0), map_23.unsqueeze(0), settings.crop_hw)
            for person, map_23 in zip(persons, maps_N23, strict=True)
        ]
    )
    points_NK2, visibility_NK = (
        rows.squeeze(1)
        for rows in moved_keypoints(
            torch.stack([person.image.points[person.row] for person in persons]).unsqueeze(1),
            torch.stack([person.image.visibility[person.row] for person in persons]).unsqueeze(1),
            Moves(maps_N23, is_mirrored_N),
            skeleton,
        )
    )
    middles_NK2 = on_map(points_NK2, settings.stride)
    is_drawn_NK = (visibility_NK > 0) & reaches(middles_NK2, settings.map_hw, settings.sigma)
    heatmaps_NKhw = bells(middles_NK2, is_drawn_NK, settings.map_hw, settings.sigma)
    return Crops(images_NCHW, heatmaps_NKhw, is_drawn_NK.float(), maps_N23)


def crop_maps(boxes_N4: Tensor, settings: CropSettings) -> Tensor:
    """Return affine maps, of shape N23, that put each box in the middle of a crop.

    A box keeps its shape: the crop holds it, `margin` times as large, with more of its
    surroundings along one axis.
    """
    rows, columns = settings.crop_hw
    left_top_N2, width_height_N2 = boxes_N4.double().chunk(2, dim=1)
    # Boxes are bounded by edges, points count from the center of a pixel.
    center_N2 = left_top_N2 + width_height_N2 / 2 - 0.5
    sides_2 = torch.tensor([columns, rows], dtype=torch.float64)
    scale_N = (sides_2 / width_height_N2).min(dim=1).values / settings.margin
    return placing(center_N2, ((sides_2 - 1) / 2).expand_as(center_N2), scale_N)


def detections(
    heatmaps_NKhw: Tensor,
    maps_N23: Tensor,
    persons: Sequence[Person],
    settings: CropSettings,
) -> list[Detection]:
    """Return the persons that heatmaps stand for, each scored by the mean of its peaks.

    Args:
        heatmaps_NKhw: From a network.
        maps_N23: Of the crops that the network saw.
        persons: Whom they were cut out as.
        settings: Those of the crops.
    """
    peaks_NK2, scores_NK = peaks(heatmaps_NKhw)
    points_NK2 = moved_points(on_image(peaks_NK2, settings.stride), inverse(maps_N23))
    return [
        Detection(
            image=person.image.number,
            points=points_K2,
            scores=scores_K,
            score=scores_K.mean().item(),
        )
        for person, points_K2, scores_K in zip(persons, points_NK2, scores_NK, strict=True)
    ]


def flip_tested(network: Callable[[Tensor], Tensor], x_NCHW: Tensor, skeleton: Skeleton) -> Tensor:
    """Return the mean of what a network gives for images and for their mirror images."""
    mirrored_NKhw: Tensor = mirrored_back(network(x_NCHW.flip(3)), skeleton)
    return (network(x_NCHW) + mirrored_NKhw) / 2
