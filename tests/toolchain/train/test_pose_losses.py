from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolchain.train.pose_losses import heatmap_loss, masked_heatmap_loss, tag_losses

HEIGHT, WIDTH, KEYPOINTS = 4, 5, 3


def tags_at(values: list[list[float | None]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tags of one image such that person p has `values[p][k]` at its keypoint k, None: none."""
    tags = torch.full((1, KEYPOINTS, HEIGHT, WIDTH), 99.0)
    places = torch.full((1, len(values), KEYPOINTS), -1)
    for person, own in enumerate(values):
        for keypoint, value in enumerate(own):
            if value is not None:
                place = person * KEYPOINTS + keypoint
                tags[0, keypoint].view(-1)[place] = value
                places[0, person, keypoint] = place
    return tags, places


def definition(values: list[list[float | None]]) -> tuple[float, float]:
    people = [[tag for tag in own if tag is not None] for own in values]
    people = [own for own in people if own]
    means = [sum(own) / len(own) for own in people]
    pulls = [
        sum((tag - mean) ** 2 for tag in own) / len(own)
        for own, mean in zip(people, means, strict=True)
    ]
    near = [
        math.exp(-((one - other) ** 2))
        for i, one in enumerate(means)
        for j, other in enumerate(means)
        if i != j
    ]
    pairs = len(means) * (len(means) - 1)
    return sum(pulls) / max(1, len(pulls)), 0.5 * sum(near) / max(1, pairs)


@given(
    st.lists(
        st.lists(st.none() | st.floats(-3, 3), min_size=KEYPOINTS, max_size=KEYPOINTS),
        min_size=1,
        max_size=5,
    )
)
def test_losses_of_tags_are_those_of_their_definition(values: list[list[float | None]]) -> None:
    pull, push = tag_losses(*tags_at(values))
    assert (pull.item(), push.item()) == pytest.approx(definition(values), abs=1e-4)


def test_identical_tags_pull_nothing_and_push_one_half() -> None:
    pull, push = tag_losses(*tags_at([[1, 1, 1], [1, 1, 1]]))
    assert (pull.item(), push.item()) == (0, 0.5)


def test_far_tags_push_nothing_nor_does_a_person_alone_nor_nobody() -> None:
    assert tag_losses(*tags_at([[0, 0, 0], [9, 9, 9]]))[1].item() == pytest.approx(0, abs=1e-9)
    assert tag_losses(*tags_at([[0, 2, None]]))[1].item() == 0
    pull, push = tag_losses(*tags_at([[None, None, None]]))
    assert (pull.item(), push.item()) == (0, 0)


def test_only_tags_at_labelled_keypoints_have_a_gradient() -> None:
    tags, places = tags_at([[0.5, None, 1.0], [1.2, 0.1, None]])
    tags.requires_grad_()
    pull, push = tag_losses(tags, places)
    torch.autograd.backward(pull + push)
    assert tags.grad is not None
    assert ((tags.grad != 0) == (tags != 99)).all()


def test_losses_of_images_are_averaged() -> None:
    first, second = [[0.0, 1.0, 2.0], [3.0, 3.0, None]], [[1.0, 1.0, 4.0], [0.0, None, None]]
    both = [torch.cat(pair) for pair in zip(tags_at(first), tags_at(second), strict=True)]
    one, other = tag_losses(*tags_at(first)), tag_losses(*tags_at(second))
    assert [loss.item() for loss in tag_losses(*both)] == pytest.approx(
        [(a.item() + b.item()) / 2 for a, b in zip(one, other, strict=True)]
    )


def test_half_the_squared_error_counts_where_keypoints_are_labelled() -> None:
    target = torch.zeros(2, 3, 4, 5)
    weights = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    predicted = torch.full_like(target, 2.0, requires_grad=True)
    loss = heatmap_loss(predicted, target, weights)
    assert loss.item() == pytest.approx(0.5 * 4 * 4 / 6)
    torch.autograd.backward(loss)
    assert predicted.grad is not None
    assert ((predicted.grad != 0).all(dim=(2, 3)) == (weights == 1)).all()


def test_unlabelled_pixels_count_as_right_for_every_keypoint() -> None:
    is_labelled = torch.ones(1, 4, 5, dtype=torch.bool)
    is_labelled[0, :2] = False
    loss = masked_heatmap_loss(torch.full((1, 3, 4, 5), 3.0), torch.zeros(1, 3, 4, 5), is_labelled)
    assert loss.item() == pytest.approx(4.5)
