"""The TFLite operator of every kind of kernel: its code, its options, its constant settings."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from latency_tables.kernel import Kernel

Settings = npt.NDArray[np.int32] | npt.NDArray[np.float32]

Pads = tuple[int, int, int, int]
"""Rows above and below, columns left and right."""


class Operator(NamedTuple):
    """What the flatbuffer holds of an operator besides its tensors.

    Attributes:
        code: ``BuiltinOperator`` of the schema.
        options_type: ``BuiltinOptions`` of the schema.
        options: an object of that type; None where the type is NONE.
        settings: a constant that the operator reads after its inputs, such as axes or a factor.
        reads_settings_first: whether weights and inputs stand the other way round as well:
            settings, filter, input, bias.
        version: of the operator; below 2, a runtime knows less of it than is asked for here.
    """

    code: int
    options_type: int = schema.BuiltinOptions.NONE
    options: Any = None
    settings: Settings | None = None
    reads_settings_first: bool = False
    version: int = 1


def make_operator(kernel: Kernel) -> Operator:
    """The operator that makes the runtime run a kernel.

    Raises:
        ValueError: no TFLite operator is known for this kind.
    """
    if kernel.kind not in OPERATORS:
        raise ValueError(f"no TFLite operator for kernel {kernel}; known: {', '.join(OPERATORS)}")
    return OPERATORS[kernel.kind](kernel)


def pad_operator(pads: Pads) -> Operator:
    """Zeros around a feature map."""
    widths = np.array([(0, 0), pads[:2], pads[2:], (0, 0)], np.int32)
    options = schema.PadOptionsT()
    return Operator(schema.BuiltinOperator.PAD, schema.BuiltinOptions.PadOptions, options, widths)


def own_pads(kernel: Kernel) -> Pads | None:
    """The zeros that a convolution puts around its input; None where SAME or VALID says it."""
    padding = dict(kernel.attributes).get("padding")
    return None if padding is None or padding in _PADDINGS else parse_pads(padding)


def parse_pads(text: str) -> Pads:
    """Pads as a kernel's attribute holds them."""
    top, bottom, left, right = map(int, text.split("x"))
    return top, bottom, left, right


_ACTIVATIONS = {
    "linear": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_PADDINGS = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}


def _add(kernel: Kernel) -> Operator:
    options = schema.AddOptionsT()
    options.fusedActivationFunction = _ACTIVATIONS[kernel.activation]
    return Operator(schema.BuiltinOperator.ADD, schema.BuiltinOptions.AddOptions, options)


def _clamp(kernel: Kernel) -> Operator:
    codes = {"relu": schema.BuiltinOperator.RELU, "relu6": schema.BuiltinOperator.RELU6}
    return Operator(codes[kernel.attribute("range")])


def _concat(kernel: Kernel) -> Operator:
    options = schema.ConcatenationOptionsT()
    options.axis = int(dict(kernel.attributes).get("axis", len(kernel.output) - 1))
    return Operator(
        schema.BuiltinOperator.CONCATENATION, schema.BuiltinOptions.ConcatenationOptions, options
    )


def _conv2d(kernel: Kernel) -> Operator:
    options = _windowed(schema.Conv2DOptionsT(), kernel)
    options.dilationHFactor = options.dilationWFactor = 1
    return Operator(schema.BuiltinOperator.CONV_2D, schema.BuiltinOptions.Conv2DOptions, options)


def _conv_transpose2d(kernel: Kernel) -> Operator:
    options = schema.TransposeConvOptionsT()
    options.padding = _PADDINGS[kernel.attribute("padding")]
    options.strideH, options.strideW = kernel.pair("stride")
    options.fusedActivationFunction = _ACTIVATIONS[kernel.activation]
    return Operator(
        schema.BuiltinOperator.TRANSPOSE_CONV,
        schema.BuiltinOptions.TransposeConvOptions,
        options,
        np.array(kernel.output, np.int32),
        reads_settings_first=True,
        version=4,  # bias since 3, a fused activation since 4
    )


def _depthwise_conv2d(kernel: Kernel) -> Operator:
    options = _windowed(schema.DepthwiseConv2DOptionsT(), kernel)
    options.dilationHFactor = options.dilationWFactor = 1
    options.depthMultiplier = 1
    return Operator(
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOptions.DepthwiseConv2DOptions,
        options,
    )


def _embedding_lookup(_: Kernel) -> Operator:
    return Operator(schema.BuiltinOperator.EMBEDDING_LOOKUP)


