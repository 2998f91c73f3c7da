from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolchain.tasks.confusion import Confusion, confusion
from toolchain.tasks.segmentation import IGNORE

CLASSES = 4
LABELS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, IGNORE]), st.integers(0, CLASSES - 1)), min_size=1
)


def brute_force(pixels: list[tuple[int, int]]) -> list[float | None]:
    """IoU of each class from sets of pixels."""
    ious: list[float | None] = []
    for label in range(CLASSES):
        truth = {place for place, (own, _) in enumerate(pixels) if own == label}
        taken = {
            place for place, (own, seen) in enumerate(pixels) if seen == label and own != IGNORE
        }
        ious.append(len(truth & taken) / len(truth | taken) if truth | taken else None)
    return ious


def of(pixels: list[tuple[int, int]]) -> Confusion:
    truth, predicted = (
        torch.tensor(column).view(1, 1, -1) for column in zip(*pixels, strict=True)
    )
    return confusion(predicted, truth.byte(), CLASSES)


@given(LABELS)
def test_iou_is_that_of_sets_of_pixels(pixels: list[tuple[int, int]]) -> None:
    expected = brute_force(pixels)
    counted = of(pixels)
    assert counted.class_iou == tuple(expected)
    known = [iou for iou in expected if iou is not None]
    if known:
        assert counted.mean_iou == pytest.approx(sum(known) / len(known))
        assert counted.accuracy == pytest.approx(
            sum(own == seen for own, seen in pixels) / sum(own != IGNORE for own, _ in pixels)
        )


@given(LABELS, LABELS)
def test_counts_of_parts_add_up(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    assert ((of(first) + of(second)).counts == of(first + second).counts).all()


def test_an_absent_class_is_left_out_unless_something_was_taken_for_it() -> None:
    assert of([(0, 0), (1, 1)]).class_iou == (1.0, 1.0, None, None)
    assert of([(0, 0), (1, 1)]).mean_iou == 1.0
    assert of([(0, 0), (1, 3)]).class_iou == (1.0, 0.0, None, 0.0)
    assert of([(0, 0), (IGNORE, 3)]).mean_iou == 1.0


def test_there_is_no_mean_of_nothing() -> None:
    nothing = of([(IGNORE, 2)])
    with pytest.raises(ValueError, match="no labelled pixel was counted"):
        _ = nothing.mean_iou
    with pytest.raises(ValueError, match="no labelled pixel was counted"):
        _ = nothing.accuracy
