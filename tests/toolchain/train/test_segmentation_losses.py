from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from toolchain.tasks.segmentation import IGNORE
from toolchain.train.segmentation_losses import class_weights, cross_entropy, hard_cross_entropy

CLASSES = 3
WEIGHTS = torch.tensor([0.5, 1.0, 2.5])


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, CLASSES, 5, 7, generator=generator)
    masks = torch.randint(CLASSES + 1, (2, 5, 7), generator=generator)
    return logits, torch.where(masks == CLASSES, IGNORE, masks).byte()


def pixels(logits: Tensor, masks: Tensor) -> list[tuple[float, int]]:
    """Probability of the label and the label, of each labelled pixel, one by one."""
    listed = []
    for image, row, column in (masks != IGNORE).nonzero().tolist():
        label = int(masks[image, row, column])
        exponents = [math.exp(x) for x in logits[image, :, row, column].tolist()]
        listed.append((exponents[label] / sum(exponents), label))
    return listed


@given(st.integers(0, 1000), st.booleans())
def test_cross_entropy_is_the_mean_over_labelled_pixels(seed: int, is_weighted: bool) -> None:
    logits, masks = batch(seed)
    weights = WEIGHTS if is_weighted else torch.ones(CLASSES)
    terms = [(-math.log(p), weights[label].item()) for p, label in pixels(logits, masks)]
    expected = sum(loss * weight for loss, weight in terms) / sum(weight for _, weight in terms)
    loss = cross_entropy(logits, masks, WEIGHTS if is_weighted else None)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0.05, 1), st.booleans())
def test_hard_cross_entropy_is_the_mean_over_the_least_probable_and_those_below_the_threshold(
    seed: int, share: float, below: float, is_weighted: bool
) -> None:
    logits, masks = batch(seed)
    weights = WEIGHTS if is_weighted else torch.ones(CLASSES)
    ranked = sorted(pixels(logits, masks))
    kept = max(1, round(share * len(ranked)))
    hard = [
        -math.log(p) * weights[label].item()
        for rank, (p, label) in enumerate(ranked)
        if rank < kept or p < below
    ]
    loss = hard_cross_entropy(
        logits,
        masks,
        WEIGHTS if is_weighted else None,
        hard_below=below,
        hard_share=share,
    )
    assert loss.item() == pytest.approx(sum(hard) / len(hard), rel=1e-4, abs=1e-6)


def test_if_all_pixels_are_hard_both_losses_agree() -> None:
    logits, masks = batch(3)
    assert hard_cross_entropy(logits, masks, hard_share=1.0).item() == pytest.approx(
        cross_entropy(logits, masks).item()
    )


@pytest.mark.parametrize("loss_of", [cross_entropy, hard_cross_entropy])
def test_a_batch_without_labels_teaches_nothing_and_breaks_nothing(loss_of: object) -> None:
    logits = batch(0)[0].requires_grad_()
    assert callable(loss_of)
    loss = loss_of(logits, torch.full((2, 5, 7), IGNORE, dtype=torch.uint8), WEIGHTS)
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_unlabelled_pixels_have_no_gradient() -> None:
    logits, masks = batch(1)
    logits.requires_grad_()
    torch.autograd.backward(hard_cross_entropy(logits, masks, hard_share=1.0))
    assert logits.grad is not None
    reaches = (logits.grad != 0).any(dim=1)
    assert (reaches == (masks != IGNORE)).all()


def test_small_maps_are_enlarged_to_the_masks() -> None:
    logits, _ = batch(2)
    masks = torch.randint(CLASSES, (2, 20, 28), dtype=torch.uint8)
    enlarged = F.interpolate(logits, size=(20, 28), mode="bilinear")
    assert cross_entropy(logits, masks).item() == pytest.approx(
        F.cross_entropy(enlarged, masks.long()).item()
    )


def test_rare_classes_weigh_more_but_not_without_bound() -> None:
    weights = class_weights(torch.tensor([900, 99, 1, 0]))
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[1:] > weights[:-1]).all()
    ratio = (weights[3] / weights[0]).item()
    assert ratio == pytest.approx(math.log(1.92) / math.log(1.02))
