from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from people import image_of, somewhere
from torch import Tensor

from toolchain.tasks.affine import moved_points
from toolchain.tasks.augmentation import BOTTOM_UP
from toolchain.tasks.bottom_up import MAX_PERSONS, Scenes, SceneSettings, scenes
from toolchain.tasks.bottom_up_detections import (
    bottom_up_detections,
    flip_tested_maps,
    network_maps,
)
from toolchain.tasks.grouping import GroupingSettings
from toolchain.tasks.heatmaps import on_map
from toolchain.tasks.keypoint_scores import keypoint_scores
from toolchain.tasks.people_and_shapes import stick_people
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.skeleton import COCO_PERSON, STICK_PERSON

SETTINGS = SceneSettings(side=128)


def far_apart(number: int) -> PoseImage:
    """Two people, one in each half of the image."""
    points = somewhere(2, 17, number)
    points[..., 0] = points[..., 0] / 2.2
    points[1, :, 0] += 80
    return image_of(points, number=number)


def tags_of(made: Scenes) -> Tensor:
    """The tags of a perfect network: 10 times the number of the person, around each keypoint."""
    side = made.coarse.heatmaps.shape[-1]
    tags = torch.zeros_like(made.coarse.heatmaps)
    for image, persons in enumerate(made.places.tolist()):
        for person, places in enumerate(persons):
            for keypoint, place in enumerate(places):
                if place >= 0:
                    row, column = divmod(place, side)
                    around = tags[image, keypoint]
                    around[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4] = (
                        10 * person
                    )
    return tags


def test_perfect_maps_lead_back_to_everybody() -> None:
    images = [far_apart(number) for number in range(3)]
    settings = SceneSettings(side=512)
    made = scenes(images, settings, COCO_PERSON)
    output = (
        torch.cat([made.coarse.heatmaps, tags_of(made)], dim=1)
        .repeat_interleave(2, 2)
        .repeat_interleave(2, 3)
    )
    output = torch.cat([output, made.fine.heatmaps], dim=1)
    heatmaps, tags = network_maps(output, 17)
    found = bottom_up_detections(
        heatmaps, tags, made.maps, images, settings.hw, COCO_PERSON, GroupingSettings()
    )
    assert len(found) == 6
    scores = keypoint_scores(images, found, COCO_PERSON)
    assert scores.ap is not None
    assert scores.ap > 0.9


@given(st.integers(0, 500))
def test_places_and_maps_are_of_the_moved_keypoints(seed: int) -> None:
    images = [image_of(somewhere(2, 17, seed)), image_of(somewhere(1, 17, seed + 1))]
    generator = torch.Generator().manual_seed(seed)
    made = scenes(images, SETTINGS, COCO_PERSON, movement=BOTTOM_UP, generator=generator)
    for index, image in enumerate(images):
        moved = moved_points(image.points[None], made.maps[index : index + 1])[0]
        if torch.linalg.det(made.maps[index, :, :2]) < 0:
            moved = moved[:, list(COCO_PERSON.mirrored)]
        pixel = on_map(moved, 4).round()
        is_inside = ((pixel >= 0) & (pixel < 32)).all(dim=-1)
        expected = torch.where(is_inside, pixel[..., 1] * 32 + pixel[..., 0], -1)
        assert torch.equal(made.places[index, : len(image.points)], expected.long())
        assert (made.places[index, len(image.points) :] == -1).all()
        heights = made.coarse.heatmaps[index].flatten(1)
        for keypoint, place in zip(*made.places[index].T.nonzero(as_tuple=True), strict=False):
            at = made.places[index, place, keypoint]
            if at >= 0:
                # A keypoint is at most half a pixel, along both axes, from the middle of one.
                assert heights[keypoint, at] >= 0.93


