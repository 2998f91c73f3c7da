"""Images of one's own: `train/<class>/*.jpg` and `test/<class>/*.jpg`, or an archive of those.

`val/` serves as the test set when there is no `test/`. Images are JPEG or PNG, grey or RGB, and
are kept decoded in the cache: decoding 60,000 files takes the better part of a minute. They are
all held in memory, a byte for each pixel and channel, and while they are split a second time:
50,000 images of 224x224 take 7.5 GB, all of ImageNet 193 GB. A set that is larger than the memory
of the machine is refused.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.archive import extracted
from toolchain.tasks.classification import ClassificationData, assemble
from toolchain.tasks.decoded import decoded
from toolchain.tasks.image_file import IMAGE_SUFFIXES, opened

GREY_MODES = frozenset({"1", "L", "LA"})
# Raise when the decoded pixels of the same files would differ: the cache is keyed by it.
# 1: first version.
DECODING_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """Image files of one part of the data set, sorted by class and name, with their labels."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def load_image_folder(path: Path, image_size: int | None = None) -> ClassificationData:
    """Load a folder (or a tar archive of one) of images sorted into classes by sub-folder.

    Args:
        path: Folder that holds `train/` and `test/` or `val/`, directly or one folder down;
            or a tar archive of such a folder, compressed or not.
        image_size: Rows and columns that every image is resized to, ignoring its aspect; may
            be None when all images have one size.

    Raises:
        DataUnusable: Something is missing, broken, or not laid out like that.
    """
    root = _layout_root(path if not path.is_file() else extracted(path))
    train = _listing(root / "train")
    test_folder = root / "test" if (root / "test").is_dir() else root / "val"
    if not test_folder.is_dir():
        raise DataUnusable(
            f"{root} has neither test/ nor val/: set some images of each class aside"
        )
    test = _listing(test_folder)
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataUnusable(
            f"{train.files[0].parents[1]} and {test_folder} hold different classes: "
            f"{', '.join(differing)} in only one of them"
        )
    if len(train.classes) < 2:
        raise DataUnusable(
            f"{root / 'train'} has the one class {train.classes[0]!r}: a classifier needs two"
        )
    files = (*train.files, *test.files)
    kept = decoded(files, root, [DECODING_VERSION, image_size], lambda: _decode(files, image_size))
    train_NCHW, test_NCHW = kept["pixels"].tensor_split([len(train.files)])
    return assemble(
        path.name.split(".")[0],
        train=(train_NCHW, torch.tensor(train.labels)),
        test=(test_NCHW, torch.tensor(test.labels)),
        classes=train.classes,
    )


def _layout_root(path: Path) -> Path:
    """The folder that holds `train/`: `path` or its only sub-folder that does."""
    if not path.exists():
        raise DataUnusable(f"{path} does not exist: give a folder that holds train/ and test/")
    candidates = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    roots = [folder for folder in candidates if (folder / "train").is_dir()]
    if not roots:
        raise DataUnusable(f"{path} has no train/ folder: expected train/<class>/*.jpg or *.png")
    return roots[0]


def _listing(folder: Path) -> _Listing:
    files: list[Path] = []
    labels: list[int] = []
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise DataUnusable(
            f"{folder} has no class folders: expected {folder}/<class>/*.jpg or *.png"
        )
    for label, name in enumerate(classes):
        found = sorted(
            file for file in (folder / name).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES
        )
        if not found:
            raise DataUnusable(f"{folder / name} has no images: expected *.jpg or *.png files")
        files += found
        labels += [label] * len(found)
    return _Listing(files=tuple(files), labels=tuple(labels), classes=tuple(classes))


def _decode(files: Sequence[Path], image_size: int | None) -> dict[str, Tensor]:
    mode, (columns, rows) = _common_format(files)
    if image_size is not None:
        columns = rows = image_size
    channels = 1 if mode == "L" else 3
    require_memory(len(files), (channels, rows, columns), _memory_bytes())
    pixels_NCHW = np.empty((len(files), channels, rows, columns), dtype=np.uint8)
    for index, file in enumerate(files):
        with opened(file) as image:
            fitted = image.convert(mode)
            if image_size is not None:
                fitted = fitted.resize((columns, rows), Image.Resampling.BILINEAR)
            elif fitted.size != (columns, rows):
                raise DataUnusable(
                    f"{file} is {fitted.width}x{fitted.height} but {files[0]} is "
                    f"{columns}x{rows}: choose the image size that all are resized to"
                )
            pixels_NCHW[index] = np.asarray(fitted).reshape(rows, columns, -1).transpose(2, 0, 1)
    return {"pixels": torch.from_numpy(pixels_NCHW)}


def require_memory(images: int, shape: tuple[int, int, int], memory_bytes: int) -> None:
    """Refuse images that cannot be held.

    Args:
        images: How many.
        shape: CHW of each.
        memory_bytes: What there is.

    Raises:
        DataUnusable: Their pixels take more.
    """
    needed_bytes = images * math.prod(shape)
    if needed_bytes > memory_bytes:
        size = "x".join(map(str, shape))
        raise DataUnusable(
            f"{images:,} images of {size} take {needed_bytes / 1e9:.1f} GB of memory, and this "
            f"machine has {memory_bytes / 1e9:.1f}: choose a smaller image size or fewer images"
        )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _common_format(files: Sequence[Path]) -> tuple[str, tuple[int, int]]:
    """Grey if every image is grey, else RGB; and the size of the first image, width first."""
    modes: set[str] = set()
    size = (0, 0)
    for file in reversed(files):
        with opened(file) as image:
            if image.mode[0] in "IF":
                raise DataUnusable(f"{file} has more than 8 bits a channel: convert it to 8 bits")
            modes.add(image.mode)
            size = image.size
    return ("L" if modes <= GREY_MODES else "RGB"), size
