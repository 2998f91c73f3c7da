from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.errors import TrainingDiverged
from toolchain.tasks.classification import ImageSet
from toolchain.train.epoch import Step, crop_and_flip, evaluate, train_epoch
from toolchain.train.recipe import TrainSettings, build_optimizer, initialize


def images(count: int = 40, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(
        images=torch.randint(256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8),
        labels=torch.randint(3, (count,), generator=generator),
        mean=(0.5,),
        std=(0.25,),
    )


class Listener(nn.Module):
    """A linear classifier that keeps the batches it was given."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(64, 3)
        self.heard: list[Tensor] = []

    def forward(self, x_NCHW: Tensor) -> Tensor:
        self.heard.append(x_NCHW)
        logits_NK: Tensor = self.linear(self.dropout(x_NCHW.flatten(1)))
        return logits_NK


def run_epoch(
    module: nn.Module, settings: TrainSettings, *, seed: int = 0, epoch: int = 0, count: int = 40
) -> list[Step]:
    optimizer = build_optimizer(module, settings)
    return list(train_epoch(module, optimizer, images(count), settings, seed=seed, epoch=epoch))


PLAIN = TrainSettings(epochs=2, batch_size=8, augment="none", learning_rate=0.01)
AUGMENTED = TrainSettings(epochs=2, batch_size=8, augment="crop-flip", learning_rate=0.01)


@pytest.mark.parametrize("settings", [PLAIN, AUGMENTED])
def test_the_order_and_augmentation_of_images_depend_on_seed_and_epoch_alone(
    settings: TrainSettings,
) -> None:
    first, dropping, later, other = Listener(), Listener(0.5), Listener(), Listener()
    run_epoch(first, settings)
    torch.manual_seed(99)
    run_epoch(dropping, settings)
    run_epoch(later, settings, epoch=1)
    run_epoch(other, settings, seed=1)
    assert torch.equal(torch.cat(first.heard), torch.cat(dropping.heard))
    assert not torch.equal(torch.cat(first.heard), torch.cat(later.heard))
    assert not torch.equal(torch.cat(first.heard), torch.cat(other.heard))


def test_dropout_repeats_under_the_same_seed_and_leaves_the_random_state_alone() -> None:
    weights = []
    for global_seed in (1, 2):
        module = Listener(0.5)
        initialize(module, seed=0)
        torch.manual_seed(global_seed)
        expected = torch.rand(1)
        torch.manual_seed(global_seed)
        run_epoch(module, PLAIN)
        assert torch.equal(torch.rand(1), expected)
        weights.append(module.linear.weight.detach().clone())
    assert torch.equal(*weights)


def test_an_epoch_shows_every_image_once_normalised() -> None:
    module = Listener()
    run_epoch(module, PLAIN)
    heard = torch.cat(module.heard).flatten(1)
    expected = (images().images.float().flatten(1) / 255 - 0.5) / 0.25
    assert torch.allclose(heard.sort(dim=0).values, expected.sort(dim=0).values, atol=1e-5)


def test_steps_tell_loss_accuracy_and_rate_before_the_update() -> None:
    module = Listener()
    initialize(module, seed=0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    steps = run_epoch(module, PLAIN)
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert {step.steps for step in steps} == {5}
    assert steps[0].learning_rate == PLAIN.learning_rate_at(0)
    assert steps[3].learning_rate == pytest.approx(PLAIN.learning_rate_at(0.3))
    fresh = Listener()
    fresh.load_state_dict(before)
    x_NCHW = module.heard[0]
    logits_NK, labels_N = fresh(x_NCHW), labels_of(x_NCHW)
    assert steps[0].loss == pytest.approx(F.cross_entropy(logits_NK, labels_N).item(), rel=1e-5)
    right = (logits_NK.argmax(dim=1) == labels_N).float().mean().item()
    assert steps[0].accuracy == pytest.approx(right)


def labels_of(x_NCHW: Tensor) -> Tensor:
    """Labels of normalised images, found by their pixels."""
    whole = images()
    pixels = ((x_NCHW * 0.25 + 0.5) * 255).round().byte()
    matches = (pixels[:, None] == whole.images[None]).all(dim=(2, 3, 4))
    return whole.labels[matches.int().argmax(dim=1)]


def test_a_last_batch_of_one_image_is_left_out() -> None:
    assert [step.images for step in run_epoch(Listener(), PLAIN, count=17)] == [8, 8]
    assert [step.images for step in run_epoch(Listener(), PLAIN, count=18)] == [8, 8, 2]


def test_a_loss_that_is_no_number_names_epoch_step_rate_and_remedy() -> None:
    module = Listener()
    with torch.no_grad():
        module.linear.weight[0, 0] = math.nan
    with pytest.raises(
        TrainingDiverged,
        match=r"became nan in epoch 2, step 1, at learning rate .*: train with a lower",
    ):
        run_epoch(module, PLAIN, epoch=1)


def test_crop_and_flip_moves_each_image_by_at_most_an_eighth() -> None:
    originals = torch.randint(1, 256, (64, 2, 16, 8), dtype=torch.uint8)
    moved = crop_and_flip(originals, torch.Generator().manual_seed(0))
    seen = set()
    for original, result in zip(originals, moved, strict=True):
        matches = [
            (is_flipped, top, left)
            for is_flipped in (False, True)
            for top in range(5)
            for left in range(3)
            if torch.equal(shifted(original, is_flipped, top, left), result)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 20


def shifted(image_CHW: Tensor, is_flipped: bool, top: int, left: int) -> Tensor:
    window = F.pad(image_CHW, (1, 1, 2, 2))[:, top : top + 16, left : left + 8]
    return window.flip(2) if is_flipped else window


def test_evaluation_counts_every_image_and_leaves_the_mode_alone() -> None:
    module = Listener(0.5).train()
    whole = images(count=300)
    result = evaluate(module, whole)
    assert module.training
    module.eval()
    logits_NK = module((whole.images.float() / 255 - 0.5) / 0.25)
    right = (logits_NK.argmax(1) == whole.labels).float().mean().item()
    assert result.accuracy == pytest.approx(right)
    assert result.loss == pytest.approx(F.cross_entropy(logits_NK, whole.labels).item(), rel=1e-5)
