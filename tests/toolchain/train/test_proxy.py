from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolchain.tasks.classification import ClassificationData, ImageSet
from toolchain.train.proxy import ProxyResult, ProxySettings, evaluate_proxy
from toolchain.train.recipe import TrainSettings

SMALL = ProxySettings(
    training=TrainSettings(epochs=3, batch_size=32, learning_rate=0.05, augment="none"),
    train_per_class=20,
    validation_per_class=20,
    patience_epochs=3,
)


def small_net(width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=4, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, groups=width, bias=False),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(9 * width, 10),
    )


@pytest.fixture(scope="module")
def images(fashion_mnist: ClassificationData) -> tuple[ImageSet, ImageSet]:
    return SMALL.draw(fashion_mnist, seed=0)


def outcome(
    net: nn.Module, images: tuple[ImageSet, ImageSet], settings: ProxySettings = SMALL
) -> ProxyResult:
    return evaluate_proxy(net, *images, settings, seed=3, device="cpu")


def figures(result: ProxyResult) -> tuple[float, float, int, str]:
    """All but the processor time, which never repeats."""
    return result.accuracy, result.loss, result.epochs, result.stopped_because


def test_a_result_does_not_depend_on_what_the_process_did_before(
    images: tuple[ImageSet, ImageSet],
) -> None:
    torch.manual_seed(1)
    first = [figures(outcome(small_net(width), images)) for width in (8, 12)]
    torch.manual_seed(2)
    trained_before = small_net(8)
    with torch.no_grad():
        for parameter in trained_before.parameters():
            parameter.fill_(0.3)
    second = [figures(outcome(net, images)) for net in (small_net(12), trained_before)]
    assert first == second[::-1]
    assert first[0] != first[1]


def test_another_seed_gives_another_result(images: tuple[ImageSet, ImageSet]) -> None:
    one = evaluate_proxy(small_net(), *images, SMALL, seed=3, device="cpu")
    two = evaluate_proxy(small_net(), *images, SMALL, seed=4, device="cpu")
    assert one.loss != two.loss


def test_the_best_epoch_counts_and_processor_time_is_told(
    images: tuple[ImageSet, ImageSet],
) -> None:
    result = outcome(small_net(), images)
    assert 0.3 < result.accuracy <= 1
    assert 0 < result.loss < math.log(10)
    assert 0 < result.cpu_s < 60
    assert (result.epochs, result.stopped_because) == (3, "all epochs")


@pytest.mark.parametrize(
    ("learning_rate", "rules", "epochs", "reason"),
    [
        (0.05, {"weak_accuracy": 0.999, "weak_epoch": 2}, 2, "too weak"),
        (0.05, {"overfit_ratio": 1e-3}, 1, "overfitted"),
        (1e-12, {"patience_epochs": 1}, 2, "no progress"),
        (1e30, {}, 1, "diverged"),
    ],
)
def test_each_stop_rule_ends_the_training(
    images: tuple[ImageSet, ImageSet],
    learning_rate: float,
    rules: dict[str, Any],
    epochs: int,
    reason: str,
) -> None:
    training = dataclasses.replace(SMALL.training, learning_rate=learning_rate)
    result = outcome(small_net(), images, dataclasses.replace(SMALL, training=training, **rules))
    assert (result.epochs, result.stopped_because) == (epochs, reason)


def test_a_candidate_that_diverges_scores_nothing(images: tuple[ImageSet, ImageSet]) -> None:
    training = dataclasses.replace(SMALL.training, learning_rate=1e30)
    result = outcome(small_net(), images, dataclasses.replace(SMALL, training=training))
    assert (result.accuracy, result.loss) == (0.0, math.inf)


def test_a_mastered_epoch_is_left_early(images: tuple[ImageSet, ImageSet]) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.steps = small_net(), 0

        def forward(self, x_NCHW: Tensor) -> Tensor:
            self.steps += self.training
            logits_NK: Tensor = self.net(x_NCHW)
            return logits_NK

    patient, hasty = Counting(), Counting()
    outcome(patient, images)
    outcome(hasty, images, dataclasses.replace(SMALL, mastered_accuracy=-0.1))
    assert (patient.steps, hasty.steps) == (3 * 7, 3)


def test_validation_images_are_held_back_from_the_training_set(
    fashion_mnist: ClassificationData,
) -> None:
    settings = dataclasses.replace(SMALL, with_replacement=True, train_per_class=100)
    training, validation = settings.draw(fashion_mnist, seed=0)
    assert training.labels.bincount().tolist() == [100] * 10
    assert validation.labels.bincount().tolist() == [20] * 10


def test_the_papers_settings_are_those_of_its_code() -> None:
    paper = ProxySettings.paper()
    assert (paper.train_per_class, paper.validation_per_class) == (500, 100)
    assert paper.with_replacement
    assert math.ceil(10 * paper.train_per_class / paper.training.batch_size) == 40
    assert {paper.training.learning_rate_at(p) for p in (0, 0.3, 0.9)} == {4e-3}


def test_the_quick_settings_rank_a_network_that_sees_above_one_that_hardly_does(
    fashion_mnist: ClassificationData,
) -> None:
    settings = dataclasses.replace(ProxySettings.quick(), train_per_class=100)
    images = settings.draw(fashion_mnist, seed=0)
    blind = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10))
    seeing, hardly = (outcome(net, images, settings) for net in (small_net(), blind))
    assert seeing.accuracy > hardly.accuracy + 0.2


@pytest.mark.parametrize(
    ("field", "value"),
    [("first_weights", "fan-out"), ("average", 0.9), ("norm_momentum", 0.01)],
)
def test_what_only_a_full_training_does_is_refused(field: str, value: Any) -> None:
    training = dataclasses.replace(SMALL.training, **{field: value})
    with pytest.raises(ValueError, match=f"{field} {value} is for full trainings"):
        dataclasses.replace(SMALL, training=training)
