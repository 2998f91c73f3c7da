"""Write a table as a lookup table of once-for-all: the layers that its kernels make up.

Source: once-for-all, ``ofa/utils/layers.py`` (``MBConvLayer``: what a block runs) and
``ofa/nas/efficiency_predictor/latency_lookup_table.py`` (``MBv3LatencyTable``: the layers' names);
``ofa.py`` has the format. Only layers whose name says exactly what runs are written: inverted
residual blocks, and of stem and head those that have h-swish in MobileNetV3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from latency_tables.errors import ExportImpossible
from latency_tables.kernel import Kernel, Shape, make_kernel
from latency_tables.table import LatencyTable

SQUEEZE = 4
"""A gate's hidden channels are so many times fewer, rounded to a multiple of 8."""


def write_ofa(table: LatencyTable) -> str:
    """The layers of once-for-all's MobileNetV3 that a table has all kernels of, as YAML.

    A layer's ``mean`` is its kernels' part in a prediction: ``scale`` times the sum of their
    medians and ``per_kernel_ms`` for each; without a calibration, the sum. What a run costs
    besides has no place in the format and stands in a comment.

    Raises:
        ExportImpossible: there is no such layer.
    """
    layers = {
        key: [table[kernel] for kernel in kernels]
        for key, kernels in sorted(_Layers(table).all(), key=itemgetter(0))
        if all(kernel in table for kernel in kernels)
    }
    if not layers:
        raise ExportImpossible(
            "the table has all kernels of none of once-for-all's layers (inverted residual "
            "blocks, h-swish convolutions, pooling, logits); export it as csv"
        )
    fit = table.calibration
    scale, per_kernel_ms, overhead_ms = (
        (fit.scale, fit.per_kernel_ms, fit.overhead_ms) if fit else (1.0, 0.0, 0.0)
    )
    lines = [
        f"# {table.target}",
        f"# ms, sums of medians; add {overhead_ms:.6f} ms for each network",
    ]
    for key, rows in layers.items():
        mean_ms = scale * sum(row.median_ms for row in rows) + per_kernel_ms * len(rows)
        count = min(row.samples for row in rows)
        lines += [f"{key}:", f"  count: {count}", f"  mean: {mean_ms:.9f}"]
    return "\n".join(lines) + "\n"


class _Conv(NamedTuple):
    """A convolution and the activation after it, fused or not.

    Attributes:
        kernels: one, or two where the activation is a kernel of its own.
        source: shape of its input.
        output: shape of its output.
        h_swish: whether that is the activation; ``None`` for none.
    """

    kernels: tuple[Kernel, ...]
    source: Shape
    output: Shape
    h_swish: bool | None


class _Layers:
    """Finds the layers that a table's kernels make up."""

    def __init__(self, table: LatencyTable) -> None:
        """Sort the table's kernels."""
        of_kind: dict[str, list[Kernel]] = defaultdict(list)
        for kernel in table:
            if kernel.dtype == "float32":
                of_kind[kernel.kind].append(kernel)
        self._depthwise = [one for kernel in of_kind["depthwise_conv2d"] for one in _convs(kernel)]
        self._convs = [one for kernel in of_kind["conv2d"] for one in _convs(kernel)]
        self._means, self._dense = of_kind["mean"], of_kind["fully_connected"]
        self._to: dict[Shape, list[_Conv]] = defaultdict(list)
        self._from: dict[Shape, list[_Conv]] = defaultdict(list)
        for one in self._convs:
            if _window(one) == (1, 1):
                self._to[one.output].append(one)
                self._from[one.source].append(one)

    def all(self) -> Iterator[tuple[str, tuple[Kernel, ...]]]:
        """Every layer and its kernels; the table need not have those of gates and additions."""
        yield from self._blocks()
        for conv in self._convs:
            if conv.h_swish and _window(conv) == (3, 2) and conv.source[-1] == 3:
                yield _key("Conv", conv.source, conv.output), conv.kernels
            if conv.h_swish and _window(conv) == (1, 1):
                yield _key("Conv_1", conv.source, conv.output), conv.kernels
        for kernel in self._means:
            channels = kernel.output[-1]
            yield _key("AvgPool2D", kernel.inputs[0], (1, 1, 1, channels)), (kernel,)
        for kernel in self._dense:
            if kernel.activation == "linear":
                flatten = make_kernel("flatten", kernel.inputs, kernel.inputs[0])
                image = (1, 1, 1, kernel.inputs[0][-1])
                yield _key("Logits", image, kernel.output), (flatten, kernel)

    def _blocks(self) -> Iterator[tuple[str, tuple[Kernel, ...]]]:
        for middle in self._depthwise:
            if middle.h_swish is None:
                continue
            for expand in (None, *self._to[middle.source]):
                if expand and not _expands(expand, middle):
                    continue
                for project in self._from[middle.output]:
                    if project.h_swish is None:
                        yield from _block(expand, middle, project)