def _reshape(kernel: Kernel) -> Operator:
    shape = np.array(kernel.output, np.int32)
    options = schema.ReshapeOptionsT()
    options.newShape = shape
    return Operator(
        schema.BuiltinOperator.RESHAPE, schema.BuiltinOptions.ReshapeOptions, options, shape
    )


def _fully_connected(kernel: Kernel) -> Operator:
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = _ACTIVATIONS[kernel.activation]
    return Operator(
        schema.BuiltinOperator.FULLY_CONNECTED,
        schema.BuiltinOptions.FullyConnectedOptions,
        options,
    )


def _hard_swish(_: Kernel) -> Operator:
    options = schema.HardSwishOptionsT()
    return Operator(
        schema.BuiltinOperator.HARD_SWISH, schema.BuiltinOptions.HardSwishOptions, options
    )


def _max_pool2d(kernel: Kernel) -> Operator:
    options = _windowed(schema.Pool2DOptionsT(), kernel)
    options.filterHeight, options.filterWidth = kernel.pair("kernel")
    return Operator(
        schema.BuiltinOperator.MAX_POOL_2D, schema.BuiltinOptions.Pool2DOptions, options
    )


def _mean(kernel: Kernel) -> Operator:
    options = schema.ReducerOptionsT()
    options.keepDims = len(kernel.output) == len(kernel.inputs[0])
    axes = np.array(kernel.pair("axes"), np.int32)
    return Operator(
        schema.BuiltinOperator.MEAN, schema.BuiltinOptions.ReducerOptions, options, axes
    )


def _multiply(_: Kernel) -> Operator:
    options = schema.MulOptionsT()
    return Operator(schema.BuiltinOperator.MUL, schema.BuiltinOptions.MulOptions, options)


def _pad(kernel: Kernel) -> Operator:
    return pad_operator(parse_pads(kernel.attribute("pads")))


def _repeat(kernel: Kernel) -> Operator:
    """A product with ones, which broadcasts: what repeats has size 1 in the input."""
    sizes = zip(kernel.inputs[0], kernel.output, strict=True)
    ones = np.ones([new if old == 1 else 1 for old, new in sizes], np.float32)
    return _multiply(kernel)._replace(settings=ones)


def _resize_bilinear(kernel: Kernel) -> Operator:
    options = schema.ResizeBilinearOptionsT()
    options.halfPixelCenters = True
    return Operator(
        schema.BuiltinOperator.RESIZE_BILINEAR,
        schema.BuiltinOptions.ResizeBilinearOptions,
        options,
        np.array(kernel.output[1:3], np.int32),
        version=3,  # half-pixel centres
    )


def _scale(kernel: Kernel) -> Operator:
    factor = np.array(float(Fraction(kernel.attribute("by"))), np.float32)
    return _multiply(kernel)._replace(settings=factor)


def _sigmoid(_: Kernel) -> Operator:
    return Operator(schema.BuiltinOperator.LOGISTIC)


def _slice(kernel: Kernel) -> Operator:
    # Where it begins is the step's, see flatbuffer.py.
    size = np.array(kernel.output, np.int32)
    return Operator(
        schema.BuiltinOperator.SLICE,
        schema.BuiltinOptions.SliceOptions,
        schema.SliceOptionsT(),
        size,
    )


def _subtract(_: Kernel) -> Operator:
    options = schema.SubOptionsT()
    return Operator(schema.BuiltinOperator.SUB, schema.BuiltinOptions.SubOptions, options)


def _tanh(_: Kernel) -> Operator:
    return Operator(schema.BuiltinOperator.TANH)


OPERATORS: dict[str, Callable[[Kernel], Operator]] = {
    "add": _add,
    "clamp": _clamp,
    "concat": _concat,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "embedding_lookup": _embedding_lookup,
    "flatten": _reshape,
    "fully_connected": _fully_connected,
    "hard_swish": _hard_swish,
    "max_pool2d": _max_pool2d,
    "mean": _mean,
    "multiply": _multiply,
    "pad": _pad,
    "repeat": _repeat,
    "reshape": _reshape,
    "resize_bilinear": _resize_bilinear,
    "scale": _scale,
    "sigmoid": _sigmoid,
    "slice": _slice,
    "subtract": _subtract,
    "tanh": _tanh,
}
"""TFLite operator of every kind of kernel."""


def _windowed(options: Any, kernel: Kernel) -> Any:
    # Pads stated in numbers are a PAD operator before this one.
    options.padding = _PADDINGS.get(kernel.attribute("padding"), schema.Padding.VALID)
    options.strideH, options.strideW = kernel.pair("stride")
    options.fusedActivationFunction = _ACTIVATIONS[kernel.activation]
    return options
