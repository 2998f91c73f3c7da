"""Images and masks in files: found in pairs, read into tensors.

Shapes: N images, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.decoded import decoded
from toolchain.tasks.image_file import opened
from toolchain.tasks.label_map import LabelMap

# Raise when the decoded pixels of the same files would differ: the cache is keyed by it.
# 1: first version.
DECODING_VERSION = 1


class MaskedFile(NamedTuple):
    """An image file and the file of its mask."""

    image: Path
    mask: Path


def paired(images: Sequence[Path], masks: dict[str, Path], where: Path) -> list[MaskedFile]:
    """Give each image its mask.

    Args:
        images: Files, in the order of the result.
        masks: Mask of each image, by the name of the image's file without its suffix.
        where: Folder of the images, for the message.

    Raises:
        DataUnusable: There is no image, or one has no mask.
    """
    if not images:
        raise DataUnusable(f"{where} has no images: expected *.jpg or *.png files")
    missing = [image for image in images if image.stem not in masks]
    if missing:
        raise DataUnusable(
            f"{len(missing)} of {len(images)} images in {where} have no mask, first "
            f"{missing[0].name}: add the masks or remove the images"
        )
    return [MaskedFile(image, masks[image.stem]) for image in images]


def read_masked(
    parts: Sequence[Sequence[MaskedFile]],
    labels: LabelMap,
    size_HW: tuple[int, int] | None,
    root: Path,
) -> list[tuple[Tensor, Tensor]]:
    """Read images (RGB, uint8, N3HW) and masks (uint8, NHW) of each part of a data set.

    Args:
        parts: The files, such as those of training, validation and test.
        labels: What the values of the masks mean.
        size_HW: Rows and columns that all are resized to, ignoring their aspect: images
            smoothly, masks by the nearest pixel. May be None when all have one size.
        root: Folder that holds all files.

    Raises:
        DataUnusable: A file cannot be read, a mask and its image differ in size, images differ
            in size although no size is given, or a mask has values of no meaning.
    """
    files = [file for part in parts for file in part]
    how = [
        "masks",
        DECODING_VERSION,
        size_HW,
        sorted(labels.ids.items()),
        sorted(labels.colors.items()),
    ]
    each = [path for file in files for path in file]
    kept = decoded(each, root, how, lambda: _decode(files, labels, size_HW))
    ends = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return list(
        zip(kept["images"].tensor_split(ends), kept["masks"].tensor_split(ends), strict=True)
    )


def _decode(
    files: Sequence[MaskedFile], labels: LabelMap, size_HW: tuple[int, int] | None
) -> dict[str, Tensor]:
    rows, columns = size_HW or _size(files[0].image)
    images_NHW3 = np.empty((len(files), rows, columns, 3), dtype=np.uint8)
    masks_NHW = np.empty((len(files), rows, columns), dtype=np.uint8)
    for index, file in enumerate(files):
        with opened(file.image) as image:
            fitted = image.convert("RGB")
        own_HW, mask_HW = (fitted.height, fitted.width), _size(file.mask)
        if mask_HW != own_HW:
            raise DataUnusable(
                f"{file.mask} is {mask_HW[1]}x{mask_HW[0]} but {file.image} is "
                f"{own_HW[1]}x{own_HW[0]}: a mask must have the size of its image"
            )
        if size_HW is not None:
            fitted = fitted.resize((columns, rows), Image.Resampling.BILINEAR)
        elif own_HW != (rows, columns):
            raise DataUnusable(
                f"{file.image} is {own_HW[1]}x{own_HW[0]} but {files[0].image} is "
                f"{columns}x{rows}: choose the image size that all are resized to"
            )
        images_NHW3[index] = np.asarray(fitted)
        masks_NHW[index] = labels.read(file.mask, size_HW)
    images_N3HW = torch.from_numpy(images_NHW3).permute(0, 3, 1, 2).contiguous()
    return {"images": images_N3HW, "masks": torch.from_numpy(masks_NHW)}


def _size(file: Path) -> tuple[int, int]:
    """Rows and columns of an image."""
    with opened(file) as image:
        return image.height, image.width
