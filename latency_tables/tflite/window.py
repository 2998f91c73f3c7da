"""Where the window of a convolution or pooling moves, as a kernel's attributes tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from latency_tables.kernel import Shape

_SAME = 0
"""``Padding.SAME`` of TFLite's schema."""

Pads = tuple[int, int, int, int]
"""Rows above and below, columns left and right."""


class Window(NamedTuple):
    """A window.

    Attributes:
        kernel: rows and columns.
        stride: rows and columns.
        dilation: rows and columns.
        is_same: whether TFLite pads as SAME says.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    is_same: bool

    def attributes(self, source: Shape, output: Shape, zeros: Pads) -> dict[str, str]:
        """The window as attributes of a kernel that reads this NHWC shape.

        Padding is told by what it comes to: ``same`` where the zeros are those of SAME, however
        the file states them, else ``valid`` where there are none, else their numbers.

        Args:
            source: what the kernel reads, without zeros.
            output: what it computes.
            zeros: what a PAD before it put around its input.
        """
        found = {"kernel": _pair(self.kernel), "stride": _pair(self.stride)}
        if self.dilation != (1, 1):
            found["dilation"] = _pair(self.dilation)
        return {**found, "padding": self._padding(source, output, zeros)}

    def own_zeros(self, zeros: Pads) -> Pads:
        """These zeros and, with a stride of 1, those that SAME adds: top, bottom, left, right."""
        rows, columns = (
            step * (size - 1) for step, size in zip(self.dilation, self.kernel, strict=True)
        )
        top, bottom, left, right = zeros
        return (
            top + rows // 2,
            bottom + rows - rows // 2,
            left + columns // 2,
            right + columns - columns // 2,
        )

    def _padding(self, source: Shape, output: Shape, zeros: Pads) -> str:
        if self.is_same:
            return "same"
        pads: list[int] = []
        is_same = True
        for axis in range(2):
            size, made = source[1 + axis], output[1 + axis]
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            before = zeros[2 * axis]
            touched = max((made - 1) * self.stride[axis] + reach - size - before, 0)
            pads += [before, touched]
            total = max(
                (math.ceil(size / self.stride[axis]) - 1) * self.stride[axis] + reach - size, 0
            )
            is_same = is_same and (before, touched) == (total // 2, total - total // 2)
            is_same = is_same and made == math.ceil(size / self.stride[axis])
        if is_same:
            return "same"
        return "x".join(map(str, pads)) if any(pads) else "valid"


def read_window(options: Mapping[str, object], kernel: tuple[int, int]) -> Window:
    """The window that an operator's options tell."""

    def pair(prefix: str, suffix: str = "") -> tuple[int, int]:
        rows, columns = (options.get(f"{prefix}{axis}{suffix}", 1) for axis in "HW")
        return int(str(rows)), int(str(columns))

    dilation = pair("dilation", "Factor")
    return Window(kernel, pair("stride"), dilation, options.get("padding", _SAME) == _SAME)


def _pair(values: tuple[int, int]) -> str:
    return f"{values[0]}x{values[1]}"
