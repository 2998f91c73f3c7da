from __future__ import annotations

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.tasks.classification import ClassificationData, ImageSet, assemble

PER_CLASS = 20


def numbered(first: int, per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey images of two classes, each filled with a number of its own."""
    count = 2 * per_class
    images = torch.arange(first, first + count).byte().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return images.contiguous(), torch.arange(count) % 2


@pytest.fixture
def data() -> ClassificationData:
    return assemble(
        "numbers",
        train=numbered(0, PER_CLASS),
        test=numbered(100, 5),
        classes=("even", "odd"),
    )


def numbers(images: ImageSet) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_split_covers_the_training_set_without_sharing_and_spares_the_test_set(
    data: ClassificationData,
) -> None:
    training, validation = data.split(validation_per_class=5, seed=0)
    assert sorted(numbers(training) + numbers(validation)) == list(range(2 * PER_CLASS))
    assert validation.labels.bincount().tolist() == [5, 5]
    assert all(n % 2 == label for n, label in zip(numbers(training), training.labels, strict=True))


def test_validation_images_depend_on_the_seed_but_not_on_the_training_draw(
    data: ClassificationData,
) -> None:
    _, few = data.split(validation_per_class=5, train_per_class=3, seed=0)
    _, many = data.split(validation_per_class=5, train_per_class=12, seed=0)
    _, other = data.split(validation_per_class=5, train_per_class=12, seed=1)
    assert numbers(few) == numbers(many)
    assert numbers(many) != numbers(other)


def test_draws_repeat_images_only_with_replacement(data: ClassificationData) -> None:
    distinct, _ = data.split(validation_per_class=5, train_per_class=15, seed=0)
    assert len(set(numbers(distinct))) == len(distinct) == 30
    drawn, validation = data.split(
        validation_per_class=5, train_per_class=40, with_replacement=True, seed=0
    )
    assert drawn.labels.bincount().tolist() == [40, 40]
    assert not set(numbers(drawn)) & set(numbers(validation))


def test_asking_for_more_images_than_a_class_has_names_the_class(
    data: ClassificationData,
) -> None:
    with pytest.raises(DataUnusable, match="class 'even' of numbers has 20 training images"):
        data.split(validation_per_class=10, train_per_class=11, seed=0)
    with pytest.raises(DataUnusable, match="'even'"):
        data.split(validation_per_class=20, seed=0)


def test_mean_and_deviation_are_those_of_the_training_pixels() -> None:
    images = torch.randint(256, (50, 3, 6, 5), dtype=torch.uint8)
    labels = torch.zeros(50, dtype=torch.int64)
    data = assemble("noise", train=(images, labels), test=(images[:1], labels[:1]), classes=("a",))
    pixels = images.double() / 255
    assert data.train.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    assert data.train.std == pytest.approx(pixels.std(dim=(0, 2, 3), unbiased=False).tolist())
    assert data.test.mean == data.train.mean
    assert data.input_shape == (3, 6, 5)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long(), "must be uint8"),
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), "shape NCHW"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(3).long(), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2).long(), "3 channels"),
    ],
)
def test_tensors_that_are_no_labelled_images_are_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSet(images=images, labels=labels, mean=(0.0,), std=(1.0,))
