from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from toolchain.tasks.affine import after, inverse, moved_images, moved_masks, moved_points, placing
from toolchain.tasks.augmentation import (
    BOTTOM_UP,
    SEGMENTATION,
    STILL,
    TOP_DOWN,
    Movement,
    moved_keypoints,
    moved_with_masks,
)
from toolchain.tasks.segmentation import IGNORE
from toolchain.tasks.skeleton import COCO_PERSON

SEEDS = st.integers(0, 2**31)
MOVEMENTS = st.sampled_from([SEGMENTATION, TOP_DOWN, BOTTOM_UP])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middle_of_mass(image_HW: Tensor) -> tuple[float, float]:
    rows, columns = image_HW.shape
    weight = image_HW.double() / image_HW.sum()
    return (
        float((weight.sum(0) * torch.arange(columns)).sum()),
        float((weight.sum(1) * torch.arange(rows)).sum()),
    )


def spot(x: float, y: float, rows: int, columns: int) -> Tensor:
    """A soft spot around a point, of shape 11HW."""
    across = torch.exp(-((torch.arange(columns) - x) ** 2) / 8)
    down = torch.exp(-((torch.arange(rows) - y) ** 2) / 8)
    return (255 * down[:, None] * across).round().byte()[None, None]


@given(SEEDS, MOVEMENTS, st.floats(15, 65), st.floats(15, 35))
def test_a_spot_lands_where_its_keypoint_does(
    seed: int, movement: Movement, x: float, y: float
) -> None:
    moves = movement.draw(1, (50, 80), (90, 70), generator(seed))
    moved = moved_points(torch.tensor([[[x, y]]]), moves.maps)[0, 0]
    image = moved_images(spot(x, y, 50, 80), moves.maps, (90, 70))[0, 0]
    is_well_inside = bool(((moved > 14) & (moved < torch.tensor([55, 75]))).all())
    if is_well_inside:
        assert middle_of_mass(image) == pytest.approx(tuple(moved.tolist()), abs=0.3)


@given(SEEDS, MOVEMENTS)
def test_masks_move_as_their_images_do(seed: int, movement: Movement) -> None:
    """Areas of two colors, each with its label: every mask pixel has the color of its label."""
    masks = torch.zeros(2, 40, 60, dtype=torch.uint8)
    masks[:, 8:30, 20:50] = 1
    images = torch.where(masks == 1, 255, 1)[:, None].byte()
    moved, labels = moved_with_masks(images, masks, movement, (64, 48), generator(seed))
    assert moved.shape == (2, 1, 64, 48)
    assert labels.shape == (2, 64, 48)
    outside, dark, bright = (labels == label for label in (IGNORE, 0, 1))
    assert (outside | dark | bright).all()
    # Half of a pixel may come from across the border of an area, never more.
    assert (moved[:, 0][bright] >= 64).all()
    assert (moved[:, 0][dark] <= 192).all()
    assert (moved[:, 0][outside] <= 192).all()


@given(SEEDS)
def test_right_and_left_change_names_in_a_mirror(seed: int) -> None:
    movement = Movement(mirrors=0.5, degrees=20, least_scale=0.5, most_scale=2)
    points = torch.rand(8, 2, 17, 2) * 50
    visibility = torch.randint(3, (8, 2, 17))
    moves = movement.draw(8, (50, 50), (50, 50), generator(seed))
    moved, seen = moved_keypoints(points, visibility, moves, COCO_PERSON)
    left, right = COCO_PERSON.names.index("left_wrist"), COCO_PERSON.names.index("right_wrist")
    plain = moved_points(points, moves.maps)
    for index, is_mirrored in enumerate(moves.is_mirrored.tolist()):
        source = right if is_mirrored else left
        assert torch.equal(moved[index, :, left], plain[index, :, source])
        assert torch.equal(seen[index, :, left], visibility[index, :, source])
        assert torch.equal(moved[index, :, 0], plain[index, :, 0])


