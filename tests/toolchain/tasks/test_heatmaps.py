from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from toolchain.tasks.heatmaps import bells, mirrored_back, on_image, on_map, peaks, reaches
from toolchain.tasks.skeleton import COCO_PERSON

SIZE = (24, 18)


def all_of(points: torch.Tensor) -> torch.Tensor:
    return torch.ones(points.shape[:-1], dtype=torch.bool)


@given(st.floats(0, 17), st.floats(0, 23), st.floats(0.7, 4))
def test_a_peak_is_within_a_quarter_of_a_pixel_of_its_keypoint(
    x: float, y: float, sigma: float
) -> None:
    points = torch.tensor([[[x, y]]])
    found, scores = peaks(bells(points, all_of(points), SIZE, sigma))
    error = (found - points).abs()
    # At the border there is no neighbour to lean towards.
    is_inner = (found > 0.5) & (found < torch.tensor([16.5, 22.5]))
    assert (error <= torch.where(is_inner, 0.25, 0.5) + 1e-4).all()
    assert 0.5 < scores.item() <= 1


@given(st.floats(0, 71), st.floats(0, 95))
def test_image_and_map_have_one_and_the_same_mirror(x: float, y: float) -> None:
    """What is found in a mirror image, mirrored back, is what is found in the image."""
    points = torch.tensor([[[x, y]] * 17])
    mirrored = points[:, list(COCO_PERSON.mirrored)] * torch.tensor([-1, 1]) + torch.tensor(
        [71, 0]
    )
    maps, mirror_maps = (bells(on_map(p, 4), all_of(p), SIZE, 2.0) for p in (points, mirrored))
    assert torch.allclose(mirrored_back(mirror_maps, COCO_PERSON), maps, atol=1e-4)


@given(st.floats(-50, 50), st.integers(1, 8))
def test_coordinates_of_map_and_image_lead_to_each_other(x: float, stride: int) -> None:
    point = torch.tensor([x, 0.0])
    assert torch.allclose(on_image(on_map(point, stride), stride), point, atol=1e-4)
    # The first pixel of a map lies in the middle of the first pixels of the image.
    assert on_image(torch.zeros(2), stride).tolist() == [(stride - 1) / 2] * 2


def test_mirrored_maps_change_sides() -> None:
    maps = torch.zeros(1, 17, 2, 3)
    maps[0, COCO_PERSON.names.index("left_ankle"), 1, 0] = 1
    back = mirrored_back(maps, COCO_PERSON)
    assert back.nonzero().tolist() == [[0, COCO_PERSON.names.index("right_ankle"), 1, 2]]


def test_keypoints_that_are_not_labelled_are_not_drawn_whatever_their_coordinates() -> None:
    points = torch.tensor([[[3.0, 4.0], [float("nan"), 1e30]]])
    maps = bells(points, torch.tensor([[True, False]]), SIZE, 2.0)
    assert maps[0, 0].max() == 1
    assert (maps[0, 1] == 0).all()


def test_a_bell_reaches_a_map_from_three_deviations_away() -> None:
    points = torch.tensor([[[-5.9, 3.0], [-6.1, 3.0], [22.9, 3.0], [23.1, 3.0], [3.0, 29.1]]])
    assert reaches(points, SIZE, 2.0).tolist() == [[True, False, True, False, False]]