def _expands(expand: _Conv, middle: _Conv) -> bool:
    """Whether it can come first in a block; of as many channels, once-for-all has none."""
    return expand.h_swish == middle.h_swish and expand.source[-1] != middle.source[-1]


def _block(
    expand: _Conv | None, middle: _Conv, project: _Conv
) -> Iterator[tuple[str, tuple[Kernel, ...]]]:
    """A block with and without a gate, with and without an addition where it can have one."""
    first = expand or middle
    kernel, stride = _window(middle)
    plain = (*(expand.kernels if expand else ()), *middle.kernels)
    for is_gated in (False, True):
        gate = _gate(middle.output) if is_gated else ()
        for skips in (False, True) if first.source == project.output else (False,):
            shape = project.output
            add = (make_kernel("add", (shape, shape), shape),) if skips else ()
            details = (
                f"-expand:{middle.output[-1]}-kernel:{kernel}-stride:{stride}"
                f"-idskip:{skips:d}-se:{is_gated:d}-hs:{middle.h_swish:d}"
            )
            key = _key("expanded_conv", first.source, shape) + details
            yield key, (*plain, *gate, *project.kernels, *add)


def _gate(shape: Shape) -> tuple[Kernel, ...]:
    """Squeeze-and-excite, as the runtime runs it on an NHWC shape."""
    channels = shape[-1]
    hidden = _divisible_by_8(channels // SQUEEZE)
    pooled, squeezed = (1, 1, 1, channels), (1, 1, 1, hidden)
    window = {"kernel": "1x1", "stride": "1x1", "padding": "same"}
    return (
        make_kernel("mean", (shape,), pooled, {"axes": "1x2"}),
        make_kernel("conv2d", (pooled,), squeezed, window, "relu"),
        make_kernel("conv2d", (squeezed,), pooled, window, "relu6"),
        make_kernel("scale", (pooled,), pooled, {"by": "1/6"}),
        make_kernel("multiply", (shape, pooled), shape),
    )


def _divisible_by_8(channels: int) -> int:
    """Once-for-all's ``make_divisible``."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _convs(kernel: Kernel) -> tuple[_Conv, ...]:
    """What a convolution can be: alone, or followed by h-swish if nothing is fused into it."""
    source, output = kernel.inputs[0], kernel.output
    if kernel.activation in ("relu", "relu6"):
        return (_Conv((kernel,), source, output, False),)
    if kernel.activation != "linear":
        return ()
    h_swish = make_kernel("hard_swish", (output,), output)
    return (
        _Conv((kernel,), source, output, None),
        _Conv((kernel, h_swish), source, output, True),
    )


def _window(conv: _Conv) -> tuple[int, int]:
    """Rows of the kernel, and stride."""
    return conv.kernels[0].pair("kernel")[0], conv.kernels[0].pair("stride")[0]


def _key(name: str, source: Shape, output: Shape) -> str:
    return f"{name}-input:{_text(source)}-output:{_text(output)}"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape[1:]))
