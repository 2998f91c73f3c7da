"""Drawn people and shapes as data sets, for segmentation and for pose: the same scenes.

The similarity of keypoints is COCO's with a spread of 0.1 of the height plus half a pixel (in
images of 64 pixels), by an area of (height + 5)^2 and sigmas of 0.05.
"""

from __future__ import annotations

import torch

from toolchain.tasks.pose import PoseData, PoseImage, assemble_pose
from toolchain.tasks.scenes import CLASSES, COLORS, FULL_SIDE, Scene, drawn_scene, stacked
from toolchain.tasks.segmentation import SegmentationData, assemble_segmentation
from toolchain.tasks.skeleton import STICK_PERSON

NAME = "people-and-shapes"
TRAIN, VALIDATION, TEST = 3072, 384, 384
EXTRA_HEIGHT = 5.0


def people_and_shapes(
    *,
    side: int = FULL_SIDE,
    train: int = TRAIN,
    validation: int = VALIDATION,
    test: int = TEST,
    seed: int = 0,
) -> SegmentationData:
    """Draw scenes with labels of pixels.

    Args:
        side: Rows and columns, at least 32.
        train: Number of scenes to train on.
        validation: Number of scenes to choose by.
        test: Number of scenes to report on.
        seed: Chooses all scenes; a scene does not depend on how many there are.
    """
    parts = _parts(side, (train, validation, test), seed)
    first, second, third = (stacked(part) for part in parts)
    return assemble_segmentation(
        NAME, train=first, validation=second, test=third, classes=CLASSES, colors=COLORS
    )


def stick_people(
    *,
    side: int = FULL_SIDE,
    train: int = TRAIN,
    validation: int = VALIDATION,
    test: int = TEST,
    seed: int = 0,
) -> PoseData:
    """Draw the scenes of `people_and_shapes` with keypoints; arguments as there."""
    parts = _parts(side, (train, validation, test), seed)
    first, second, third = ([_posed(number, one) for number, one in enumerate(p)] for p in parts)
    return assemble_pose(NAME, STICK_PERSON, train=first, validation=second, test=third)


def _parts(side: int, counts: tuple[int, int, int], seed: int) -> list[list[Scene]]:
    return [
        [drawn_scene(side, seed, part, number) for number in range(count)]
        for part, count in enumerate(counts)
    ]


def _posed(number: int, scene: Scene) -> PoseImage:
    side = len(scene.mask)
    points_PK2 = torch.from_numpy(scene.points).float()
    heights_P = torch.from_numpy(scene.heights).float()
    low_P2, high_P2 = points_PK2.amin(dim=1), points_PK2.amax(dim=1)
    is_inside_PK = ((points_PK2 > -0.5) & (points_PK2 < side - 0.5)).all(dim=-1)
    return PoseImage(
        number=number,
        pixels=torch.from_numpy(scene.pixels).permute(2, 0, 1).contiguous(),
        points=points_PK2,
        visibility=torch.where(is_inside_PK, 2, 0).byte(),
        boxes=torch.cat([low_P2, high_P2 - low_P2], dim=1),
        areas=(heights_P + EXTRA_HEIGHT * side / FULL_SIDE).square(),
        is_crowd=torch.zeros(len(points_PK2), dtype=torch.bool),
    )
