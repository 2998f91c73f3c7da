"""From the values in the files of a data set's masks to labels.

Shapes: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolchain.errors import DataUnusable
from toolchain.tasks.image_file import opened
from toolchain.tasks.segmentation import IGNORE, Color

Mask = np.ndarray[Any, np.dtype[np.uint8]]

_UNKNOWN = 254
_ID_MODES = frozenset({"L", "P", "1"})
_COLOR_MODES = frozenset({"RGB", "RGBA"})


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """What the values in mask files mean.

    Attributes:
        ids: Label of each value of a grey or palette mask, an index of a class or IGNORE.
        colors: Label of each color of an RGB mask, likewise; empty if such masks are foreign
            to the data set.
    """

    ids: Mapping[int, int]
    colors: Mapping[Color, int] = field(default_factory=dict)

    def read(self, file: Path, size_HW: tuple[int, int] | None = None) -> Mask:
        """Read a mask file.

        Args:
            file: A PNG, so that no label is blurred into another.
            size_HW: Rows and columns to resize it to, each pixel taking the nearest label.

        Returns:
            Labels of shape HW.

        Raises:
            DataUnusable: The file is missing or no mask, or it has a value of no meaning.
        """
        with opened(file) as image:
            image.load()
            has_ids = image.mode in _ID_MODES
            if not has_ids and not (image.mode in _COLOR_MODES and self.colors):
                wanted = "label ids or colors" if self.colors else "label ids"
                raise DataUnusable(
                    f"{file} is an image of mode {image.mode}, not a mask of 8-bit {wanted}"
                )
            if size_HW is not None:
                image = image.resize(size_HW[::-1], Image.Resampling.NEAREST)
            if has_ids:
                return self._from_ids(np.asarray(image, dtype=np.uint8), file)
            return self._from_colors(np.asarray(image.convert("RGB")), file)

    def _from_ids(self, ids_HW: Mask, file: Path) -> Mask:
        table = np.full(256, _UNKNOWN, dtype=np.uint8)
        table[list(self.ids)] = list(self.ids.values())
        labels_HW: Mask = table[ids_HW]
        if (unknown := labels_HW == _UNKNOWN).any():
            found = sorted(set(ids_HW[unknown].tolist()))
            raise DataUnusable(
                f"{file} has {_list(found)} where label ids are {_list(sorted(self.ids))}: "
                "is this a mask of another data set?"
            )
        return labels_HW

    def _from_colors(self, colors_HW3: Mask, file: Path) -> Mask:
        codes_HW = colors_HW3.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        known = sorted((_code(color), label) for color, label in self.colors.items())
        codes, labels = np.array(known, dtype=np.int64).T
        place_HW = np.searchsorted(codes, codes_HW).clip(max=len(codes) - 1)
        if (unknown := codes[place_HW] != codes_HW).any():
            row, column = np.argwhere(unknown)[0]
            raise DataUnusable(
                f"{file} has the color {tuple(colors_HW3[row, column].tolist())} at row {row}, "
                f"column {column}, which stands for no class: was it saved as JPEG or smoothed?"
            )
        labels_HW: Mask = labels.astype(np.uint8)[place_HW]
        return labels_HW


def _code(color: Color) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue


def _list(values: list[int]) -> str:
    """Ascending numbers, runs of them shortened: ``0-11, 255``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return ", ".join("-".join(map(str, run)) for run in runs)


def class_ids(classes: int) -> dict[int, int]:
    """Map the id of each class to itself, and IGNORE to itself."""
    return {**{label: label for label in range(classes)}, IGNORE: IGNORE}
