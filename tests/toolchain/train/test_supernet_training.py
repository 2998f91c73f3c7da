from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from toolchain.errors import CheckpointUnusable, TrainingDiverged
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.augmentation import Movement
from toolchain.tasks.people_and_shapes import people_and_shapes
from toolchain.train.recipe import initialize
from toolchain.train.segmentation_objective import SegmentationObjective, measure_segmentation
from toolchain.train.supernet import Supernet
from toolchain.train.supernet_training import (
    SupernetSettings,
    frozen_teacher,
    score,
    train_supernet,
)

SPACE = ScaleNetSpace(
    input_shape=(3, 32, 32), modules=(1, 1), max_depth=2, stem_channels=8, classes=5,
    head="segmentation",
)  # fmt: skip
SETTINGS = SupernetSettings(steps=6, batch_size=8)


@pytest.fixture(scope="module")
def objective() -> SegmentationObjective:
    data = people_and_shapes(side=32, train=64, validation=32, test=1)
    training, validation = data.split(seed=0)
    return SegmentationObjective(training=training, validation=validation, classes=5)


def fresh(seed: int = 0) -> Supernet:
    supernet = Supernet(SPACE)
    initialize(supernet, seed=seed)
    return supernet


def weights(supernet: Supernet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in supernet.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_teaches_the_networks_of_the_supernet(objective: SegmentationObjective) -> None:
    """All of them: also one that no step may have drawn."""
    supernet = fresh()
    genotype = SPACE.regular(2)
    before = score(supernet, genotype, objective)
    settings = SupernetSettings(steps=60, batch_size=16, learning_rate=4e-3)
    reports = list(train_supernet(supernet, objective, settings, seed=0, every=20))
    assert [report.step for report in reports] == [20, 40, 60]
    assert reports[-1].loss < 0.7 * reports[0].loss
    assert score(supernet, genotype, objective) > before + 0.08


def test_a_stopped_training_ends_as_if_it_had_not_been_stopped(
    objective: SegmentationObjective, tmp_path: Path
) -> None:
    moved = replace(objective, movement=Movement(least_scale=0.7, most_scale=1.4, crops=True))
    whole = fresh()
    expected = list(train_supernet(whole, moved, SETTINGS, seed=1, every=2))
    stopped, resumed = fresh(), fresh(seed=9)
    options: dict[str, Any] = {"seed": 1, "every": 2, "checkpoint": tmp_path / "state"}
    next(train_supernet(stopped, moved, SETTINGS, **options))
    reports = list(train_supernet(resumed, moved, SETTINGS, resume=True, **options))
    assert [report.loss for report in reports] == [report.loss for report in expected[1:]]
    assert_same(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_training_is_refused(
    objective: SegmentationObjective, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    list(train_supernet(fresh(), objective, SETTINGS, seed=1, checkpoint=state))
    for settings, seed in ((replace(SETTINGS, sampling="uniform"), 1), (SETTINGS, 2)):
        with pytest.raises(CheckpointUnusable, match="belongs to a training with"):
            list(
                train_supernet(
                    fresh(), objective, settings, seed=seed, checkpoint=state, resume=True
                )
            )


def test_the_same_seed_trains_the_same_weights_and_another_does_not(
    objective: SegmentationObjective,
) -> None:
    ends = []
    for seed in (0, 0, 1):
        supernet = fresh()
        list(train_supernet(supernet, objective, SETTINGS, seed=seed))
        ends.append(weights(supernet))
    assert_same(ends[0], ends[1])
    assert not torch.equal(
        ends[0]["shared.layers.stem0.1.weight"], ends[2]["shared.layers.stem0.1.weight"]
    )


def test_every_image_comes_once_before_any_comes_again(objective: SegmentationObjective) -> None:
    from toolchain.train.gradient_step import examples_of_step

    for epoch in range(2):
        drawn = torch.cat(
            [examples_of_step(64, 8, 3, step) for step in range(8 * epoch, 8 * epoch + 8)]
        )
        assert sorted(drawn.tolist()) == list(range(64))
    assert not torch.equal(examples_of_step(64, 8, 3, 0), examples_of_step(64, 8, 3, 8))
    assert len(examples_of_step(5, 8, 3, 4)) == 5


def test_a_teacher_is_learned_from_and_does_not_change(objective: SegmentationObjective) -> None:
    supernet = fresh()
    list(train_supernet(supernet, objective, replace(SETTINGS, sampling="largest"), seed=0))
    teacher = frozen_teacher(supernet)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    alone = fresh()
    alone.load_state_dict(supernet.state_dict())
    list(train_supernet(supernet, objective, SETTINGS, seed=0, teacher=teacher))
    list(train_supernet(alone, objective, SETTINGS, seed=0))
    assert_same(before, teacher.state_dict())
    inputs, _ = objective.batch(torch.arange(16), torch.Generator())
    with torch.no_grad():
        taught = teacher(inputs)
        distances = []
        for one in (supernet, alone):
            one.choose(SPACE.largest())
            distances.append(float((one.eval()(inputs) - taught).square().mean()))
    assert distances[0] < distances[1]


def test_scoring_repeats_exactly_and_leaves_the_supernet_alone(
    objective: SegmentationObjective,
) -> None:
    supernet = fresh()
    list(train_supernet(supernet, objective, SETTINGS, seed=0))
    before = weights(supernet)
    genotype = SPACE.regular(1)
    assert score(supernet, genotype, objective) == score(supernet, genotype, objective)
    assert_same(before, weights(supernet))
    as_it_is = measure_segmentation(
        supernet.extract(genotype), objective.validation, objective.classes
    )
    assert score(supernet, genotype, objective) != as_it_is.mean_iou  # its norms are mixed


def test_a_loss_that_is_no_number_ends_the_training(objective: SegmentationObjective) -> None:
    broken = replace(objective, pixel_loss=lambda logits, masks: logits.sum() * float("nan"))
    with pytest.raises(TrainingDiverged, match="nan in step 1"):
        list(train_supernet(fresh(), broken, SETTINGS, seed=0))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": 0}, "steps must be 1 or more"),
        ({"sampling": "best"}, "sampling is one of grouped, largest, sandwich, uniform"),
        ({"learning_rate": 0.0}, "more than 0"),
        ({"distillation": -1.0}, "0 or more"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SETTINGS, **changes)
