"""Which training images are set aside for choosing, where images are not sorted by class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import DataUnusable


def drawn_split(
    name: str,
    images: int,
    has_validation: bool,
    validation: int | None,
    train: int | None,
    seed: int,
) -> tuple[Tensor, Tensor | None]:
    """Draw the numbers of training and of validation images; the two share none.

    The validation images depend on `seed` and `validation` alone.

    Args:
        name: What the data set is called, for messages.
        images: Training images there are.
        has_validation: Whether the data set brings validation images of its own.
        validation: Images to set aside; None takes the data set's own instead.
        train: Images to train on; all that remain when None.
        seed: Chooses the draw.

    Returns:
        Indices of training images and of validation images, int64; None for the latter stands
        for the data set's own.

    Raises:
        DataUnusable: There are fewer images than are asked for, or the data set has no
            validation images of its own.
    """
    if validation is None and not has_validation:
        raise DataUnusable(
            f"{name} has no validation images of its own: say how many of its {images} training "
            "images to set aside"
        )
    aside, least = validation or 0, 1 if train is None else train
    if images < aside + least:
        raise DataUnusable(
            f"{name} has {images} training images; {aside} for validation and {least} or more "
            "for training were asked for: ask for fewer, or add images"
        )
    order_N = torch.from_numpy(np.random.default_rng(seed).permutation(images))
    return order_N[aside:][:train], None if validation is None else order_N[:aside]