def test_half_of_many_images_are_mirrored_and_scales_fill_their_range() -> None:
    moves = SEGMENTATION.draw(2000, (32, 32), (32, 32), generator(0))
    determinants = torch.linalg.det(moves.maps[:, :, :2])
    assert ((determinants < 0) == moves.is_mirrored).all()
    assert moves.is_mirrored.double().mean().item() == pytest.approx(0.5, abs=0.05)
    scales = determinants.abs().sqrt()
    assert (scales.min().item(), scales.max().item()) == pytest.approx((0.5, 2.0), abs=0.01)


@given(SEEDS, st.integers(20, 60), st.integers(20, 60))
def test_a_crop_of_a_larger_image_shows_nothing_but_the_image(
    seed: int, rows: int, columns: int
) -> None:
    masks = torch.ones(3, rows, columns, dtype=torch.uint8)
    images = masks.unsqueeze(1)
    movement = Movement(least_scale=1, most_scale=2, mirrors=0.5, crops=True)
    _, labels = moved_with_masks(images, masks, movement, (20, 20), generator(seed))
    assert (labels == 1).all()


@given(SEEDS)
def test_a_smaller_image_is_wholly_in_the_result(seed: int) -> None:
    masks = torch.ones(3, 16, 12, dtype=torch.uint8)
    movement = replace(SEGMENTATION, least_scale=1, most_scale=1)
    _, labels = moved_with_masks(masks.unsqueeze(1), masks, movement, (40, 30), generator(seed))
    assert (labels == 1).sum().item() == pytest.approx(3 * 16 * 12, abs=3 * 28)


def test_the_same_seed_moves_alike_and_standing_still_changes_nothing() -> None:
    images = torch.randint(256, (4, 3, 9, 11), dtype=torch.uint8)
    masks = torch.randint(5, (4, 9, 11), dtype=torch.uint8)
    one, other = (
        moved_with_masks(images, masks, BOTTOM_UP, (9, 11), generator(7)) for _ in range(2)
    )
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    still = moved_with_masks(images, masks, STILL, (9, 11), generator(7))
    assert torch.equal(still[0], images)
    assert torch.equal(still[1], masks)


def test_mirroring_and_quarter_turns_are_exact() -> None:
    image = torch.randint(256, (1, 1, 5, 5), dtype=torch.uint8)
    center = torch.tensor([[2.0, 2.0]])
    one = torch.ones(1)
    mirror = placing(center, center, one, None, torch.tensor([True]))
    assert torch.equal(moved_images(image, mirror, (5, 5)), image.flip(3))
    turn = placing(center, center, one, torch.tensor([90.0]))
    assert torch.equal(moved_images(image, turn, (5, 5)), image.rot90(-1, (2, 3)))
    assert torch.equal(moved_masks(image[0], turn, (5, 5)), image[0].rot90(-1, (1, 2)))


@given(SEEDS, st.floats(-180, 180), st.floats(0.1, 10))
def test_maps_lead_back_and_follow_one_another(seed: int, degrees: float, scale: float) -> None:
    rng = generator(seed)
    points = 100 * torch.rand(1, 6, 2, generator=rng)
    first = placing(
        10 * torch.rand(1, 2, generator=rng),
        10 * torch.rand(1, 2, generator=rng),
        torch.tensor([scale]),
        torch.tensor([degrees]),
        torch.tensor([True]),
    )
    second = placing(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([2.0]))
    there = moved_points(points, first)
    assert torch.allclose(moved_points(there, inverse(first)), points, atol=1e-2)
    both = moved_points(points, after(second, first))
    assert torch.allclose(both, moved_points(there, second), atol=1e-2)
    distances = torch.cdist(there, there) / torch.cdist(points, points).clamp(min=1e-6)
    assert torch.allclose(distances[0].triu(1).sum(), torch.tensor(15 * scale), rtol=1e-2)


@pytest.mark.parametrize(
    "numbers",
    [
        {"least_scale": 0.0},
        {"least_scale": 2.0},
        {"degrees": 181.0},
        {"mirrors": 1.5},
        {"shift": -0.1},
        {"degrees": math.nan},
    ],
)
def test_numbers_out_of_range_are_named(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        Movement(**numbers)  # type: ignore[arg-type]
