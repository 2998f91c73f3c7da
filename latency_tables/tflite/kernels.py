"""The kernels of one operator, before XNNPACK fuses any.

Kernels are named as those of the toolchain's plans (``toolchain/kernels.py``), so that one table
serves both; what only files of others have gets further attributes:

=========  ==========================================================================
with       shape of a constant operand
to         element type of the output, where it is another
weights    element type of the weights, where it is another
scales     ``one``: quantized weights share a scale, instead of one for each channel
delegate   ``none``: XNNPACK does not run it
=========  ==========================================================================

An operator that is not known here by name becomes a kernel all the same, with every plain option
as an attribute.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from latency_tables.kernel import NO_ACTIVATION
from latency_tables.tflite.draft import (
    Draft,
    activations_of,
    between,
    constant_numbers,
    make_draft,
    range_of,
    shape_text,
)
from latency_tables.tflite.network import Network, Operator, Tensor
from latency_tables.tflite.schema import vector
from latency_tables.tflite.weighted import (
    NO_PADS,
    batch_matmul,
    conv2d,
    conv_transpose2d,
    fully_connected,
    media_pipe_conv_transpose2d,
)
from latency_tables.tflite.window import read_window

MAX_DIVISOR = 64
"""A product with less than one over this is a product like any other."""


def drafts_of(network: Network, operator: Operator, *, is_delegated: bool) -> list[Draft]:
    """What the runtime defines for an operator, in order."""
    drafts = _MAKERS.get(operator.name, _generic)(network, operator)
    if is_delegated:
        return drafts
    # TFLite's own kernels do all of it in one.
    whole = drafts[0] if drafts[-1].kind == "clamp" else drafts[-1]
    whole.reads = activations_of(network, operator)
    whole.writes = list(operator.outputs)
    whole.shapes = [network.tensors[index].shape for index in whole.reads]
    whole.is_delegated = False
    if whole.kind != "clamp":
        whole.activation = range_of(operator)
    return [whole]


def _clamped(draft: Draft, operator: Operator) -> list[Draft]:
    """A kernel, and the clamp that its activation becomes where none can run inside of it."""
    activation = range_of(operator)
    if activation == NO_ACTIVATION:
        return [draft]
    outputs, draft.writes = draft.writes, [between(operator.index, 0)]
    clamp = Draft(
        kind="clamp",
        shapes=[draft.output],
        output=draft.output,
        attributes={"range": activation},
        dtype=draft.dtype,
        reads=draft.writes,
        writes=outputs,
        operators=[operator.index],
    )
    return [draft, clamp]


def _unary(kind: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        return [make_draft(network, operator, kind)]

    return make


def _clamp(name: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        return [make_draft(network, operator, "clamp", range=name)]

    return make


def _binary(kind: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        draft = make_draft(network, operator, kind)
        constant = _constant_operand(network, operator)
        if constant is not None:
            _name_by_constant(draft, constant)
        elif kind == "multiply" and operator.inputs[0] == operator.inputs[1]:
            draft.kind, draft.reads, draft.shapes = "square", draft.reads[:1], draft.shapes[:1]
        return _clamped(draft, operator)

    return make


def _constant_operand(network: Network, operator: Operator) -> Tensor | None:
    constants = [index for index in operator.inputs if index in network.constants]
    return network.tensors[constants[0]] if len(constants) == 1 else None


def _name_by_constant(draft: Draft, constant: Tensor) -> None:
    """A product with ones that broadcasts repeats, one with 1/n scales; min and max clamp."""
    values = constant.values
    is_number = constant.size == 1
    if draft.kind == "multiply" and draft.dtype == "float32" and values is not None:
        if is_number and (divisor := _divisor(float(values.ravel()[0]))):
            draft.kind, draft.attributes["by"] = "scale", f"1/{divisor}"
            return
        if draft.output != draft.shapes[0] and (values == 1).all():
            draft.kind = "repeat"
            return
    if draft.kind in ("maximum", "minimum") and is_number:
        is_open = values is not None and np.isinf(values).all()
        draft.kind, draft.attributes["range"] = "clamp", NO_ACTIVATION if is_open else "other"
        return
    draft.attributes["with"] = shape_text(constant.shape)


def _divisor(factor: float) -> int:
    """The n of a factor 1/n, as means and hard sigmoids have it; 0 for any other factor."""
    divisor = round(1 / factor) if 1 / (MAX_DIVISOR + 1) < factor < 1 else 0
    return divisor if divisor > 1 and np.float32(factor) == np.float32(1 / divisor) else 0


def _pool(kind: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        options = operator.options
        draft = make_draft(network, operator, kind)
        draft.activation = range_of(operator)
        window = read_window(options, (options["filterHeight"], options["filterWidth"]))
        if window.kernel == (1, 1):
            draft.kind, draft.attributes["range"] = "clamp", draft.activation
            draft.activation = NO_ACTIVATION
            return [draft]
        draft.attributes |= window.attributes(draft.shapes[0], draft.output, NO_PADS)
        return [draft]

    return make


def _reduce(kind: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        axes = constant_numbers(network, operator, 1)
        rank = len(network.tensors[operator.inputs[0]].shape)
        return [
            make_draft(network, operator, kind, axes=shape_text(sorted(a % rank for a in axes)))
        ]

    return make


def _concat(network: Network, operator: Operator) -> list[Draft]:
    draft = make_draft(network, operator, "concat")
    rank = len(draft.output)
    axis = operator.options["axis"] % rank if rank else 0
    if axis != rank - 1:
        draft.attributes["axis"] = str(axis)
    if constant := _constant_operand(network, operator):
        draft.attributes["with"] = shape_text(constant.shape)
    return [draft]


def _pad(network: Network, operator: Operator) -> list[Draft]:
    widths = np.array(constant_numbers(network, operator, 1)).reshape(-1, 2)
    if len(widths) == 4 and not widths[[0, 3]].any():
        return [make_draft(network, operator, "pad", pads=shape_text(widths[1:3].ravel()))]
    return [make_draft(network, operator, "pad", widths=shape_text(widths.ravel()))]


def _transpose(network: Network, operator: Operator) -> list[Draft]:
    return [
        make_draft(
            network, operator, "transpose", axes=shape_text(constant_numbers(network, operator, 1))
        )
    ]


def _reshape(network: Network, operator: Operator) -> list[Draft]:
    sizes = constant_numbers(network, operator, 1) or list(
        vector(operator.options.get("newShape"))
    )
    draft = make_draft(network, operator, "reshape")
    draft.is_fixed = min(sizes, default=-1) > 0
    return [draft]


def _slice(network: Network, operator: Operator) -> list[Draft]:
    return [make_draft(network, operator, "slice")]


def _split(network: Network, operator: Operator) -> list[Draft]:
    rank = len(network.output(operator).shape)
    axes = constant_numbers(network, operator, 0)
    return [make_draft(network, operator, "split", axis=str(axes[0] % rank if axes else 0))]


def _prelu(network: Network, operator: Operator) -> list[Draft]:
    slope = network.tensors[operator.inputs[1]]
    return [make_draft(network, operator, "prelu", **{"with": shape_text(slope.shape)})]


def _blocks(kind: str) -> Callable[[Network, Operator], list[Draft]]:
    def make(network: Network, operator: Operator) -> list[Draft]:
        return [make_draft(network, operator, kind, block=str(operator.options["blockSize"]))]

    return make


def _resize_bilinear(network: Network, operator: Operator) -> list[Draft]:
    draft = make_draft(network, operator, "resize_bilinear")
    if operator.options.get("alignCorners"):
        draft.attributes["corners"] = "aligned"
    return [draft]


def _generic(network: Network, operator: Operator) -> list[Draft]:
    """Any operator, with its plain options and the shapes of its constants."""
    kind = operator.name if operator.is_custom else operator.name.lower()
    attributes = {
        name: f"{value:g}" if isinstance(value, float) else str(int(value))
        for name, value in operator.options.items()
        if isinstance(value, int | float) and name != "fusedActivationFunction"
    }
    constants = [
        shape_text(network.tensors[index].shape)
        for index in operator.inputs
        if index in network.constants
    ]
    if constants:
        attributes["with"] = ",".join(constants)
    if operator.custom_options:
        attributes["options"] = f"{zlib.crc32(operator.custom_options):08x}"
    return [make_draft(network, operator, kind.replace(" ", "_"), **attributes)]


_MAKERS: dict[str, Callable[[Network, Operator], list[Draft]]] = {
    "ABS": _unary("abs"),
    "ADD": _binary("add"),
    "AVERAGE_POOL_2D": _pool("average_pool2d"),
    "BATCH_MATMUL": batch_matmul,
    "CEIL": _unary("ceil"),
    "CONCATENATION": _concat,
    "CONV_2D": conv2d,
    "COS": _unary("cos"),
    "Convolution2DTransposeBias": media_pipe_conv_transpose2d,
    "DEPTHWISE_CONV_2D": conv2d,
    "DEPTH_TO_SPACE": _blocks("depth_to_space"),
    "DEQUANTIZE": _unary("dequantize"),
    "DIV": _binary("divide"),
    "ELU": _unary("elu"),
    "EXP": _unary("exp"),
    "FLOOR": _unary("floor"),
    "FULLY_CONNECTED": fully_connected,
    "GELU": _unary("gelu"),
    "HARD_SWISH": _unary("hard_swish"),
    "LEAKY_RELU": _unary("leaky_relu"),
    "LOG": _unary("log"),
    "LOGISTIC": _unary("sigmoid"),
    "MAXIMUM": _binary("maximum"),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "MEAN": _reduce("mean"),
    "MINIMUM": _binary("minimum"),
    "MUL": _binary("multiply"),
    "NEG": _unary("negate"),
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _unary("quantize"),
    "REDUCE_MAX": _reduce("reduce_max"),
    "REDUCE_MIN": _reduce("reduce_min"),
    "RELU": _clamp("relu"),
    "RELU6": _clamp("relu6"),
    "RELU_N1_TO_1": _clamp("relu1"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize_bilinear,
    "ROUND": _unary("round"),
    "RSQRT": _unary("rsqrt"),
    "SIN": _unary("sin"),
    "SLICE": _slice,
    "SOFTMAX": _unary("softmax"),
    "SPACE_TO_DEPTH": _blocks("space_to_depth"),
    "SPLIT": _split,
    "SQRT": _unary("sqrt"),
    "SQUARE": _unary("square"),
    "SQUARED_DIFFERENCE": _binary("squared_difference"),
    "STRIDED_SLICE": _slice,
    "SUB": _binary("subtract"),
    "SUM": _reduce("sum"),
    "TANH": _unary("tanh"),
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": conv_transpose2d,
}
"""How each operator that is known by name becomes kernels."""
