from __future__ import annotations

import pytest
import torch

from toolchain.train.photo_augmentation import (
    LEAST_AREA,
    augment_photos,
    cropped,
    erased,
    recoloured,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_shape_and_type_and_follow_the_seed(channels: int) -> None:
    images = torch.randint(256, (16, channels, 20, 28), generator=generator(), dtype=torch.uint8)
    one = augment_photos(images, generator(1))
    assert (one.shape, one.dtype) == (images.shape, torch.uint8)
    assert torch.equal(one, augment_photos(images, generator(1)))
    assert not torch.equal(one, augment_photos(images, generator(2)))


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_is_a_part_of_the_image_at_an_aspect_near_its_own(seed: int) -> None:
    """Of pictures that hold their own coordinates."""
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    picture = torch.stack([(rows + 0.5) / 60, (columns + 0.5) / 80])
    parts = cropped(picture.expand(64, 2, 60, 80), generator(seed))
    assert parts.min() > -0.01
    assert parts.max() < 1.01
    down = (parts[:, 0, -5, 40] - parts[:, 0, 5, 40]) * 60 / 50
    across = (parts[:, 1, 30, -5] - parts[:, 1, 30, 5]) * 80 / 70
    is_mirrored = across < 0
    assert 0.25 < is_mirrored.float().mean() < 0.75
    area = down * across.abs()
    assert area.min() > LEAST_AREA - 0.1
    assert area.max() < 1.02
    assert area.std() > 0.03


def test_colours_leave_grey_grey_and_move_the_rest() -> None:
    grey = torch.full((32, 3, 6, 6), 0.5)
    out = recoloured(grey, generator())
    torch.testing.assert_close(out[:, 0], out[:, 1], atol=2e-3, rtol=0)
    torch.testing.assert_close(out[:, 0], out[:, 2], atol=2e-3, rtol=0)
    shift = out[:, 0, 0, 0] - 0.5
    assert shift.abs().max() <= 0.4 + 2e-3
    assert shift.std() > 0.1
    red = torch.zeros(32, 3, 6, 6)
    red[:, 0] = 0.6
    out = recoloured(red, generator())
    assert (out[:, 0] - out[:, 1]).std() > 0.03


def test_half_of_the_images_get_one_hole_within_its_range() -> None:
    images = torch.full((400, 1, 40, 40), 2.0)
    out = erased(images, generator())
    hole = (out != 2.0)[:, 0]
    share = hole.float().mean((1, 2))
    is_erased = share > 0
    assert 0.42 < is_erased.float().mean() < 0.58
    assert share[is_erased].min() > 0.01
    assert share[is_erased].max() < 0.45
    for mask in hole[is_erased][:40]:
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows[:, None] & columns[None, :])
