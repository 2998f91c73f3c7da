from __future__ import annotations

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.tasks.segmentation import (
    IGNORE,
    MaskedImages,
    SegmentationData,
    assemble_segmentation,
)

CLASSES = ("sky", "road")
COLORS = ((0, 0, 255), (90, 90, 90))


def numbered(count: int, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and masks; the first pixel is the number of the image."""
    images = torch.randint(256, (count, 3, 4, 6), dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(first, first + count)
    return images, torch.randint(2, (count, 4, 6), dtype=torch.uint8)


def data(*, has_validation: bool = True) -> SegmentationData:
    return assemble_segmentation(
        "streets",
        train=numbered(20),
        validation=numbered(5, 100) if has_validation else None,
        test=numbered(5, 200),
        classes=CLASSES,
        colors=COLORS,
    )


def numbers(images: MaskedImages) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_the_data_sets_own_validation_images_are_taken_unless_some_are_to_be_drawn() -> None:
    training, validation = data().split(seed=0)
    assert sorted(numbers(training)) == list(range(20))
    assert numbers(validation) == list(range(100, 105))
    training, validation = data().split(validation=6, train=10, seed=0)
    assert (len(training), len(validation)) == (10, 6)
    assert set(numbers(training)) | set(numbers(validation)) <= set(range(20))
    assert not set(numbers(training)) & set(numbers(validation))


def test_validation_images_depend_on_the_seed_and_not_on_how_many_are_trained_on() -> None:
    one = data()
    _, few = one.split(validation=6, train=3, seed=1)
    _, many = one.split(validation=6, seed=1)
    _, other = one.split(validation=6, seed=2)
    assert numbers(few) == numbers(many) != numbers(other)


def test_asking_for_too_many_images_or_for_a_missing_split_says_what_there_is() -> None:
    with pytest.raises(DataUnusable, match="streets has 20 training images; 15 for validation"):
        data().split(validation=15, train=6, seed=0)
    with pytest.raises(DataUnusable, match="no validation images of its own: say how many of its"):
        data(has_validation=False).split(seed=0)


def test_masks_stay_with_their_images() -> None:
    one = data()
    drawn, _ = one.split(validation=3, seed=5)
    for image, mask in zip(drawn.images, drawn.masks, strict=True):
        assert (mask == one.train.masks[int(image[0, 0, 0])]).all()


def test_statistics_are_those_of_training_images_and_classes_are_counted_without_ignored() -> None:
    one = data()
    pixels = one.train.images.double() / 255
    assert one.test.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    assert one.input_shape == (3, 4, 6)
    masks = torch.tensor([[[0, 1, 1], [IGNORE, 1, 0]]], dtype=torch.uint8)
    images = MaskedImages(
        images=torch.zeros(1, 1, 2, 3, dtype=torch.uint8), masks=masks, mean=(0.0,), std=(1.0,)
    )
    assert images.class_pixels(3).tolist() == [2, 3, 0]


def test_masks_without_any_label_are_refused() -> None:
    images, masks = numbered(2)
    with pytest.raises(DataUnusable, match="no pixel of the 2 test images of streets has a label"):
        assemble_segmentation(
            "streets",
            train=(images, masks),
            validation=None,
            test=(images, torch.full_like(masks, IGNORE)),
            classes=CLASSES,
            colors=COLORS,
        )


def test_a_single_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ValueError, match="1 classes; there must be 2"):
        assemble_segmentation(
            "sky",
            train=numbered(2),
            validation=None,
            test=numbered(2),
            classes=CLASSES[:1],
            colors=COLORS[:1],
        )


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).byte(), "must be uint8 of shape NCHW"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 4, 5).byte(), r"of shape \(2, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 4, 4).long(), "masks must be uint8"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2, 4, 4).byte(), "1 channels need as many"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(
    images: torch.Tensor, masks: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedImages(images=images, masks=masks, mean=(0.5,) * 3, std=(1.0,) * 3)
