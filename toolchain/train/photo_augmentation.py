"""Augmentation of photographs: a part of the image at a random aspect, colours, a hole.

Source: the ranges of AutoShrink's recipe for ImageNet, arXiv 1911.09251, released code; the hole
is Random Erasing, arXiv 1708.04896, filled with noise. Where we differ: shapes that reach beyond
the image are cut off instead of drawn again; how the pixels are resized is drawn for each batch;
hue turns the colour plane of YIQ, not HSV's circle.

Shapes: N images, C channels (3, or 1 where colours do nothing), H rows, W columns.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_AREA = 0.75
ASPECT = (0.75, 1.33)
RESIZINGS = ("bilinear", "bicubic", "nearest")

BRIGHTNESS = 0.4
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = 0.1
"""Largest turn of the colours, as a share of the whole circle."""

ERASED = 0.5
"""Share of the images that get a hole."""
ERASED_AREA = (0.02, 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)

YIQ_33 = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def augment_photos(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Crop, mirror, recolour and erase.

    Args:
        images_NCHW: Pixels, uint8.
        generator: Chooses.

    Returns:
        Pixels of the same shape, uint8.
    """
    pixels_NCHW = cropped(images_NCHW.float() / 255, generator)
    pixels_NCHW = recoloured(pixels_NCHW, generator).clamp(0, 1)
    return (erased(pixels_NCHW, generator) * 255).round().to(torch.uint8)


def cropped(pixels_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """A part of each image, resized to the whole, and mirrored in half of them."""
    count = len(pixels_NCHW)
    height_N, width_N = _sides(_draw(count, (LEAST_AREA, 1.0), generator), ASPECT, generator)
    top_N = (1 - height_N) * _draw(count, (-1.0, 1.0), generator)
    left_N = (1 - width_N) * _draw(count, (-1.0, 1.0), generator)
    mirror_N = torch.where(_draw(count, (0.0, 1.0), generator) < 0.5, -1.0, 1.0)
    zero_N = torch.zeros(count)
    maps_N23 = torch.stack(
        [
            torch.stack([width_N * mirror_N, zero_N, left_N], dim=1),
            torch.stack([zero_N, height_N, top_N], dim=1),
        ],
        dim=1,
    )
    resizing = RESIZINGS[int(torch.randint(len(RESIZINGS), (1,), generator=generator))]
    grid_NHW2 = F.affine_grid(maps_N23, list(pixels_NCHW.shape), align_corners=False)
    return F.grid_sample(
        pixels_NCHW, grid_NHW2, mode=resizing, padding_mode="border", align_corners=False
    )


def recoloured(pixels_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Brighter or darker, paler or stronger, turned in hue, of more or less contrast."""
    count, channels = pixels_NCHW.shape[:2]
    bright_N = _draw(count, (-BRIGHTNESS, BRIGHTNESS), generator)
    saturation_N = _draw(count, SATURATION, generator)
    turn_N = _draw(count, (-HUE, HUE), generator) * 2 * math.pi
    contrast_N = _draw(count, CONTRAST, generator)
    pixels_NCHW = pixels_NCHW + _per_image(bright_N)
    if channels == 3:
        colours_N33 = _colour_turn(turn_N, saturation_N)
        pixels_NCHW = torch.einsum("nij,njhw->nihw", colours_N33, pixels_NCHW)
    mean_NC11 = pixels_NCHW.mean((2, 3), keepdim=True)
    return mean_NC11 + (pixels_NCHW - mean_NC11) * _per_image(contrast_N)


def erased(pixels_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """A rectangle of noise in half of the images."""
    count, _, rows, columns = pixels_NCHW.shape
    height_N, width_N = _sides(_draw(count, ERASED_AREA, generator), ERASED_ASPECT, generator)
    top_N = (1 - height_N) * _draw(count, (0.0, 1.0), generator)
    left_N = (1 - width_N) * _draw(count, (0.0, 1.0), generator)
    is_erased_N = _draw(count, (0.0, 1.0), generator) < ERASED
    in_rows_NH = _is_between(rows, top_N, height_N)
    in_columns_NW = _is_between(columns, left_N, width_N)
    hole_NHW = in_rows_NH[:, :, None] & in_columns_NW[:, None, :] & is_erased_N[:, None, None]
    noise_NCHW = torch.rand(pixels_NCHW.shape, generator=generator)
    return torch.where(hole_NHW[:, None], noise_NCHW, pixels_NCHW)


def _sides(
    area_N: Tensor, aspect: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Height and width as shares of the image's; no more than the whole."""
    aspect_N = _draw(len(area_N), aspect, generator)
    return (area_N / aspect_N).sqrt().clamp(max=1), (area_N * aspect_N).sqrt().clamp(max=1)


def _colour_turn(turn_N: Tensor, saturation_N: Tensor) -> Tensor:
    """Maps of RGB that leave the luma and turn and stretch the rest, of shape N33."""
    cos_N, sin_N, zero_N = turn_N.cos(), turn_N.sin(), torch.zeros_like(turn_N)
    in_yiq_N33 = torch.stack(
        [
            torch.stack([torch.ones_like(turn_N), zero_N, zero_N], dim=1),
            torch.stack([zero_N, saturation_N * cos_N, -saturation_N * sin_N], dim=1),
            torch.stack([zero_N, saturation_N * sin_N, saturation_N * cos_N], dim=1),
        ],
        dim=1,
    )
    turned_N33: Tensor = torch.linalg.inv(YIQ_33) @ in_yiq_N33 @ YIQ_33
    return turned_N33


def _is_between(pixels: int, start_N: Tensor, length_N: Tensor) -> Tensor:
    """Whether the centers of pixels lie between start and end, which are shares of the side."""
    center_P = (torch.arange(pixels) + 0.5) / pixels
    return (center_P >= start_N[:, None]) & (center_P < (start_N + length_N)[:, None])


def _draw(count: int, span: tuple[float, float], generator: torch.Generator) -> Tensor:
    return span[0] + (span[1] - span[0]) * torch.rand(count, generator=generator)


def _per_image(values_N: Tensor) -> Tensor:
    return values_N[:, None, None, None]
