from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from toolchain.tasks.people_and_shapes import people_and_shapes, stick_people
from toolchain.tasks.pose import labelled_persons
from toolchain.tasks.scenes import CLASSES, PERSON, Scene, drawn_scene
from toolchain.tasks.skeleton import STICK_PERSON


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [drawn_scene(64, 3, number) for number in range(400)]


def test_a_scene_depends_on_its_seed_alone() -> None:
    one, same, other = (drawn_scene(64, *seed) for seed in ((1, 2), (1, 2), (2, 1)))
    assert (one.pixels == same.pixels).all()
    assert (one.mask == same.mask).all()
    assert (one.points == same.points).all()
    assert (one.pixels != other.pixels).any()


def test_both_tasks_show_the_same_scenes_and_more_of_them_change_none() -> None:
    masks = people_and_shapes(train=5, validation=2, test=3, seed=4)
    people = stick_people(train=5, validation=2, test=3, seed=4)
    for image, posed in zip(masks.train.images, people.train, strict=True):
        assert torch.equal(image, posed.pixels)
    more = people_and_shapes(train=8, validation=4, test=3, seed=4)
    assert torch.equal(more.train.images[:5], masks.train.images)
    assert more.validation is not None
    assert masks.validation is not None
    assert torch.equal(more.validation.images[:2], masks.validation.images)
    assert not torch.equal(masks.train.images[:2], masks.validation.images)
    assert people.mean == pytest.approx(masks.train.mean)
    assert len(masks.split(seed=0)[1]) == 2


def test_keypoints_lie_on_somebody(many: list[Scene]) -> None:
    on_person, inside = [], []
    for scene in many:
        pixel = scene.points.round().astype(int)
        is_inside = ((pixel >= 0) & (pixel < 64)).all(axis=-1)
        inside += is_inside.ravel().tolist()
        columns, rows = pixel[is_inside].T
        on_person += (scene.mask[rows, columns] == PERSON).tolist()
    assert np.mean(inside) > 0.99
    assert np.mean(on_person) > 0.98


def test_limbs_show_their_side_by_color(many: list[Scene]) -> None:
    """Of people who stand alone and are large enough for a limb to be hit well."""
    is_redder = []
    for scene in many:
        if len(scene.points) > 1 or scene.heights[0] < 25:
            continue
        head, pelvis, *ends = scene.points[0]
        neck = head + 0.176 / 0.536 * (pelvis - head)
        for start, end, is_left in zip(
            (neck, neck, pelvis, pelvis), ends, (1, 0, 1, 0), strict=True
        ):
            column, row = (start + 0.7 * (end - start)).round().astype(int)
            red, _, blue = scene.pixels[row, column].astype(int).tolist()
            is_redder.append((red > blue) == bool(is_left))
    assert len(is_redder) > 150
    assert np.mean(is_redder) > 0.95


def test_people_differ_in_height_by_the_stated_factor(many: list[Scene]) -> None:
    heights = np.concatenate([scene.heights for scene in many])
    assert 14 <= heights.min() < 15
    assert 48 < heights.max() <= 50
    drawn = np.concatenate([np.ptp(scene.points[..., 1], axis=1) for scene in many])
    assert np.corrcoef(heights, drawn)[0, 1] > 0.95


def test_classes_have_about_the_stated_shares_of_the_pixels(many: list[Scene]) -> None:
    counts = np.bincount(np.concatenate([scene.mask.ravel() for scene in many]), minlength=5)
    assert len(counts) == len(CLASSES)
    shares = counts / counts.sum()
    assert shares == pytest.approx([0.82, 0.08, 0.04, 0.04, 0.02], abs=0.015)


def test_larger_scenes_have_larger_people() -> None:
    small, large = (
        np.concatenate([drawn_scene(side, 5, number).heights for number in range(60)])
        for side in (64, 128)
    )
    assert large == pytest.approx(2 * small)
    data = stick_people(side=128, train=2, validation=1, test=1)
    assert data.train[0].pixels.shape == (3, 128, 128)


def test_spread_of_similarity_is_a_tenth_of_the_height_and_half_a_pixel() -> None:
    data = stick_people(train=6, validation=1, test=1)
    heights = np.concatenate([drawn_scene(64, 0, 0, number).heights for number in range(6)])
    areas = torch.cat([image.areas for image in data.train]).double().numpy()
    spread = 2 * STICK_PERSON.sigmas[0] * np.sqrt(areas)
    assert spread == pytest.approx(0.1 * heights + 0.5)
    assert len(labelled_persons(data.train)) == len(heights)


def test_scenes_are_drawn_in_a_millisecond_or_two() -> None:
    start_s = time.thread_time()
    people_and_shapes(train=200, validation=20, test=20)
    assert time.thread_time() - start_s < 2


def test_images_too_small_for_limbs_are_refused() -> None:
    with pytest.raises(ValueError, match="scenes of 16 pixels show no limbs: take 32 or more"):
        drawn_scene(16, 0)
