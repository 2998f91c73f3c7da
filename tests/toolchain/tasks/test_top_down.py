from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from people import image_of, somewhere

from toolchain.tasks.affine import moved_points
from toolchain.tasks.augmentation import STILL, TOP_DOWN
from toolchain.tasks.keypoint_scores import keypoint_scores
from toolchain.tasks.pose import Person, labelled_persons
from toolchain.tasks.skeleton import COCO_PERSON
from toolchain.tasks.top_down import CropSettings, crop_maps, crops, detections, flip_tested

SETTINGS = CropSettings(rows=64, columns=48)
BOX = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 200), st.floats(1, 200))


@given(BOX)
def test_a_box_lies_in_the_middle_of_its_crop_enlarged_and_undistorted(
    box: tuple[float, float, float, float],
) -> None:
    left, top, width, height = box
    maps = crop_maps(torch.tensor([box]), SETTINGS)
    corners = torch.tensor(
        [[[left - 0.5, top - 0.5], [left + width - 0.5, top + height - 0.5]]], dtype=torch.float64
    )
    (x0, y0), (x1, y1) = moved_points(corners, maps)[0].tolist()
    assert (x0 + x1 + 1, y0 + y1 + 1) == pytest.approx((48, 64), abs=1e-2)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height, rel=1e-3)
    assert max((x1 - x0) / 48, (y1 - y0) / 64) == pytest.approx(1 / 1.25, rel=1e-3)


@given(st.integers(0, 1000), st.booleans())
def test_targets_decoded_are_the_keypoints_to_a_quarter_of_a_map_pixel(
    seed: int, is_moved: bool
) -> None:
    image = image_of(somewhere(2, 17, seed))
    persons = labelled_persons([image])
    cut = crops(
        persons,
        SETTINGS,
        COCO_PERSON,
        movement=TOP_DOWN if is_moved else STILL,
        generator=torch.Generator().manual_seed(seed),
    )
    found = detections(cut.heatmaps, cut.maps, persons, SETTINGS)
    scale = torch.linalg.det(cut.maps[:, :, :2]).abs().sqrt()
    mirrored = torch.linalg.det(cut.maps[:, :, :2]) < 0
    for row, detection in enumerate(found):
        truth = image.points[row]
        if mirrored[row]:
            truth = truth[list(COCO_PERSON.mirrored)]
        error = (detection.points - truth).norm(dim=1) * scale[row]
        # At the border of a map there is no neighbour to lean towards.
        there = moved_points(truth[None], cut.maps[row : row + 1])[0]
        is_inside = ((there >= 4) & (there <= torch.tensor([43.0, 59.0]))).all(dim=1)
        assert (error[is_inside] < 4 * 0.36).all()
        assert (cut.weights[row][is_inside] == 1).all()


def test_perfect_heatmaps_have_full_average_precision() -> None:
    images = [image_of(somewhere(2, 17, seed), number=seed) for seed in range(4)]
    persons = labelled_persons(images)
    settings = CropSettings(rows=256, columns=192)
    cut = crops(persons, settings, COCO_PERSON)
    found = detections(cut.heatmaps, cut.maps, persons, settings)
    assert keypoint_scores(images, found, COCO_PERSON).ap == pytest.approx(1)


def test_unlabelled_keypoints_and_those_outside_the_crop_have_no_weight() -> None:
    points = somewhere(1, 17, 0)
    points[0, 3] = torch.tensor([-900.0, 20.0])
    points[0, 4] = torch.tensor([float("nan"), float("inf")])
    visibility = torch.full((1, 17), 2)
    visibility[0, 4] = 0
    image = image_of(points, visibility_PK=visibility)
    image.boxes[0] = torch.tensor([20.0, 20.0, 60.0, 80.0])
    cut = crops([Person(image, 0)], SETTINGS, COCO_PERSON)
    assert cut.weights[0].tolist() == [1, 1, 1, 0, 0] + [1] * 12
    assert (cut.heatmaps[0, 3:5] == 0).all()
    assert cut.heatmaps.isfinite().all()


def test_the_part_of_a_crop_beyond_the_image_is_black() -> None:
    points = torch.zeros(1, 17, 2)
    points[0, 1:] = torch.tensor([10.0, 30.0])
    image = image_of(points)
    image.pixels.fill_(200)
    cut = crops([Person(image, 0)], SETTINGS, COCO_PERSON)
    assert (cut.images[0, :, :, 0] == 0).all()
    assert (cut.images[0, :, 32, 24] == 200).all()


def test_crowds_and_people_without_keypoints_or_box_are_no_persons() -> None:
    visibility = torch.tensor([[2, 0], [0, 0], [1, 2], [2, 2]])
    image = image_of(
        somewhere(4, 2, 1), visibility_PK=visibility, is_crowd=[False, False, True, False]
    )
    image.boxes[3, 2] = 0
    nobody = image_of(torch.zeros(0, 2, 2))
    assert [person.row for person in labelled_persons([nobody, image])] == [0]


def test_the_flip_test_of_a_network_that_sees_no_sides_is_its_answer_for_the_image() -> None:
    x = torch.rand(2, 17, 6, 8)
    assert torch.allclose(flip_tested(lambda x: 2 * x, x, COCO_PERSON)[:, 0], 2 * x[:, 0])
    left, right = COCO_PERSON.names.index("left_hip"), COCO_PERSON.names.index("right_hip")
    answer = flip_tested(lambda x: 2 * x, x, COCO_PERSON)
    assert torch.allclose(answer[:, left], x[:, left] + x[:, right])


def test_sizes_that_do_not_fit_the_stride_are_refused() -> None:
    with pytest.raises(ValueError, match="66x48 is no multiple of the stride 4"):
        CropSettings(rows=66, columns=48)
    with pytest.raises(ValueError, match="sigma 0 is out of range"):
        CropSettings(sigma=0)
    with pytest.raises(ValueError, match="a random movement needs a generator"):
        crops([Person(image_of(somewhere(1, 17, 0)), 0)], SETTINGS, COCO_PERSON, movement=TOP_DOWN)
