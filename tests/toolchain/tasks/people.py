"""Images with people whose keypoints are where a test puts them."""

from __future__ import annotations

import torch
from torch import Tensor

from toolchain.tasks.pose import PoseImage


def image_of(
    points_PK2: Tensor,
    *,
    number: int = 1,
    size: tuple[int, int] = (120, 160),
    visibility_PK: Tensor | None = None,
    is_crowd: list[bool] | None = None,
) -> PoseImage:
    """An image of noise; the box of a person is that of all keypoints."""
    persons = len(points_PK2)
    if persons:
        low_P2, high_P2 = points_PK2.amin(dim=1), points_PK2.amax(dim=1)
        boxes_P4 = torch.cat([low_P2, high_P2 - low_P2], dim=1)
    else:
        boxes_P4 = torch.zeros(0, 4)
    if visibility_PK is None:
        visibility_PK = torch.full(points_PK2.shape[:2], 2)
    return PoseImage(
        number=number,
        pixels=torch.randint(256, (3, *size), dtype=torch.uint8),
        points=points_PK2,
        visibility=visibility_PK.byte(),
        boxes=boxes_P4,
        areas=boxes_P4[:, 2:].prod(dim=1).clamp(min=1),
        is_crowd=torch.tensor(is_crowd or [False] * persons, dtype=torch.bool),
    )


def somewhere(persons: int, keypoints: int, seed: int) -> Tensor:
    """Keypoints of persons inside an image of 120 rows and 160 columns, of shape PK2."""
    generator = torch.Generator().manual_seed(seed)
    corner_P12 = torch.rand(persons, 1, 2, generator=generator) * torch.tensor([80.0, 50.0]) + 10
    return corner_P12 + 55 * torch.rand(persons, keypoints, 2, generator=generator)
