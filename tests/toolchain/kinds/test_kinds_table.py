from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from toolchain.errors import DataUnusable, NameUnknown
from toolchain.kinds.classification import Classification, data_of
from toolchain.kinds.metric import Metric
from toolchain.kinds.pose import Pose
from toolchain.kinds.segmentation import Segmentation
from toolchain.kinds.table import TASKS, entry, make_task_settings, open_task
from toolchain.train.segmentation_losses import class_weights
from toolchain.train.segmentation_objective import SegmentationObjective

SCENES = {"scenes": (20, 4, 4)}


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match="task 'mnist'; known are: brown, camvid, cityscapes"):
        open_task("mnist")


@pytest.mark.parametrize("name", ["image-folder", "camvid", "cityscapes", "coco-keypoints"])
def test_data_that_cannot_be_drawn_or_fetched_must_be_given(name: str) -> None:
    with pytest.raises(DataUnusable, match=f"task {name} has no data of its own: give a folder"):
        open_task(name)


@pytest.mark.parametrize("name", ["people-and-shapes", "stick-people"])
def test_tasks_that_draw_their_images_take_no_data(name: str) -> None:
    with pytest.raises(DataUnusable, match=r"draws its own images: leave --data out, not mine"):
        open_task(name, Path("mine"))


@pytest.mark.parametrize(
    ("name", "size", "values", "complaint"),
    [
        ("people-and-shapes", (32, 48), {}, "as many rows as columns, got 32,48"),
        ("fashion-mnist", (28, 30), {}, "as many rows as columns, got 28,30"),
        ("people-and-shapes", 16, SCENES, "scenes of 16 pixels show no limbs"),
        ("people-and-shapes", 32, {"scenes": (20, 4)}, "three numbers, 1 or more"),
        ("people-and-shapes", 32, {"scenes": (20, 4, 0)}, "three numbers, 1 or more"),
        ("people-and-shapes", 32, {"loss": "focal"}, "loss is one of plain, weighted, hard"),
        ("people-and-shapes", 32, {"validation": -1}, "validation -1 is out of range"),
        (
            "stick-people",
            (64, 48),
            {"approach": "bottom-up", **SCENES},
            "as many rows as columns, got 64,48: give --image-size 64",
        ),
        ("stick-people", (50, 48), SCENES, "50x48 is no multiple of the stride 4"),
        ("stick-people", None, {"approach": "sideways"}, "one of top-down, bottom-up"),
        ("stick-people", None, {"sigma": 0.0}, r"sigma 0\.0 is out of range"),
        ("stick-people", None, {"half_bodies": 2.0}, r"half_bodies 2\.0 is out of range"),
    ],
)
def test_sizes_and_choices_that_cannot_be_are_refused(
    name: str, size: Any, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        open_task(name, None, size, make_task_settings(name, values))


def test_a_choice_that_a_task_does_not_offer_is_named() -> None:
    with pytest.raises(NameUnknown, match="'loss'"):
        make_task_settings("fashion-mnist", {"loss": "plain"})
    with pytest.raises(NameUnknown, match="'scenes'"):
        make_task_settings("camvid", {"scenes": (1, 1, 1)})


def test_every_task_has_default_choices_and_a_metric() -> None:
    for name in TASKS:
        make_task_settings(name, {})
        assert entry(name).kind.metric.key
        assert entry(name).kind.proxies


def test_pictures_of_a_task_are_those_of_its_kind_alone() -> None:
    segmentation = open_task(
        "people-and-shapes", None, 32, make_task_settings("people-and-shapes", SCENES)
    )
    with pytest.raises(ValueError, match="is no task of classification"):
        data_of(segmentation)


def test_validation_images_are_the_data_sets_own_unless_some_are_set_aside() -> None:
    def images(validation: int) -> tuple[int, int]:
        values = {**SCENES, "validation": validation}
        task = open_task(
            "people-and-shapes", None, 32, make_task_settings("people-and-shapes", values)
        )
        assert isinstance(task, Segmentation)
        objective = task.objective_of(None, seed=0)
        return objective.images, len(objective.validation)

    assert images(0) == (20, 4)
    assert images(6) == (14, 6)
    with pytest.raises(DataUnusable, match="ask for fewer, or add images"):
        images(20)


def test_the_loss_of_pixels_is_the_one_chosen() -> None:
    def loss(name: str) -> float:
        values = {**SCENES, "loss": name}
        task = open_task(
            "people-and-shapes", None, 32, make_task_settings("people-and-shapes", values)
        )
        assert isinstance(task, Segmentation)
        objective = task.objective(0)
        assert isinstance(objective, SegmentationObjective)
        logits = torch.zeros(4, 5, 8, 8)
        logits[:, 0] = 1
        return objective.loss(logits, task.data.train.masks[:4]).item()

    plain, weighted, hard = map(loss, ("plain", "weighted", "hard"))
    assert plain < weighted  # rare classes, all wrong here, count more
    assert plain == pytest.approx(hard)  # where every pixel is hard
    assert class_weights(torch.tensor([90, 10]))[1] > 1


def test_pose_has_the_size_of_its_approach() -> None:
    def task(**values: Any) -> Pose:
        made = open_task(
            "stick-people", None, None, make_task_settings("stick-people", {**SCENES, **values})
        )
        assert isinstance(made, Pose)
        return made

    assert task().input_shape == (3, 64, 48)
    assert task(approach="bottom-up").input_shape == (3, 64, 64)
    assert (task().head, task(approach="bottom-up").head) == ("pose", "bottom-up")
    assert task().classes == 6


def test_a_metric_is_written_as_people_read_it() -> None:
    share = Classification.metric
    assert (share.text(0.87351), share.text(0.87351, digits=1)) == ("87.35%", "87.4%")
    assert (share.drawn(0.5), share.axis, share.label) == (50, "Accuracy, %", "accuracy, %")
    assert (Segmentation.metric.axis, Pose.metric.axis) == ("mIoU, %", "AP, %")
    plain = Metric(key="perplexity", name="perplexity", is_share=False, is_lower_better=True)
    assert plain.value(-112.4) == 112.4
    assert (plain.text(1112.4, digits=1), plain.drawn(112.4)) == ("1,112.4", 112.4)
    assert plain.axis == "Perplexity"
