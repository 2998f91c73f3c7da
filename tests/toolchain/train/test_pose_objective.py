from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.export.artifact import Normalization
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.tasks.augmentation import BOTTOM_UP, TOP_DOWN
from toolchain.tasks.bottom_up import SceneSettings
from toolchain.tasks.people_and_shapes import stick_people
from toolchain.tasks.pose import PoseData, PoseImage
from toolchain.tasks.skeleton import STICK_PERSON
from toolchain.tasks.top_down import CropSettings
from toolchain.train.pose_approaches import BottomUp, PoseApproach, TopDown
from toolchain.train.pose_objective import PoseObjective, find_people, measure_pose
from toolchain.train.recipe import initialize

APPROACHES: dict[str, PoseApproach] = {
    "top-down": TopDown(
        skeleton=STICK_PERSON, crop=CropSettings(rows=48, columns=32, sigma=1.0), half_bodies=0.5
    ),
    "bottom-up": BottomUp(
        skeleton=STICK_PERSON, scene=SceneSettings(side=32, sigma=1.0), tag_weight=1e-2
    ),
}
MOVEMENTS = {"top-down": TOP_DOWN, "bottom-up": BOTTOM_UP}


@pytest.fixture(scope="module")
def data() -> PoseData:
    return stick_people(side=32, train=12, validation=6, test=4)


@pytest.fixture(params=APPROACHES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def objective_of(name: str, data: PoseData) -> PoseObjective:
    approach = APPROACHES[name]
    assert data.validation is not None
    return PoseObjective(
        approach=approach,
        training=approach.examples(data.train),
        validation=data.validation,
        statistics=Normalization(mean=data.mean, std=data.std),
    )


def network_of(name: str) -> GraphModule:
    approach = APPROACHES[name]
    space = ScaleNetSpace(
        input_shape=(3, *approach.hw), classes=6, head=approach.head,
        modules=(1, 1), max_depth=1, stem_channels=8, stem_blocks=0,
    )  # fmt: skip
    module = GraphModule(space.decode(space.largest()))
    initialize(module, seed=0)
    return module


def nobody(image: PoseImage) -> PoseImage:
    """The image with no person in it."""
    return replace(
        image,
        points=image.points[:0],
        visibility=image.visibility[:0],
        boxes=image.boxes[:0],
        areas=image.areas[:0],
        is_crowd=image.is_crowd[:0],
    )


def test_perfect_maps_have_no_loss_and_find_everybody(name: str, data: PoseData) -> None:
    """A network that gives what the targets ask for, where there is one person."""
    objective = objective_of(name, data)
    approach = objective.approach
    assert data.validation is not None
    examples = approach.examples([one for one in data.validation if len(one.points) == 1])
    made = approach.prepared(examples)
    if name == "top-down":
        outputs = made.targets[0]
    else:
        coarse, fine, places = made.targets
        low = torch.nn.functional.interpolate(coarse.heatmaps, scale_factor=2, mode="bilinear")
        tags = torch.zeros(len(examples), 6, 8 * 8)
        for image, keypoints_PK in enumerate(places):
            for person, places_K in enumerate(keypoints_PK):
                for keypoint, place in enumerate(places_K.tolist()):
                    if place >= 0:
                        tags[image, keypoint, place] = 10.0 * (person + 1)
        tags = tags.view(-1, 6, 8, 8).repeat_interleave(2, 2).repeat_interleave(2, 3)
        outputs = torch.cat([low, tags, fine.heatmaps], dim=1)
    assert objective.loss(outputs, made.targets).item() == pytest.approx(0, abs=1e-5)
    found = approach.found(outputs, made.maps, examples)
    assert len(found) >= len(examples)
    worse = objective.loss(outputs + 0.1, made.targets)
    assert worse > 0.4


def test_batches_are_moved_the_same_by_the_same_generator(name: str, data: PoseData) -> None:
    objective = replace(objective_of(name, data), movement=MOVEMENTS[name])

    def batch(seed: int) -> torch.Tensor:
        inputs, _ = objective.batch(torch.arange(6), torch.Generator().manual_seed(seed))
        return inputs

    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))
    still, _ = objective_of(name, data).batch(torch.arange(6), torch.Generator())
    assert still.shape == (6, 3, *objective.approach.hw)


def test_a_teachers_tags_are_not_imitated(data: PoseData) -> None:
    approach = APPROACHES["bottom-up"]
    outputs = torch.rand(2, 18, 16, 16)
    other_tags = outputs.clone()
    other_tags[:, 6:12] += 1
    assert approach.imitation(outputs, other_tags).item() == 0
    other_maps = outputs.clone()
    other_maps[:, :6] += 0.1
    assert approach.imitation(outputs, other_maps).item() == pytest.approx(1.0, rel=1e-4)


def test_images_without_people_are_learned_from_and_measured(name: str, data: PoseData) -> None:
    assert data.validation is not None
    mixed = replace(
        objective_of(name, data),
        training=APPROACHES[name].examples([nobody(data.train[0]), *data.train[1:]]),
        validation=[nobody(data.validation[0]), *data.validation[1:]],
    )
    inputs, targets = mixed.batch(torch.arange(4), torch.Generator())
    loss = mixed.loss(network_of(name)(inputs), targets)
    assert torch.isfinite(loss)
    assert 0 <= mixed.score(network_of(name)) <= 1


def test_validation_images_without_anybody_are_refused(name: str, data: PoseData) -> None:
    assert data.validation is not None
    with pytest.raises(DataUnusable, match="none of the 6 validation images has a person"):
        replace(objective_of(name, data), validation=[nobody(one) for one in data.validation])


def test_keypoints_outside_the_image_count_for_nothing(name: str, data: PoseData) -> None:
    outside = [
        replace(image, points=image.points + 1000, boxes=image.boxes) for image in data.train
    ]
    objective = replace(objective_of(name, data), training=APPROACHES[name].examples(outside))
    inputs, targets = objective.batch(torch.arange(4), torch.Generator())
    heatmaps = targets[0] if name == "top-down" else targets[0].heatmaps
    assert heatmaps.max() == 0
    assert torch.isfinite(objective.loss(network_of(name)(inputs), targets))


def test_a_network_that_finds_nobody_scores_0(data: PoseData) -> None:
    assert data.validation is not None
    approach = APPROACHES["bottom-up"]
    network = network_of("bottom-up")
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    statistics = Normalization(mean=data.mean, std=data.std)
    assert find_people(network, data.validation, approach, statistics) == []
    assert measure_pose(network, data.validation, approach, statistics).ap == 0


def test_what_travels_to_workers_scores_the_same(name: str, data: PoseData) -> None:
    many = objective_of(name, data)
    many = replace(many, training=[*many.training] * 40)
    few = many.scoring()
    assert len(few.training) == 256
    for one, other in zip(many.calibration(), few.calibration(), strict=True):
        assert torch.equal(one, other)
    assert few.score(network_of(name)) == many.score(network_of(name))
