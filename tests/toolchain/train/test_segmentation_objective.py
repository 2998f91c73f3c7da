from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.tasks.segmentation import IGNORE, MaskedImages
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective

SPACE = ScaleNetSpace(
    input_shape=(3, 32, 32), modules=(1, 1), max_depth=1, stem_channels=8, classes=5,
    head="segmentation",
)  # fmt: skip


@pytest.fixture(scope="module")
def objective() -> SegmentationObjective:
    data = people_and_shapes(side=32, train=12, validation=6, test=1)
    training, validation = data.split(seed=0)
    return SegmentationObjective(training=training, validation=validation, classes=5)


def network() -> GraphModule:
    module = GraphModule(SPACE.decode(SPACE.largest()))
    initialize(module, seed=0)
    return module


def without_labels(images: MaskedImages, count: int) -> MaskedImages:
    masks = images.masks.clone()
    masks[:count] = IGNORE
    return replace(images, masks=masks)


def test_images_without_labels_are_learned_from_and_measured(
    objective: SegmentationObjective,
) -> None:
    partly = replace(
        objective,
        training=without_labels(objective.training, 4),
        validation=without_labels(objective.validation, 5),
    )
    inputs, masks = partly.batch(torch.arange(4), torch.Generator())
    loss = partly.loss(network()(inputs), masks)
    assert loss.item() == 0  # nothing is labelled in these four
    torch.autograd.backward(loss)
    assert 0 <= partly.score(network()) <= 1


def test_validation_images_without_any_label_are_refused(
    objective: SegmentationObjective,
) -> None:
    with pytest.raises(DataUnusable, match="no pixel of the 6 validation images has a label"):
        replace(objective, validation=without_labels(objective.validation, 6))


def test_what_travels_to_workers_scores_the_same(objective: SegmentationObjective) -> None:
    many = replace(objective, training=objective.training.select(torch.arange(600) % 12))
    few = many.scoring()
    assert len(few.training) == 256
    for one, other in zip(many.calibration(), few.calibration(), strict=True):
        assert torch.equal(one, other)
    assert few.score(network()) == many.score(network())
