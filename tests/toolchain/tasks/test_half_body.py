from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from people import image_of, somewhere

from toolchain.tasks.half_body import MARGIN, half_body_boxes
from toolchain.tasks.pose import Person
from toolchain.tasks.skeleton import COCO_PERSON
from toolchain.tasks.top_down import CropSettings, crops

UPPER = list(COCO_PERSON.upper)
LOWER = [keypoint for keypoint in range(17) if keypoint not in UPPER]


def box_around(points: torch.Tensor) -> list[float]:
    """A box around the centers of pixels, enlarged: its edges lie half a pixel further left."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    sides = MARGIN * (high - low)
    return [*((low + high + 1 - sides) / 2).tolist(), *sides.tolist()]


@given(st.integers(0, 1000))
def test_half_of_a_person_is_its_upper_or_its_lower_keypoints(seed: int) -> None:
    image = image_of(somewhere(8, 17, seed))
    persons = [Person(image, row) for row in range(8)]
    generator = torch.Generator().manual_seed(seed)
    halved = half_body_boxes(persons, image.boxes, COCO_PERSON, 1.0, generator)
    for row, box in enumerate(halved.tolist()):
        halves = [box_around(image.points[row][half]) for half in (UPPER, LOWER)]
        assert any(box == pytest.approx(half, abs=1e-3) for half in halves)


def test_both_halves_come_and_as_many_persons_as_the_share_are_left_whole() -> None:
    image = image_of(somewhere(1, 17, 0))
    persons = [Person(image, 0)] * 2000
    boxes = image.boxes.expand(2000, 4)
    halved = half_body_boxes(persons, boxes, COCO_PERSON, 0.3, torch.Generator().manual_seed(0))
    counts = halved.unique(dim=0, return_counts=True)[1].sort().values / 2000
    assert counts.tolist() == pytest.approx([0.15, 0.15, 0.7], abs=0.04)
    assert torch.equal(boxes, image.boxes.expand(2000, 4))


def test_a_half_with_few_keypoints_gives_way_and_few_in_all_leave_a_person_whole() -> None:
    visibility = torch.full((2, 17), 2)
    visibility[0, LOWER[2:]] = 0
    visibility[1, 8:] = 0
    image = image_of(somewhere(2, 17, 1), visibility_PK=visibility)
    persons = [Person(image, 0)] * 20 + [Person(image, 1)] * 20
    boxes = torch.cat([image.boxes[:1].expand(20, 4), image.boxes[1:].expand(20, 4)])
    halved = half_body_boxes(persons, boxes, COCO_PERSON, 1.0, torch.Generator().manual_seed(0))
    upper = box_around(image.points[0][UPPER])
    assert all(box == pytest.approx(upper, abs=1e-3) for box in halved[:20].tolist())
    assert torch.equal(halved[20:], boxes[20:])


def test_crops_show_the_half() -> None:
    upright = torch.stack([60 + torch.arange(17.0) % 3, 10 + 6 * torch.arange(17.0)], dim=1)
    image = image_of(upright[None])
    settings = CropSettings(rows=64, columns=48)
    persons = [Person(image, 0)]
    whole = crops(persons, settings, COCO_PERSON)
    half = crops(
        persons,
        settings,
        COCO_PERSON,
        half_bodies=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert whole.weights.sum() == 17
    assert half.weights.sum() < 17
    assert half.maps[0, 0, 0] > 1.3 * whole.maps[0, 0, 0]
    with pytest.raises(ValueError, match="needs a generator"):
        crops(persons, settings, COCO_PERSON, half_bodies=0.3)
