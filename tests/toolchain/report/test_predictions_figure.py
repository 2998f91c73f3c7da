from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from toolchain.report.contact_sheet import GAP, LINE, MOST_TILE, contact_sheet, factor, tile
from toolchain.report.predictions_figure import pose_figure, segmentation_figure
from toolchain.tasks.keypoint_scores import Detection
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.segmentation import IGNORE
from toolchain.tasks.skeleton import STICK_PERSON

CLASSES = ("ground", "thing", "absent")
COLORS = ((0, 0, 255), (255, 0, 0), (0, 255, 0))


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def is_colored(pixels: np.ndarray, channel: int) -> np.ndarray:
    others = [other for other in range(3) if other != channel]
    return (pixels[..., channel] > pixels[..., others].max(axis=-1) + 60).nonzero()


def test_labels_and_predictions_are_drawn_beside_the_image_in_their_colors() -> None:
    images = torch.full((2, 3, 48, 64), 128, dtype=torch.uint8)
    masks = torch.zeros(2, 48, 64, dtype=torch.uint8)
    masks[:, :24] = 1
    drawn = opened(segmentation_figure(images, masks, 1 - masks.long(), CLASSES, COLORS))
    side, tall = 3 * 64, 3 * 48
    assert drawn.shape[1] == GAP + 3 * (side + GAP)
    left = [GAP + column * (side + GAP) + side // 2 for column in range(3)]
    for row in range(2):
        top = GAP + LINE + row * (tall + GAP)
        upper, lower = drawn[top + 20, left], drawn[top + tall - 20, left]
        assert (upper[0] == 128).all()
        assert [pixel.argmax() for pixel in upper[1:]] == [0, 2]
        assert [pixel.argmax() for pixel in lower[1:]] == [2, 0]


def test_the_legend_names_the_classes_that_occur() -> None:
    images = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)

    def legend(masks: torch.Tensor) -> np.ndarray:
        return opened(segmentation_figure(images, masks, masks * 0, CLASSES, COLORS))[-LINE:]

    one = legend(masks)
    assert len(is_colored(one, 2)[0]) > 100
    assert len(is_colored(one, 0)[0]) == 0
    masks[0, 0, 0] = 1
    assert len(is_colored(legend(masks), 0)[0]) > 100
    dark = (one.max(axis=-1) < 10).sum()
    masks[0, 0, 0] = IGNORE
    assert (legend(masks).max(axis=-1) < 10).sum() > dark + 100


def somebody(points: torch.Tensor, number: int = 1) -> PoseImage:
    return PoseImage(
        number=number,
        pixels=torch.zeros(3, 64, 64, dtype=torch.uint8),
        points=points,
        visibility=torch.full(points.shape[:2], 2).byte(),
        boxes=torch.zeros(len(points), 4),
        areas=torch.ones(len(points)),
        is_crowd=torch.zeros(len(points), dtype=torch.bool),
    )


POINTS = torch.tensor([[[32.0, 5.0], [32, 30], [10, 20], [54, 20], [20, 60], [44, 60]]])


def test_skeletons_are_drawn_where_keypoints_are_and_unsure_ones_left_out() -> None:
    sure = torch.tensor([1.0, 1, 1, 1, 1, 0.1])
    found = [Detection(image=1, points=POINTS[0], scores=sure, score=1.0)]
    drawn = opened(pose_figure([somebody(POINTS)], found, STICK_PERSON))
    top = GAP + LINE
    for column, last in ((0, True), (1, False)):
        left = GAP + column * (3 * 64 + GAP)
        lit = [
            bool(drawn[top + round(3 * y) + 1, left + round(3 * x) + 1].max() > 100)
            for x, y in POINTS[0].tolist()
        ]
        assert lit == [True] * 5 + [last]
        halfway = drawn[top + 3 * 17 : top + 3 * 17 + 3, left + 3 * 32 : left + 3 * 32 + 3]
        assert halfway.max() > 100


def test_images_without_people_and_people_of_other_images_leave_an_image_as_it_is() -> None:
    found = [Detection(image=2, points=POINTS[0], scores=torch.ones(6), score=1.0)]
    drawn = opened(pose_figure([somebody(torch.zeros(0, 6, 2))], found, STICK_PERSON))
    assert (drawn[GAP + LINE : GAP + LINE + 192, GAP : GAP + 192] == 0).all()
    assert (drawn[GAP + LINE : GAP + LINE + 192, 2 * GAP + 192 : 2 * GAP + 384] == 0).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), 3),
        ((28, 28), 7),
        ((192, 100), 1),
        ((300, 40), 1),
        ((720, 10), 0.5),
        ((1, 1), 192),
    ],
)
def test_small_images_are_enlarged_by_whole_numbers_and_large_ones_reduced(
    size: tuple[int, int], expected: float
) -> None:
    image = Image.new("RGB", size)
    assert factor(image) == expected
    assert max(tile(image).size) <= MOST_TILE


def test_images_of_different_sizes_share_a_sheet() -> None:
    rows = [[Image.new("RGB", (40, 20))] * 2, [Image.new("RGB", (30, 50))] * 2]
    sheet = opened(contact_sheet(rows, (), {}))
    assert sheet.shape == (GAP + 20 + GAP + 50 + GAP, GAP + 2 * (40 + GAP), 3)


def test_a_sheet_needs_images_and_a_title_for_each_column() -> None:
    with pytest.raises(ValueError, match="a contact sheet needs an image"):
        contact_sheet([], (), {})
    with pytest.raises(ValueError, match=r"rows of \[2\] images and 1 titles"):
        contact_sheet([[Image.new("RGB", (4, 4))] * 2], ("one",), {})
