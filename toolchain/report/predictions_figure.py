"""What networks see in images, drawn over them: labels of pixels, and skeletons of persons.

Shapes: N images, C channels, H rows, W columns, K keypoints.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from toolchain.report.contact_sheet import Color, contact_sheet, factor, tile
from toolchain.tasks.keypoint_scores import Detection
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.segmentation import IGNORE
from toolchain.tasks.skeleton import Skeleton

OPACITY = 0.6
UNLABELLED: Color = (0, 0, 0)
UNLABELLED_NAME = "not labelled"
LEAST_SCORE = 0.2
"""Keypoints that are less sure are not drawn, nor are the bones at them; as in HRNet's figures."""

GOLDEN_TURN = 0.618034


def segmentation_figure(
    images_NCHW: Tensor,
    masks_NHW: Tensor,
    predicted_NHW: Tensor,
    classes: Sequence[str],
    colors: Sequence[Color],
) -> bytes:
    """Draw images, their labels and what was predicted, a row for each image.

    Args:
        images_NCHW: Pixels, uint8, of 1 or 3 channels.
        masks_NHW: Labels, IGNORE where there is none.
        predicted_NHW: Class that each pixel was taken for.
        classes: Name of each label.
        colors: Color of each label.

    Returns:
        A PNG file, with a legend of the classes that occur.
    """
    rows = []
    occurring: set[int] = set()
    for image_CHW, mask_HW, predicted_HW in zip(
        images_NCHW, masks_NHW, predicted_NHW, strict=True
    ):
        image = _image(image_CHW)
        rows.append(
            [tile(image), *(tile(_overlaid(image, x, colors)) for x in (mask_HW, predicted_HW))]
        )
        occurring |= set(mask_HW.unique().tolist()) | set(predicted_HW.unique().tolist())
    legend = {name: colors[label] for label, name in enumerate(classes) if label in occurring}
    if IGNORE in occurring:
        legend[UNLABELLED_NAME] = UNLABELLED
    return contact_sheet(rows, ("image", "labels", "prediction"), legend)


def pose_figure(
    images: Sequence[PoseImage], found: Sequence[Detection], skeleton: Skeleton
) -> bytes:
    """Draw the skeletons of images and those that were found, a row for each image.

    Persons differ in color. A dot with a bright rim is a keypoint.

    Args:
        images: Images with their labels.
        found: Persons found in any of them.
        skeleton: Which keypoints are joined.

    Returns:
        A PNG file.
    """
    rows = []
    for image in images:
        truth = [
            (points_K2, visibility_K > 0)
            for points_K2, visibility_K in zip(image.points, image.visibility, strict=True)
        ]
        here = [
            (detection.points, detection.scores >= LEAST_SCORE)
            for detection in found
            if detection.image == image.number
        ]
        rows.append([_with_skeletons(image, persons, skeleton) for persons in (truth, here)])
    return contact_sheet(rows, ("labels", "prediction"), {})


def _image(pixels_CHW: Tensor) -> Image.Image:
    return Image.fromarray(pixels_CHW.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def _overlaid(image: Image.Image, labels_HW: Tensor, colors: Sequence[Color]) -> Image.Image:
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE] = UNLABELLED
    # Over grey: the image's own colors would be taken for those of labels.
    grey = image.convert("L").convert("RGB")
    return Image.blend(grey, Image.fromarray(palette[labels_HW.byte().numpy()]), OPACITY)


def _with_skeletons(
    image: PoseImage, persons: Sequence[tuple[Tensor, Tensor]], skeleton: Skeleton
) -> Image.Image:
    original = _image(image.pixels)
    scale, drawn = factor(original), tile(original)
    draw = ImageDraw.Draw(drawn)
    for index, (points_K2, is_drawn_K) in enumerate(persons):
        color = _color(index)
        at = [(x, y) for x, y in (scale * (points_K2 + 0.5) - 0.5).tolist()]
        for one, other in skeleton.bones:
            if is_drawn_K[one] and is_drawn_K[other]:
                draw.line([at[one], at[other]], fill=color, width=3)
        for (x, y), is_drawn in zip(at, is_drawn_K.tolist(), strict=True):
            if is_drawn:
                draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color, outline=(255, 255, 255))
    return drawn


def _color(index: int) -> Color:
    """A bright color for each person, neighbours far apart on the color wheel."""
    shares = colorsys.hsv_to_rgb((0.15 + index * GOLDEN_TURN) % 1, 0.85, 1.0)
    red, green, blue = (round(255 * share) for share in shares)
    return red, green, blue