def test_the_whole_image_is_seen_and_nothing_is_expected_of_an_image_without_people() -> None:
    nobody = image_of(torch.zeros(0, 17, 2), size=(40, 80))
    nobody.pixels.fill_(9)
    made = scenes([nobody], SETTINGS, COCO_PERSON)
    assert (made.images[0, :, 32:96] == 9).all()
    assert (made.images[0, :, :31] == 0).all()
    assert (made.coarse.heatmaps == 0).all()
    assert (made.places == -1).all()
    assert made.fine.is_labelled.all()


def test_where_people_meet_the_higher_bell_counts_and_crowds_have_none() -> None:
    points = somewhere(3, 17, 1)
    both = scenes([image_of(points[:2])], SETTINGS, COCO_PERSON).fine.heatmaps
    apart = [
        scenes([image_of(points[row : row + 1])], SETTINGS, COCO_PERSON).fine.heatmaps
        for row in range(2)
    ]
    assert torch.equal(both, torch.maximum(*apart))
    crowd = image_of(points, is_crowd=[False, False, True])
    assert torch.equal(scenes([crowd], SETTINGS, COCO_PERSON).fine.heatmaps, both)


def test_nothing_is_asked_of_unlabelled_people_at_either_stride() -> None:
    unlabelled = torch.zeros(128, 128, dtype=torch.bool)
    unlabelled[10, 20] = True
    image = image_of(somewhere(1, 17, 2), size=(128, 128))
    image = type(image)(**{**vars(image), "unlabelled": unlabelled})
    made = scenes([image], SETTINGS, COCO_PERSON)
    assert (~made.coarse.is_labelled).nonzero().tolist() == [[0, 2, 5]]
    assert (~made.fine.is_labelled).nonzero().tolist() == [[0, 5, 10]]


def test_more_people_than_have_tags_still_have_bells() -> None:
    points = somewhere(MAX_PERSONS + 5, 17, 3)
    made = scenes([image_of(points)], SETTINGS, COCO_PERSON)
    assert made.places.shape == (1, MAX_PERSONS, 17)
    few = scenes([image_of(points[:MAX_PERSONS])], SETTINGS, COCO_PERSON)
    assert not torch.equal(made.fine.heatmaps, few.fine.heatmaps)


def test_a_mirror_image_gives_a_second_tag_at_the_same_pixel() -> None:
    x = torch.rand(2, 18, 4, 6)
    heatmaps, tags = flip_tested_maps(lambda x: x, x, STICK_PERSON)
    assert torch.allclose(heatmaps, (x[:, :6] + x[:, 12:]) / 2)
    assert torch.allclose(tags[..., 0], x[:, 6:12])
    assert torch.allclose(tags[..., 1], x[:, 6:12])
    with pytest.raises(ValueError, match="18 maps are not 3 for each of 17 keypoints"):
        network_maps(x, 17)


def test_stick_people_can_be_told_apart_in_their_own_maps() -> None:
    data = stick_people(train=1, validation=1, test=12)
    settings = SceneSettings(side=64, sigma=1.0)
    made = scenes(data.test, settings, STICK_PERSON)
    output = torch.cat([made.coarse.heatmaps, tags_of(made)], dim=1)
    output = output.repeat_interleave(2, 2).repeat_interleave(2, 3)
    heatmaps, tags = network_maps(torch.cat([output, made.fine.heatmaps], dim=1), 6)
    found = bottom_up_detections(
        heatmaps, tags, made.maps, data.test, settings.hw, STICK_PERSON, GroupingSettings()
    )
    scores = keypoint_scores(data.test, found, STICK_PERSON)
    assert scores.ap50 is not None
    assert scores.ap50 > 0.8


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"side": 130}, "side 130 is no multiple of the strides 4 and 2"),
        ({"coarse_stride": 2}, "strides 2 and 2: the fine one is smaller"),
        ({"sigma": 0.0}, "sigma 0.0 is out of range"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneSettings(**numbers)


def test_a_random_movement_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="needs a generator"):
        scenes([far_apart(0)], SETTINGS, COCO_PERSON, movement=BOTTOM_UP)
