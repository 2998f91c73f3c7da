from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from people import image_of, somewhere

from toolchain.tasks.keypoint_scores import (
    Detection,
    KeypointScores,
    keypoint_scores,
    similarity,
)
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.skeleton import COCO_PERSON, STICK_PERSON

THRESHOLDS = [0.5 + 0.05 * step for step in range(10)]


def found(image: PoseImage, row: int, error: float = 0.0, score: float = 1.0) -> Detection:
    keypoints = image.points.shape[1]
    return Detection(
        image=image.number,
        points=image.points[row] + error,
        scores=torch.ones(keypoints),
        score=score,
    )


def test_persons_found_exactly_score_one_and_nobody_found_scores_zero() -> None:
    images = [image_of(somewhere(2, 17, seed), number=seed) for seed in range(3)]
    exact = [found(image, row) for image in images for row in range(2)]
    assert keypoint_scores(images, exact, COCO_PERSON).ap == pytest.approx(1)
    assert keypoint_scores(images, exact, COCO_PERSON).recall == pytest.approx(1)
    assert keypoint_scores(images, [], COCO_PERSON).ap == 0
    half = keypoint_scores(images, exact[:3], COCO_PERSON)
    assert half.recall == pytest.approx(0.5)
    # 51 of the 101 recalls at which precision is read are within reach.
    assert half.ap == pytest.approx(51 / 101)


@settings(max_examples=30)
@given(st.floats(0, 40), st.integers(0, 1000))
def test_average_precision_counts_the_thresholds_that_the_similarity_keeps(
    error: float, seed: int
) -> None:
    image = image_of(somewhere(1, 17, seed))
    detection = found(image, 0, error)
    alike = similarity(
        detection.points,
        image.points[0],
        image.visibility[0],
        image.areas[0].item(),
        COCO_PERSON,
    )
    if min(abs(alike - threshold) for threshold in THRESHOLDS) > 1e-6:
        expected = sum(alike >= threshold for threshold in THRESHOLDS) / 10
        assert keypoint_scores([image], [detection], COCO_PERSON).ap == pytest.approx(expected)


def test_similarity_is_that_of_its_definition() -> None:
    truth = torch.tensor([[0.0, 0.0], [5.0, 5.0], [9.0, 9.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    points = truth.clone()
    points[0, 0] += 3
    points[5] += 99
    visible = torch.tensor([2, 1, 0, 0, 0, 0])
    # exp(-d^2 / (2 (2 sigma)^2 area)) with d = 3, sigma = 0.05, area = 900.
    expected = (torch.tensor(-9 / (2 * 0.01 * 900)).exp().item() + 1) / 2
    assert similarity(points, truth, visible, 900.0, STICK_PERSON) == pytest.approx(expected)


def test_a_wrong_person_costs_precision_only_if_it_is_scored_above_a_right_one() -> None:
    image = image_of(somewhere(1, 17, 3))
    right = found(image, 0, score=0.5)
    below, above = (found(image, 0, error=500, score=score) for score in (0.4, 0.6))
    assert keypoint_scores([image], [right, below], COCO_PERSON).ap == pytest.approx(1)
    assert keypoint_scores([image], [right, above], COCO_PERSON).ap == pytest.approx(0.5)


def test_people_without_keypoints_and_crowds_are_neither_missed_nor_wrong() -> None:
    points = somewhere(3, 17, 4)
    visibility = torch.full((3, 17), 2)
    visibility[1] = 0
    image = image_of(points, visibility_PK=visibility, is_crowd=[False, False, True])
    assert keypoint_scores([image], [found(image, 0)], COCO_PERSON).ap == pytest.approx(1)
    on_crowd = found(image, 2, score=2.0)
    scores = keypoint_scores([image], [found(image, 0), on_crowd], COCO_PERSON)
    assert scores.ap == pytest.approx(1)


def test_sizes_are_scored_apart_and_a_size_of_which_nobody_is_has_no_score() -> None:
    image = image_of(somewhere(1, 17, 5))
    for area, expected in ((50.0**2, (1.0, None)), (100.0**2, (None, 1.0))):
        image.areas[0] = area
        scores = keypoint_scores([image], [found(image, 0)], COCO_PERSON)
        assert (scores.ap_medium, scores.ap_large) == expected


def test_images_without_anybody_have_no_score() -> None:
    nobody = image_of(torch.zeros(0, 17, 2))
    none = KeypointScores(
        ap=None, ap50=None, ap75=None, ap_medium=None, ap_large=None, recall=None
    )
    assert keypoint_scores([nobody], [], COCO_PERSON) == none


def test_other_bodies_have_their_own_sigmas() -> None:
    image = image_of(somewhere(1, 6, 6))
    image.areas[0] = 900.0
    scores = keypoint_scores([image], [found(image, 0, error=1.0)], STICK_PERSON)
    # exp(-2 / 18) = 0.895: eight of ten thresholds.
    assert scores.ap == pytest.approx(0.8)


def test_detections_that_cannot_be_scored_are_refused() -> None:
    image = image_of(somewhere(1, 17, 7))
    with pytest.raises(ValueError, match="image 9 of a detection is not among the images"):
        keypoint_scores([image], [found(image, 0)._replace(image=9)], COCO_PERSON)
    with pytest.raises(ValueError, match="image 1 has no finite coordinates"):
        keypoint_scores([image], [found(image, 0, error=float("nan"))], COCO_PERSON)
