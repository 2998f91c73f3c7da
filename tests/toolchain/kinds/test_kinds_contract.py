"""What every kind of task must do."""

from __future__ import annotations

import copy
import io
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_run import make_task
from small_tasks import CHOICES, small_space, small_task

from toolchain.kinds.image_task import ImageTask
from toolchain.kinds.objective_task import ObjectiveTask
from toolchain.module import GraphModule
from toolchain.settings import override
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.train.supernet import Supernet, recalibrate
from toolchain.train.supernet_training import SupernetSettings, frozen_teacher, train_supernet

KINDS = ("classification", *CHOICES)


@pytest.fixture(scope="module", params=KINDS)
def task(request: pytest.FixtureRequest) -> ImageTask:
    return make_task() if request.param == "classification" else small_task(request.param)


@pytest.fixture(scope="module")
def space(task: ImageTask) -> ImageSpace:
    space = small_space(task)
    assert isinstance(space, ImageSpace)
    return space


@pytest.fixture(scope="module")
def genotype(space: ImageSpace) -> str:
    return next(iter(space.witnesses()))


def trained(task: ImageTask, space: ImageSpace, genotype: str, path: Path) -> GraphModule:
    module = task.network(space, genotype)
    task.initialize(module, 3)
    settings = task.training(2, is_inherited=False)
    list(task.train(module, settings, seed=3, checkpoint=path / "state"))
    return module


@pytest.fixture(scope="module")
def network(
    task: ImageTask, space: ImageSpace, genotype: str, tmp_path_factory: pytest.TempPathFactory
) -> GraphModule:
    return trained(task, space, genotype, tmp_path_factory.mktemp("trained"))


def test_the_fitted_space_has_networks_that_read_the_inputs(
    task: ImageTask, space: ImageSpace, genotype: str
) -> None:
    module = task.network(space, genotype)
    inputs = task.parity_inputs(2)
    assert inputs.shape == (2, *task.input_shape)
    assert inputs.dtype == torch.float32
    assert module.eval()(inputs).shape[0] == 2


def test_a_space_of_texts_is_refused(task: ImageTask) -> None:
    with pytest.raises(ValueError, match="networks of space shrinkrnn read no images"):
        task.fitted(ShrinkRnnSpace())


def test_a_space_without_the_head_is_refused(task: ImageTask) -> None:
    if task.head == "classification":
        assert set(task.fitted(ShrinkCnnSpace())) == {"input_shape", "classes"}
        return
    with pytest.raises(ValueError, match=f"no head '{task.head}'; take --space scalenet"):
        task.fitted(ShrinkCnnSpace())


def test_first_weights_depend_on_the_seed_alone(
    task: ImageTask, space: ImageSpace, genotype: str
) -> None:
    made = []
    for seed in (1, 1, 2):
        module = task.network(space, genotype)
        torch.rand(3)
        task.initialize(module, seed)
        made.append(torch.cat([one.flatten() for one in module.parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_candidates_are_judged_the_same_twice(
    task: ImageTask, space: ImageSpace, genotype: str
) -> None:
    changes = {"train_per_class": 10, "validation_per_class": 5, "training.epochs": 1}
    if isinstance(task, ObjectiveTask):
        changes = {"train": 24, "training.epochs": 1}
    settings = override(next(iter(task.proxies.values()))(), changes)
    work = task.candidate_training(space, settings, seed=1)
    first, again = work.judge(genotype), work.judge(genotype)
    assert first.metric == again.metric
    assert 0 <= first.metric <= 1
    assert float(first.cost["cpu_s"]) > 0
    assert first.cost["epochs"] == 1


def test_a_stopped_training_goes_on_to_the_same_weights(
    task: ImageTask, space: ImageSpace, genotype: str, network: GraphModule, tmp_path: Path
) -> None:
    module = task.network(space, genotype)
    task.initialize(module, 3)
    settings = task.training(2, is_inherited=False)
    told: list[tuple[int, int]] = []
    first = next(
        iter(
            task.train(
                module, settings, seed=3, checkpoint=tmp_path / "state",
                on_step=lambda done, steps, loss: told.append((done, steps)),
            )
        )
    )  # fmt: skip
    assert (first["epoch"], first["epochs"]) == (1, 2)
    assert {"train_loss", "learning_rate", "seconds"} < set(first)
    assert 0 <= first[f"validation_{task.metric.key}"] <= 1
    per_epoch = len(told)
    assert told == [(step, 2 * per_epoch) for step in range(1, per_epoch + 1)]
    resumed = trained(task, space, genotype, tmp_path)
    for name, value in network.state_dict().items():
        assert torch.equal(resumed.state_dict()[name].cpu(), value.cpu()), name


def test_the_test_counts_examples_and_gives_the_metric(
    task: ImageTask, network: GraphModule
) -> None:
    result = task.test(copy.deepcopy(network))
    assert 0 <= result[task.metric.key] <= 1
    assert result[task.examples] == (30 if task.head == "classification" else 12)
    details = result.get("details", {})
    assert all(share is None or 0 <= share <= 1 for share in details.values())


def test_a_figure_shows_predictions_where_there_is_something_to_see(
    task: ImageTask, network: GraphModule
) -> None:
    figure = task.figure(network)
    if task.head == "classification":
        assert figure is None
        return
    assert figure is not None
    image = Image.open(io.BytesIO(figure))
    assert image.format == "PNG"
    assert min(image.size) > 100
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_an_exported_network_computes_the_same_and_int8_says_what_it_cost(
    task: ImageTask, space: ImageSpace, genotype: str, network: GraphModule, tmp_path: Path
) -> None:
    artifact = task.export(network, space, genotype, tmp_path)
    assert artifact.path.exists()
    assert artifact.parity.litert.max_relative_error < 1e-4
    quantized = task.quantize(artifact, tmp_path / "int8.tflite", 8, seed=0)
    report = quantized.quantization
    assert report is not None
    assert report.metric == task.metric.name
    assert (report.calibration_images, report.float_ops) == (8, ())
    assert report.accuracy is not None
    tested = task.test(copy.deepcopy(network))[task.metric.key]
    assert report.float_accuracy == pytest.approx(tested, abs=1e-6)


def test_a_supernet_is_trained_and_scored_or_refused(task: ImageTask, space: ImageSpace) -> None:
    if not isinstance(task, ObjectiveTask):
        with pytest.raises(ValueError, match="there is no supernet: take --weights own"):
            task.objective(0)
        return
    objective = task.objective(0)
    supernet = Supernet(space)  # type: ignore[arg-type]
    task.initialize(supernet, 0)
    teacher = frozen_teacher(supernet)
    settings = SupernetSettings(steps=12, batch_size=8)
    reports = list(train_supernet(supernet, objective, settings, seed=0, teacher=teacher, every=6))
    assert reports[1].loss < reports[0].loss
    network = supernet.extract(space.largest())  # type: ignore[attr-defined]
    few = objective.scoring()
    for one in (objective, few):
        recalibrate(network, one.calibration())
        assert 0 <= one.score(network) <= 1
    assert few.score(network) == objective.score(network)


def test_large_images_are_compared_in_smaller_numbers(
    task: ImageTask, space: ImageSpace, genotype: str, network: GraphModule, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    size_bytes = 4 * math.prod(task.input_shape)
    monkeypatch.setattr("toolchain.kinds.image_task.MOST_BYTES", 3 * size_bytes + 1)
    artifact = task.export(network, space, genotype, tmp_path)
    assert artifact.parity.images == 3
