"""The kernels of a network in another element type: what a search sees of a quantized network.

A network that is quantized after training runs the same operators in int8, one after the other,
and two more at its ends: ``quantize`` of its input, ``dequantize`` of its output. What differs is
told by `as_int8`. One thing the kernels do not tell: where a value that several concats join is
brought to another scale, the quantizer puts a ``quantize`` from int8 to int8. The file tells, and
probes are taken apart as their files are; of a candidate these kernels are left out, and the
networks measured end to end make up for them (`posterior.py`).

As litert-quantizer 0.11 and XNNPACK under LiteRT 2.3 do it; tests compare with what ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from latency_tables.kernel import Kernel, Shape, make_kernel

FLOAT32, INT8 = "float32", "int8"

PRECISIONS = (FLOAT32, INT8)
"""Element types that networks of a space are written in. A phone may compute one of floats in
float16: that is its target's precision, and the kernels are the same."""

INT8_KINDS = frozenset(
    {
        "add", "clamp", "concat", "conv2d", "conv_transpose2d", "depthwise_conv2d", "flatten",
        "fully_connected", "hard_swish", "max_pool2d", "mean", "multiply", "pad", "repeat",
        "reshape", "resize_bilinear", "scale", "sigmoid",
    }
)  # fmt: skip
"""Kinds of kernel that the quantizer takes."""


def kernels_in(precision: str, kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """What a target runs for each of some float kernels; a network's ends are not among them.

    Raises:
        ValueError: a kernel is not known in it.
    """
    return tuple(map(as_int8, kernels)) if precision == INT8 else tuple(kernels)


def network_in(precision: str, kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """What a target of some precision runs for a network.

    Args:
        precision: of the target.
        kernels: of the network in float, in order of execution.

    Raises:
        ValueError: a kernel is not known in it.
    """
    middle = kernels_in(precision, kernels)
    if precision != INT8:
        return middle
    first, last = ends(kernels[0].inputs[0], kernels[-1].output)
    return (first, *middle, last)


def ends(source: Shape, output: Shape) -> tuple[Kernel, Kernel]:
    """What an int8 network runs first and last, for callers that have and want float32."""
    first = make_kernel("quantize", (source,), source, {"to": INT8})
    last = make_kernel("dequantize", (output,), output, {"to": FLOAT32})
    return first, replace(last, dtype=INT8)


@lru_cache(maxsize=65536)
def as_int8(kernel: Kernel) -> Kernel:
    """What runs in int8 for a float kernel.

    Raises:
        ValueError: it is not known what does.
    """
    if kernel.kind not in INT8_KINDS or kernel.dtype != FLOAT32:
        raise ValueError(f"it is not known what runs in int8 for the kernel '{kernel}'")
    changed = replace(kernel, dtype=INT8)
    match kernel.kind:
        case "repeat":
            factors = (
                large // small for small, large in zip(*kernel.inputs, kernel.output, strict=True)
            )
            text = "x".join(map(str, factors))
            return replace(changed, kind="multiply", attributes=(("with", text),))
        case "scale":
            return replace(changed, kind="multiply", attributes=(("with", "scalar"),))
        case "hard_swish":
            # XNNPACK does not take it in int8.
            return replace(changed, attributes=(("delegate", "none"),))
    return changed
