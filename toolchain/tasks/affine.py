"""Affine maps of the plane that move images, masks and points alike.

A map is a 2x3 matrix that takes a point (x, y) of the source to one of the result; coordinates are
those of the module `pose`, the center of the first pixel being (0, 0).

Shapes: N maps or images, C channels, H rows, W columns, 23 a matrix, 2 a point.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.segmentation import IGNORE


def placing(
    center_N2: Tensor,
    onto_N2: Tensor,
    scale_N: Tensor,
    degrees_N: Tensor | None = None,
    is_mirrored_N: Tensor | None = None,
) -> Tensor:
    """Return maps that put a center onto another point, scale, turn and mirror around it.

    Args:
        center_N2: The centers, in the source.
        onto_N2: Where they come to lie.
        scale_N: Factors of all lengths, more than 0.
        degrees_N: Angles to turn by, clockwise as one looks at the image; 0 when None.
        is_mirrored_N: Whether left and right change places, before the turn; never when None.

    Returns:
        Maps of shape N23, float64.
    """
    scale_N = scale_N.double()
    radians_N = torch.zeros_like(scale_N) if degrees_N is None else degrees_N * (math.pi / 180)
    cos_N, sin_N = scale_N * radians_N.cos(), scale_N * radians_N.sin()
    sign_N = 1.0 if is_mirrored_N is None else 1.0 - 2.0 * is_mirrored_N.double()
    rows_N22 = torch.stack(
        [torch.stack([sign_N * cos_N, -sin_N], -1), torch.stack([sign_N * sin_N, cos_N], -1)], 1
    )
    shift_N2 = onto_N2.double() - (rows_N22 @ center_N2.double().unsqueeze(-1)).squeeze(-1)
    return torch.cat([rows_N22, shift_N2.unsqueeze(-1)], dim=-1)


def after(outer_N23: Tensor, inner_N23: Tensor) -> Tensor:
    """Return the maps that do what `inner_N23` does, and then what `outer_N23` does."""
    rows_N22 = outer_N23[:, :, :2] @ inner_N23[:, :, :2]
    shift_N21 = outer_N23[:, :, :2] @ inner_N23[:, :, 2:] + outer_N23[:, :, 2:]
    return torch.cat([rows_N22, shift_N21], dim=-1)


def inverse(maps_N23: Tensor) -> Tensor:
    """Return the maps that lead back."""
    rows_N22 = torch.linalg.inv(maps_N23[:, :, :2])
    return torch.cat([rows_N22, -rows_N22 @ maps_N23[:, :, 2:]], dim=-1)


def moved_points(points: Tensor, maps_N23: Tensor) -> Tensor:
    """Return points of shape N...2, float32, each moved by the map of its own N."""
    count = len(maps_N23)
    flat_NP2 = points.reshape(count, -1, 2).double()
    moved_NP2 = flat_NP2 @ maps_N23[:, :, :2].mT + maps_N23[:, :, 2].unsqueeze(1)
    return moved_NP2.reshape(points.shape).float()


def moved_images(images_NCHW: Tensor, maps_N23: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """Return the images under the maps, interpolated, black where nothing comes to lie.

    Args:
        images_NCHW: Pixels, uint8.
        maps_N23: One map for each image.
        size_HW: Rows and columns of the result; pixels that come to lie outside are lost.
    """
    moved_NCHW, is_inside_NHW = _sampled(images_NCHW, maps_N23, size_HW, "bilinear")
    return (moved_NCHW * is_inside_NHW.unsqueeze(1)).round().byte()


def moved_masks(masks_NHW: Tensor, maps_N23: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """Return the labels under the maps, the nearest one, IGNORE where nothing comes to lie.

    Args:
        masks_NHW: Labels, uint8.
        maps_N23: One map for each mask.
        size_HW: Rows and columns of the result.
    """
    moved_N1HW, is_inside_NHW = _sampled(masks_NHW.unsqueeze(1), maps_N23, size_HW, "nearest")
    return moved_N1HW.squeeze(1).where(is_inside_NHW, IGNORE).byte()


def _sampled(
    x_NCHW: Tensor, maps_N23: Tensor, size_HW: tuple[int, int], mode: str
) -> tuple[Tensor, Tensor]:
    """What comes to lie at each pixel of the result, float32, and whether anything does."""
    rows, columns = x_NCHW.shape[2:]
    row_H, column_W = (torch.arange(side, dtype=torch.float64) for side in size_HW)
    result_HW2 = torch.stack(torch.meshgrid(column_W, row_H, indexing="xy"), dim=-1)
    back_N23 = inverse(maps_N23)
    source_NHW2 = result_HW2 @ back_N23[:, None, :, :2].mT + back_N23[:, None, None, :, 2]
    # What torch calls the range -1 to 1 goes from the left edge of the image to the right one.
    sides_2 = torch.tensor([columns, rows], dtype=torch.float64)
    grid_NHW2 = ((2 * source_NHW2 + 1) / sides_2 - 1).float()
    is_inside_NHW = (grid_NHW2.abs() <= 1).all(dim=-1)
    # Not zeros beyond the edge: they would darken the outermost pixels of an enlarged image.
    moved_NCHW = F.grid_sample(
        x_NCHW.float(), grid_NHW2, mode=mode, padding_mode="border", align_corners=False
    )
    return moved_NCHW, is_inside_NHW
