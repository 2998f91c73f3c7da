"""Drawn scenes of stick people and shapes: small images that need no download.

They carry both labels of pixels and keypoints. People differ in size by a factor of 3.6, which is
what a network of several resolutions is for. Each scene depends on the seed and its number alone.

Shapes: N scenes, H rows, W columns, P persons, K keypoints.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from toolchain.tasks.segmentation import Color

CLASSES = ("background", "person", "disc", "square", "triangle")
COLORS: tuple[Color, ...] = (
    (70, 80, 90),
    (240, 90, 90),
    (90, 170, 250),
    (250, 190, 80),
    (120, 210, 120),
)
"""In drawings of labels; the scenes themselves are of random colors."""

PERSON, FIRST_SHAPE = 1, 2

FULL_SIDE = 64
"""All lengths below are pixels of an image of this side, and grow with it."""

LEAST_HEIGHT, MOST_HEIGHT = 14.0, 50.0
LEAST_SHAPE, MOST_SHAPE = 6.0, 36.0
MOST_PERSONS, MOST_SHAPES = 3, 3
NOISE = 0.05 * 255
LEAST_SIDE = 32

Array = np.ndarray[Any, np.dtype[Any]]
Point = tuple[float, float]


class Scene(NamedTuple):
    """What was drawn.

    Attributes:
        pixels: Of shape HW3, uint8.
        mask: Labels of shape HW, uint8.
        points: Keypoints of shape PK2: head, pelvis, hands and feet, left before right.
        heights: Of the persons in pixels, of shape P.
    """

    pixels: Array
    mask: Array
    points: Array
    heights: Array


def drawn_scene(side: int, *seed: int) -> Scene:
    """Draw a scene of one to three persons before one to three shapes.

    Args:
        side: Rows and columns, at least 32.
        seed: Non-negative numbers that choose everything.

    Raises:
        ValueError: `side` is too small for limbs to be told apart.
    """
    if side < LEAST_SIDE:
        raise ValueError(f"scenes of {side} pixels show no limbs: take {LEAST_SIDE} or more")
    rng = np.random.default_rng(seed)
    image, mask = Image.fromarray(_gradient(side, rng)), Image.new("L", (side, side))
    pen = _Pen(ImageDraw.Draw(image), ImageDraw.Draw(mask))
    scale = side / FULL_SIDE
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        _draw_shape(pen, side, scale * _log_uniform(LEAST_SHAPE, MOST_SHAPE, rng), rng)
    count = rng.integers(1, MOST_PERSONS + 1)
    # Small people are far away: large ones stand before them.
    heights_P = scale * np.sort(
        [_log_uniform(LEAST_HEIGHT, MOST_HEIGHT, rng) for _ in range(count)]
    )
    points_PK2 = np.array([_draw_person(pen, side, height, rng) for height in heights_P])
    noisy = np.asarray(image) + NOISE * rng.standard_normal((side, side, 3))
    return Scene(
        pixels=noisy.round().clip(0, 255).astype(np.uint8),
        mask=np.array(mask),
        points=points_PK2,
        heights=heights_P,
    )


def stacked(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Return the images of scenes, of shape N3HW, and their masks, of shape NHW, both uint8."""
    images_NHW3 = torch.from_numpy(np.stack([scene.pixels for scene in scenes]))
    masks_NHW = torch.from_numpy(np.stack([scene.mask for scene in scenes]))
    return images_NHW3.permute(0, 3, 1, 2).contiguous(), masks_NHW


