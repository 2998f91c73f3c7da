"""Where a convolution's or a pooling's window moves: ONNX's words in, TFLite's words out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latency_tables.kernel import Shape
from toolchain.export.lowering.edits.padding import Pads
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.layers import same_padding

ATTRIBUTES = frozenset({"auto_pad", "dilations", "kernel_shape", "pads", "strides"})
"""What ``read_window`` looks at."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window over the rows and columns of a feature map.

    Attributes:
        kernel: its rows and columns.
        stride: its steps.
        pads: rows and columns around the map that windows really touch: what ONNX states, less
            what lies behind the last window, plus what a rounded-up output size adds.
        is_same: whether these are the pads of TFLite's SAME.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads
    is_same: bool

    @property
    def is_padded_by_hand(self) -> bool:
        """Whether neither SAME nor VALID says where the windows lie."""
        return not self.is_same and any(self.pads)

    def attributes(self) -> dict[str, str]:
        """The window as attributes of a kernel."""
        padding = "valid" if not any(self.pads) else pads_text(self.pads)
        return {
            "kernel": "x".join(map(str, self.kernel)),
            "stride": "x".join(map(str, self.stride)),
            "padding": "same" if self.is_same else padding,
        }


def read_window(operation: Operation, source: Shape, output: Shape, kernel: Shape) -> Window:
    """The window of a Conv or MaxPool.

    Args:
        operation: the node.
        source: NCHW shape of what it reads.
        output: NCHW shape of what it computes.
        kernel: rows and columns of the window.

    Raises:
        ExportFailed: it is dilated, not of two dimensions, or padded in a way that is not known.
    """
    attributes = operation.attributes
    if len(source) != 4 or len(kernel) != 2:
        raise unsupported(operation, f"it slides over shape {source}", "use 2-D convolutions")
    if any(step != 1 for step in attributes.get("dilations", ())):
        raise unsupported(
            operation, f"dilations={attributes['dilations']}", "use an undilated window"
        )
    rows, columns = attributes.get("strides", (1, 1))
    before = _pads_before(operation, source, kernel, (rows, columns))
    top, bottom = _touched(before[0], source[2], output[2], kernel[0], rows)
    left, right = _touched(before[1], source[3], output[3], kernel[1], columns)
    # TFLite derives the output's size from SAME, so that this must agree as well as the pads.
    is_same = (
        (top, bottom) == same_padding(source[2], kernel[0], rows)
        and (left, right) == same_padding(source[3], kernel[1], columns)
        and output[2:] == (math.ceil(source[2] / rows), math.ceil(source[3] / columns))
    )
    return Window(
        kernel=(kernel[0], kernel[1]),
        stride=(rows, columns),
        pads=(top, left, bottom, right),
        is_same=is_same,
    )


def pads_text(pads: Pads) -> str:
    """Pads as a kernel's attribute: top x bottom x left x right."""
    top, left, bottom, right = pads
    return f"{top}x{bottom}x{left}x{right}"


def _pads_before(
    operation: Operation, source: Shape, kernel: Shape, stride: tuple[int, int]
) -> tuple[int, int]:
    """Rows above and columns left of the map."""
    match operation.attributes.get("auto_pad", "NOTSET"):
        case "NOTSET":
            top, left, *_ = operation.attributes.get("pads", (0, 0, 0, 0))
            return top, left
        case "VALID":
            return 0, 0
        case "SAME_UPPER":
            rows = same_padding(source[2], kernel[0], stride[0])
            columns = same_padding(source[3], kernel[1], stride[1])
            return rows[0], columns[0]
        case other:
            raise unsupported(operation, f"auto_pad={other}", "state pads, or use SAME_UPPER")


def _touched(before: int, size: int, output: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after one dimension that its windows reach."""
    return before, max((output - 1) * stride + kernel - size - before, 0)
