from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from toolchain.tasks.classification import ClassificationData, ImageSet
from toolchain.train.epoch import Step, evaluate
from toolchain.train.loop import EpochReport, train
from toolchain.train.recipe import TrainSettings, initialize

SETTINGS = TrainSettings(epochs=3, batch_size=32, learning_rate=0.05)


def small_net() -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
        nn.Conv2d(16, 32, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 19, 3, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(76, 10),
    )
    initialize(net, seed=0)
    return net


@pytest.fixture(scope="module")
def images(fashion_mnist: ClassificationData) -> tuple[ImageSet, ImageSet]:
    return fashion_mnist.split(validation_per_class=30, train_per_class=20, seed=0)


def start(
    net: nn.Module,
    images: tuple[ImageSet, ImageSet],
    settings: TrainSettings = SETTINGS,
    **options: Any,
) -> Iterator[EpochReport]:
    return train(net, *images, settings, seed=1, device="cpu", **options)


def is_same(one: nn.Module, two: nn.Module) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_resumed_training_ends_with_the_very_weights_of_an_uninterrupted_one(
    images: tuple[ImageSet, ImageSet], tmp_path: Path, optimizer: str, epochs_before: int
) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    whole = small_net()
    expected = list(start(whole, images, settings))
    path = tmp_path / "state.safetensors"
    interrupted = start(small_net(), images, settings, checkpoint=path)
    for _ in range(epochs_before):
        next(interrupted)
    resumed = small_net()
    nn.init.zeros_(resumed[0].weight)
    torch.manual_seed(123)
    reports = list(start(resumed, images, settings, checkpoint=path, resume=True))
    assert is_same(whole, resumed)
    assert [report.epoch for report in reports] == list(range(epochs_before + 1, 4))
    assert reports[-1].validation_loss == expected[-1].validation_loss
    assert reports[-1].train_loss == expected[-1].train_loss


KILLED_RUN = """
    import os, signal, sys
    from pathlib import Path
    import torch
    sys.path.insert(0, sys.argv[1])
    from {module} import SETTINGS, small_net
    from toolchain.tasks.fashion_mnist import load_fashion_mnist
    from toolchain.train.loop import train

    torch.set_num_threads(1)
    images = load_fashion_mnist().split(validation_per_class=30, train_per_class=20, seed=0)

    def die(epoch, step):
        if (epoch, step.index) == (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)

    list(train(small_net(), *images, SETTINGS, seed=1, device="cpu",
               checkpoint=Path(sys.argv[2]), on_step=die))
"""


def test_a_run_killed_in_mid_epoch_goes_on_from_its_last_whole_epoch(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    here = Path(__file__)
    script = textwrap.dedent(KILLED_RUN).format(module=here.stem)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(here.parent), str(path)],
        env={**os.environ, "PYTHONPATH": str(here.parents[3])},
        timeout=60,
    )
    assert killed.returncode == -9
    whole, resumed = small_net(), small_net()
    list(start(whole, images))
    reports = list(start(resumed, images, checkpoint=path, resume=True))
    assert [report.epoch for report in reports] == [2, 3]
    assert is_same(whole, resumed)


def test_a_finished_training_has_nothing_left_to_report(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    done, again = small_net(), small_net()
    list(start(done, images, checkpoint=path))
    assert list(start(again, images, checkpoint=path, resume=True)) == []
    assert is_same(done, again)


def test_without_resume_an_old_checkpoint_is_overwritten(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    list(start(small_net(), images, checkpoint=path))
    assert len(list(start(small_net(), images, checkpoint=path))) == 3


def test_resume_needs_a_checkpoint(images: tuple[ImageSet, ImageSet]) -> None:
    with pytest.raises(ValueError, match="resume needs the checkpoint"):
        next(start(small_net(), images, resume=True))


def test_reports_and_steps_tell_how_the_training_goes(
    images: tuple[ImageSet, ImageSet],
) -> None:
    net, seen = small_net(), list[tuple[int, Step]]()
    reports = list(start(net, images, on_step=lambda epoch, step: seen.append((epoch, step))))
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert [epoch for epoch, _ in seen] == [1] * 7 + [2] * 7 + [3] * 7
    last = [step for epoch, step in seen if epoch == 3]
    mean_loss = sum(step.loss * step.images for step in last) / 200
    assert reports[2].train_loss == pytest.approx(mean_loss)
    assert reports[2].images_per_second == pytest.approx(200 / reports[2].seconds)
    assert reports[2].learning_rate == last[-1].learning_rate
    after = evaluate(net, images[1])
    assert (after.accuracy, after.loss) == (
        reports[2].validation_accuracy,
        reports[2].validation_loss,
    )


def test_a_small_network_learns_to_tell_clothes_apart(fashion_mnist: ClassificationData) -> None:
    images = fashion_mnist.split(validation_per_class=50, train_per_class=300, seed=0)
    reports = list(start(small_net(), images))
    assert reports[-1].validation_accuracy > 0.65
    assert reports[-1].train_loss < reports[0].train_loss


IMAGENET = dataclasses.replace(
    TrainSettings.imagenet(3), batch_size=32, norm_momentum=0.2, average=0.9
)


def test_the_imagenet_recipe_resumes_exactly_with_its_mean_of_weights(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    whole = small_net()
    expected = list(start(whole, images, IMAGENET))
    next(start(small_net(), images, IMAGENET, checkpoint=path))
    resumed, again = small_net(), small_net()
    reports = list(start(resumed, images, IMAGENET, checkpoint=path, resume=True))
    assert [one.validation_loss for one in reports] == [
        one.validation_loss for one in expected[1:]
    ]
    assert is_same(whole, resumed)
    assert list(start(again, images, IMAGENET, checkpoint=path, resume=True)) == []
    assert is_same(whole, again)


def test_the_mean_of_weights_is_what_is_judged_and_what_stays(
    images: tuple[ImageSet, ImageSet],
) -> None:
    averaged, last = small_net(), small_net()
    reports = list(start(averaged, images, IMAGENET))
    plain = dataclasses.replace(IMAGENET, average=0.0)
    assert reports[-1].train_loss == list(start(last, images, plain))[-1].train_loss
    assert not is_same(averaged, last)
    after = evaluate(averaged, images[1])
    assert after.loss == pytest.approx(reports[-1].validation_loss, rel=1e-5)
    assert {layer.eps for layer in averaged if isinstance(layer, nn.BatchNorm2d)} == {1e-5}


def test_the_imagenet_recipe_draws_first_weights_of_its_own(
    images: tuple[ImageSet, ImageSet],
) -> None:
    one, two = small_net(), small_net()
    initialize(two, seed=99)
    for net in (one, two):
        list(start(net, images, dataclasses.replace(IMAGENET, epochs=1, warm_up_epochs=0.0)))
    assert is_same(one, two)


def test_a_small_network_learns_by_the_imagenet_recipe(
    fashion_mnist: ClassificationData,
) -> None:
    images = fashion_mnist.split(validation_per_class=50, train_per_class=100, seed=0)
    settings = dataclasses.replace(IMAGENET, epochs=8, warm_up_epochs=1.0)
    reports = list(start(small_net(), images, settings))
    assert reports[-1].validation_accuracy > 0.5