class _Pen(NamedTuple):
    """Draws the same in an image and its mask, at whole pixels: Pillow would cut fractions off."""

    image: ImageDraw.ImageDraw
    mask: ImageDraw.ImageDraw

    def line(self, ends: list[Point], width: int, color: Color) -> None:
        pixels = [(round(x), round(y)) for x, y in ends]
        self.image.line(pixels, fill=color, width=width)
        self.mask.line(pixels, fill=PERSON, width=width)

    def disc(self, center: Point, radius: float, color: Color, label: int) -> None:
        x, y = center
        box = (round(x - radius), round(y - radius), round(x + radius), round(y + radius))
        self.image.ellipse(box, fill=color)
        self.mask.ellipse(box, fill=label)

    def polygon(self, corners: list[Point], color: Color, label: int) -> None:
        pixels = [(round(x), round(y)) for x, y in corners]
        self.image.polygon(pixels, fill=color)
        self.mask.polygon(pixels, fill=label)


def _gradient(side: int, rng: np.random.Generator) -> Array:
    """A background that goes from one color to another, of shape HW3."""
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, side)
    along_HW = math.cos(angle) * axis[None] + math.sin(angle) * axis[:, None]
    share_HW1 = (along_HW / math.sqrt(2) + 0.5)[:, :, None]
    first_3, last_3 = rng.uniform(20, 235, (2, 3))
    blended: Array = ((1 - share_HW1) * first_3 + share_HW1 * last_3).astype(np.uint8)
    return blended


def _draw_shape(pen: _Pen, side: int, size: float, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0, side - 1, 2)
    color, kind, angle = _color(rng, 0, 255), rng.integers(3), rng.uniform(0, 2 * math.pi)
    label = FIRST_SHAPE + int(kind)
    if kind == 0:
        pen.disc((x, y), size / 2, color, label)
        return
    corners = 4 if kind == 1 else 3
    radius = size / math.sqrt(2) if kind == 1 else size / math.sqrt(3)
    turns = [angle + 2 * math.pi * corner / corners for corner in range(corners)]
    pen.polygon([_from((x, y), radius, turn) for turn in turns], color, label)


def _draw_person(pen: _Pen, side: int, height: float, rng: np.random.Generator) -> list[Point]:
    """Draw somebody who stands upright and whole in the image; return the keypoints."""
    reach = 0.4 * height
    x = rng.uniform(min(reach, side / 2), max(side - 1 - reach, side / 2))
    top = rng.uniform(0, max(side - 1 - height, 0))
    radius, width = 0.11 * height, max(1, round(0.08 * height))
    down = math.pi / 2
    lean = rng.normal(0, 0.08)
    head = (x, top + radius)
    neck = _from(head, 1.6 * radius, down + lean)
    pelvis = _from(neck, 0.36 * height, down + lean)
    left, right, skin, cloth = (
        _tinted((200, 30, 30), rng),
        _tinted((30, 30, 200), rng),
        _color(rng, 150, 255),
        _color(rng, 40, 120),
    )
    # Which limb hangs where is open, as if people showed their backs too: colors tell the sides.
    facing = rng.choice((-1.0, 1.0))
    ends: list[Point] = []
    for start, length, spread in ((neck, 0.36, (0.3, 2.2)), (pelvis, 0.4, (0.08, 0.6))):
        for sign, color in ((facing, left), (-facing, right)):
            turn = down + lean + sign * rng.uniform(*spread)
            ends.append(_from(start, length * height, turn))
            pen.line([start, ends[-1]], width, color)
            # Hands and feet, so that a keypoint is never on the background.
            pen.disc(ends[-1], max(0.8, width / 2), color, PERSON)
    pen.line([neck, pelvis], width + 1, cloth)
    pen.disc(head, radius, skin, PERSON)
    return [head, pelvis, *ends]


def _from(start: Point, length: float, angle: float) -> Point:
    return start[0] + length * math.cos(angle), start[1] + length * math.sin(angle)


def _tinted(color: Color, rng: np.random.Generator) -> Color:
    red, green, blue = (
        (np.array(color) + rng.uniform(-30, 50, 3)).clip(0, 255).astype(int).tolist()
    )
    return red, green, blue


def _color(rng: np.random.Generator, low: int, high: int) -> Color:
    red, green, blue = rng.integers(low, high + 1, 3).tolist()
    return red, green, blue


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))
