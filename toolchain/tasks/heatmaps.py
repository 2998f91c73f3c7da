"""Heatmaps: a bell around each keypoint, and the keypoint that a heatmap stands for.

Sources: Simple Baselines for Human Pose Estimation, arXiv 1804.06208, and HRNet, arXiv 1902.09212,
as ScaleNAS uses them. They round the middle of a bell to a pixel; here it stays where it is, since
rounding moves keypoints (arXiv 1910.06278). Coordinates of a map of stride s are those of the
image, (x + 0.5) / s - 0.5: what a mirrored image gives, mirrored back, then needs no shift.

Shapes: N images, K keypoints, H rows and W columns of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolchain.tasks.skeleton import Skeleton

REACH = 3
"""Standard deviations from its middle in which a bell counts as present."""

QUARTER = 0.25


def on_map(points: Tensor, stride: float) -> Tensor:
    """Return coordinates on a map, of coordinates in the image that is `stride` times as large."""
    return (points + 0.5) / stride - 0.5


def on_image(points: Tensor, stride: float) -> Tensor:
    """Return coordinates in the image, of coordinates on a map."""
    return (points + 0.5) * stride - 0.5


def bells(
    points_NK2: Tensor, is_drawn_NK: Tensor, size_HW: tuple[int, int], sigma: float
) -> Tensor:
    """Return a map for each keypoint: a Gaussian of height 1 around it, or nothing.

    Args:
        points_NK2: Middles, on the map.
        is_drawn_NK: Which of them to draw.
        size_HW: Rows and columns.
        sigma: Standard deviation in pixels of the map, more than 0.

    Returns:
        Maps of shape NKHW, float32.
    """
    row_H, column_W = (torch.arange(side, dtype=torch.float32) for side in size_HW)
    across_NKW = torch.exp((column_W - points_NK2[..., :1]).square() / (-2 * sigma**2))
    down_NKH = torch.exp((row_H - points_NK2[..., 1:]).square() / (-2 * sigma**2))
    maps_NKHW = down_NKH.unsqueeze(-1) * across_NKW.unsqueeze(-2)
    # Where nothing is labelled the points may be anything.
    return maps_NKHW.where(is_drawn_NK[..., None, None], 0.0)


def reaches(points_NK2: Tensor, size_HW: tuple[int, int], sigma: float) -> Tensor:
    """Whether some of a bell lies on the map, of shape NK, for middles given on the map."""
    rows, columns = size_HW
    margin = REACH * sigma
    last_2 = torch.tensor([columns - 1, rows - 1]) + margin
    return ((points_NK2 >= -margin) & (points_NK2 <= last_2)).all(dim=-1)


def peaks(heatmaps_NKHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keypoint that each map stands for, and how sure the map is.

    The keypoint is the highest pixel, moved by a quarter of a pixel towards the higher of its
    neighbours, along a row and along a column.

    Returns:
        Points on the map, of shape NK2, and heights of shape NK.
    """
    columns = heatmaps_NKHW.shape[3]
    scores_NK, place_NK = heatmaps_NKHW.flatten(2).max(dim=2)
    row_NK, column_NK = place_NK // columns, place_NK % columns
    return leaning(heatmaps_NKHW, row_NK, column_NK), scores_NK


def leaning(heatmaps_NKHW: Tensor, row_NK: Tensor, column_NK: Tensor) -> Tensor:
    """Return pixels as points, each moved by a quarter towards its higher neighbours.

    Args:
        heatmaps_NKHW: The maps.
        row_NK: Row of a pixel of each map, int64.
        column_NK: Its column.

    Returns:
        Points on the map, of shape NK2.
    """
    rows, columns = heatmaps_NKHW.shape[2:]

    def neighbor(down: int, right: int) -> Tensor:
        """Height of a neighbour, or of the pixel itself where it has none; shape NK."""
        place_NK = (row_NK + down).clamp(0, rows - 1) * columns
        place_NK = place_NK + (column_NK + right).clamp(0, columns - 1)
        return heatmaps_NKHW.flatten(2).gather(2, place_NK.unsqueeze(-1)).squeeze(-1)

    # A pixel at the border has no neighbour on one side: it stays.
    is_inner_x_NK = (column_NK > 0) & (column_NK < columns - 1)
    is_inner_y_NK = (row_NK > 0) & (row_NK < rows - 1)
    lean_x_NK = (neighbor(0, 1) - neighbor(0, -1)).sign() * is_inner_x_NK
    lean_y_NK = (neighbor(1, 0) - neighbor(-1, 0)).sign() * is_inner_y_NK
    return torch.stack([column_NK + QUARTER * lean_x_NK, row_NK + QUARTER * lean_y_NK], dim=-1)


def mirrored_back(heatmaps_NKHW: Tensor, skeleton: Skeleton) -> Tensor:
    """Return the maps of images from the maps of their mirror images, for the flip test."""
    return heatmaps_NKHW.flip(3)[:, torch.tensor(skeleton.mirrored)]
