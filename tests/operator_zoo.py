"""A small network around each TFLite operator, in float and in 8-bit numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tflite_builder import NetworkBuilder

SHAPE = (1, 8, 8, 4)
Make = Callable[[NetworkBuilder, int], int]

_UNARY = (
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOG", "LOGISTIC", "NEG", "RELU"),
    *("RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "TANH"),
)
_BINARY = {
    "ADD": "AddOptions",
    "DIV": "DivOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "SUB": "SubOptions",
}


def network_of(name: str, dtype: str) -> bytes:
    """The file of a case: a convolution, then the operator."""
    builder = NetworkBuilder(dtype)
    value = ZOO[name](builder, builder.convolution(builder.input(*SHAPE), 4))
    last = [int(index) for index in builder.graph.operators[-1].outputs]
    return builder.content(*(last if value in last else [value]))


def _same(kind: str, **options: Any) -> Make:
    return lambda b, x: b.operator(kind, [x], SHAPE, **options)


def _pair(kind: str, **options: Any) -> Make:
    return lambda b, x: b.operator(kind, [x, b.inputs[0]], SHAPE, type=_BINARY[kind], **options)


def _by_constant(kind: str, shape: tuple[int, ...]) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        return b.operator(kind, [x, b.tensor(shape, data=2)], SHAPE, type=_BINARY[kind])

    return make


def _pool(kind: str, size: int, stride: int, activation: int = 0) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        side = (8 - size) // stride + 1
        return b.operator(
            kind, [x], (1, side, side, 4), type="Pool2DOptions", padding=1, strideW=stride,
            strideH=stride, filterWidth=size, filterHeight=size,
            fusedActivationFunction=activation,
        )  # fmt: skip

    return make


def _reduce(kind: str, axes: tuple[int, ...], shape: tuple[int, ...]) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        keep = len(shape) == 4
        return b.operator(kind, [x, b.numbers(*axes)], shape, type="ReducerOptions", keepDims=keep)

    return make


def _concat(count: int, axis: int = 3) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        shape = [size * count if place == axis else size for place, size in enumerate(SHAPE)]
        parts = [b.convolution(x, 4, kernel=1) for _ in range(count)]
        return b.operator(
            "CONCATENATION", parts, tuple(shape), type="ConcatenationOptions", axis=axis
        )

    return make


def _split(count: int) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        wide = b.convolution(x, 8)
        axis = b.tensor((), dtype="int32", data=3)
        b.operator(
            "SPLIT", [axis, wide], *[(1, 8, 8, 8 // count)] * count, type="SplitOptions",
            numSplits=count,
        )  # fmt: skip
        return int(b.graph.operators[-1].outputs[-1])

    return make


def _strided_slice(stride: int = 1, shrink: int = 0) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        shape = (6, 6, 4) if shrink else (1, 6 // stride, 6, 4)
        bounds = [b.numbers(0, 1, 1, 0), b.numbers(1, 7, -1, 4), b.numbers(1, stride, 1, 1)]
        return b.operator(
            "STRIDED_SLICE", [x, *bounds], shape, type="StridedSliceOptions", shrinkAxisMask=shrink
        )

    return make


def _with_numbers(
    kind: str, shape: tuple[int, ...], *numbers: tuple[int, ...], **options: Any
) -> Make:
    return lambda b, x: b.operator(
        kind, [x, *(b.numbers(*one) for one in numbers)], shape, **options
    )


def _pad(
    widths: list[list[int]], then: Callable[[NetworkBuilder, int], int] | None = None
) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        shape = tuple(size + sum(one) for size, one in zip(SHAPE, widths, strict=True))
        constant = b.tensor((4, 2), dtype="int32", data=widths)
        padded = b.operator("PAD", [x, constant], shape, type="PadOptions")
        return padded if then is None else then(b, padded)

    return make


def _reshapes(*shapes: tuple[int, ...], stated: tuple[int, ...] | None = None) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        for shape in shapes:
            text = stated if stated and shape == shapes[-1] else shape
            x = b.operator("RESHAPE", [x, b.numbers(*text)], shape, type="ReshapeOptions")
        return x

    return make


def _dense(weights: str | None = None, *, keep: bool = False, bias: bool = True) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        kind = weights or b.dtype
        scales = 5 if kind == "int8" else None
        matrix = b.tensor((5, 256), dtype=kind, data=1, scales=scales)
        is_float = b.dtype == "float32"
        added = b.tensor((5,), dtype="float32" if is_float else "int32", data=0,
                         scales=None if is_float else scales or 1)  # fmt: skip
        if keep:
            x = b.operator("RESHAPE", [x, b.numbers(1, 256)], (1, 256), type="ReshapeOptions")
        return b.operator(
            "FULLY_CONNECTED", [x, matrix, added if bias else -1], (1, 5), version=5,
            type="FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=1,
        )  # fmt: skip

    return make


def _transposed(activation: int) -> Make:
    def make(b: NetworkBuilder, x: int) -> int:
        scales = 4 if b.dtype == "int8" else None
        weights = b.tensor((4, 3, 3, 4), data=1, scales=scales)
        return b.operator(
            "TRANSPOSE_CONV", [b.numbers(1, 16, 16, 4), weights, x], (1, 16, 16, 4), version=4,
            type="TransposeConvOptions", padding=0, strideW=2, strideH=2,
            fusedActivationFunction=activation,
        )  # fmt: skip

    return make


def _matmul(*, constant: bool = False, left: bool = False, right: bool = False) -> Make:
    def make(b: NetworkBuilder, _: int) -> int:
        one = b.input(1, 8, 6) if left else b.input(1, 6, 8)
        shape = (1, 5, 8) if right else (1, 8, 5)
        other = b.tensor(shape, data=1) if constant else b.input(*shape)
        return b.operator(
            "BATCH_MATMUL",
            [one, other],
            (1, 6, 5),
            type="BatchMatMulOptions",
            adjX=left,
            adjY=right,
        )

    return make


def _lstm(b: NetworkBuilder, x: int) -> int:
    steps = b.operator("RESHAPE", [x, b.numbers(1, 64, 4)], (1, 64, 4), type="ReshapeOptions")
    inputs = [b.tensor((5, 4), data=0) for _ in range(4)]
    recurrent = [b.tensor((5, 5), data=0) for _ in range(4)]
    biases = [b.tensor((5,), data=0) for _ in range(4)]
    states = [b.tensor((1, 5)) for _ in range(2)]
    for state in states:
        b.graph.tensors[state].isVariable = True
    absent = [-1] * 3
    return b.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [steps, *inputs, *recurrent, *absent, *biases, -1, -1, *states],
        (1, 64, 5), type="UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4,
    )  # fmt: skip


def _chain(b: NetworkBuilder, x: int) -> int:
    for kind in ("LOGISTIC", "TANH", "LOGISTIC"):
        x = b.operator(kind, [x], SHAPE)
    return x


def _unbounded(b: NetworkBuilder, x: int) -> int:
    bound = b.tensor((), data=float("inf") if b.dtype == "float32" else 100)
    return b.operator("MINIMUM", [x, bound], SHAPE, type="MaximumMinimumOptions")


def _mean_of_squares(b: NetworkBuilder, x: int) -> int:
    squares = b.operator("MUL", [x, x], SHAPE, type="MulOptions")
    return b.operator("MEAN", [squares, b.numbers(1, 2)], (1, 4), type="ReducerOptions")


def _there_and_back(b: NetworkBuilder, x: int) -> int:
    x = b.operator("CAST", [x], SHAPE, to="int32", type="CastOptions")
    x = b.operator("CAST", [x], SHAPE, type="CastOptions")
    return b.convolution(x, 4)


_ROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]

ZOO: dict[str, Make] = {
    **{kind: _same(kind) for kind in _UNARY},
    **{kind: _pair(kind) for kind in _BINARY},
    **{f"{kind} relu": _pair(kind, fusedActivationFunction=1) for kind in ("ADD", "MUL", "SUB")},
    **{f"{kind} by channel": _by_constant(kind, (4,)) for kind in _BINARY},
    **{f"{kind} by number": _by_constant(kind, ()) for kind in _BINARY},
    **{f"{kind} {size}": _pool(kind, size, size)
       for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D") for size in (1, 2, 8)},
    "AVERAGE_POOL_2D relu": _pool("AVERAGE_POOL_2D", 3, 1, 1),
    "MAX_POOL_2D relu6": _pool("MAX_POOL_2D", 3, 1, 3),
    **{f"{kind} {len(axes)}": _reduce(kind, axes, shape)
       for kind in ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")
       for axes, shape in (((3,), (1, 8, 8, 1)), ((1, 2), (1, 4)))},
    **{f"CONCATENATION {count}": _concat(count) for count in (2, 5, 6)},
    "CONCATENATION rows": _concat(2, 1),
    **{f"SPLIT {count}": _split(count) for count in (2, 4, 8)},
    "STRIDED_SLICE": _strided_slice(),
    "STRIDED_SLICE stride": _strided_slice(2),
    "STRIDED_SLICE shrink": _strided_slice(1, 1),
    "SLICE": _with_numbers("SLICE", (1, 4, 4, 4), (0, 1, 1, 0), (1, 4, 4, 4), type="SliceOptions"),
    "TRANSPOSE": _with_numbers("TRANSPOSE", (1, 4, 8, 8), (0, 3, 1, 2), type="TransposeOptions"),
    "GATHER": _with_numbers("GATHER", (1, 8, 8, 2), (1, 2), type="GatherOptions", axis=3),
    "EXPAND_DIMS": _with_numbers("EXPAND_DIMS", (1, 1, 8, 8, 4), (1,), type="ExpandDimsOptions"),
    "RESIZE_BILINEAR": _with_numbers("RESIZE_BILINEAR", (1, 16, 16, 4), (16, 16),
                                     type="ResizeBilinearOptions", halfPixelCenters=True),
    "RESIZE_NEAREST": _with_numbers("RESIZE_NEAREST_NEIGHBOR", (1, 16, 16, 4), (16, 16),
                                    type="ResizeNearestNeighborOptions"),
    "RESHAPE": _reshapes((1, 64, 4)),
    "RESHAPE twice": _reshapes((1, 64, 4), (1, 256)),
    "RESHAPE to an open size": _reshapes((1, 64, 4), (1, 256), stated=(1, -1)),
    "PAD": _pad(_ROUND),
    "PAD channels": _pad([[0, 0], [0, 0], [0, 0], [0, 4]]),
    "PAD before VALID": _pad(_ROUND, lambda b, x: b.convolution(x, 4, valid=True, stride=2)),
    "PAD before SAME": _pad(_ROUND, lambda b, x: b.convolution(x, 4)),
    "PAD before SAME with stride": _pad(_ROUND, lambda b, x: b.convolution(x, 4, stride=2)),
    "PAD before depthwise": _pad(
        _ROUND, lambda b, x: b.convolution(x, 4, valid=True, depthwise=True)
    ),
    "DEPTH_TO_SPACE": lambda b, x: b.operator(
        "DEPTH_TO_SPACE", [x], (1, 16, 16, 1), type="DepthToSpaceOptions", blockSize=2
    ),
    "SPACE_TO_DEPTH": lambda b, x: b.operator(
        "SPACE_TO_DEPTH", [x], (1, 4, 4, 16), type="SpaceToDepthOptions", blockSize=2
    ),
    "PRELU": lambda b, x: b.operator("PRELU", [x, b.tensor((1, 1, 4), data=4)], SHAPE),
    "GELU": _same("GELU", type="GeluOptions", approximate=True),
    "LEAKY_RELU": _same("LEAKY_RELU", type="LeakyReluOptions", alpha=0.1),
    "SOFTMAX": _same("SOFTMAX", type="SoftmaxOptions", beta=1.0),
    "SOFTMAX beta": _same("SOFTMAX", type="SoftmaxOptions", beta=2.0),
    "FULLY_CONNECTED": _dense(),
    "FULLY_CONNECTED keep": _dense(keep=True),
    "FULLY_CONNECTED no bias": _dense(bias=False),
    "FULLY_CONNECTED int8 weights": _dense("int8"),
    "CONV_2D int8 weights": lambda b, x: b.convolution(x, 4, weights="int8"),
    "CONV_2D float16 weights": lambda b, x: b.convolution(x, 4, weights="float16"),
    "CONV_2D 1x1": lambda b, x: b.convolution(x, 4, kernel=1),
    "CONV_2D 1x1 stride": lambda b, x: b.convolution(x, 4, kernel=1, stride=2, valid=True),
    "CONV_2D per tensor": lambda b, x: b.convolution(x, 4, per_channel=False),
    "CONV_2D relu1": lambda b, x: b.convolution(x, 4, activation=2),
    "CONV_2D relu and RELU6": lambda b, x: b.operator(
        "RELU6", [b.convolution(x, 4, activation=1)], SHAPE
    ),
    "DEPTHWISE_CONV_2D": lambda b, x: b.convolution(x, 4, depthwise=True),
    "DEPTHWISE_CONV_2D 7": lambda b, x: b.convolution(x, 4, depthwise=True, kernel=7),
    "DEPTHWISE_CONV_2D int8 weights": lambda b, x: b.convolution(
        x, 4, depthwise=True, weights="int8"
    ),
    "TRANSPOSE_CONV": _transposed(0),
    "TRANSPOSE_CONV relu": _transposed(1),
    "BATCH_MATMUL": _matmul(),
    "BATCH_MATMUL constant": _matmul(constant=True),
    "BATCH_MATMUL left": _matmul(left=True),
    "BATCH_MATMUL right": _matmul(right=True),
    "QUANTIZE": lambda b, x: b.operator("QUANTIZE", [x], SHAPE, to="int8", type="QuantizeOptions"),
    "QUANTIZE unsigned": lambda b, x: b.operator(
        "QUANTIZE", [x], SHAPE, to="uint8", type="QuantizeOptions"
    ),
    "DEQUANTIZE": lambda b, x: b.operator(
        "DEQUANTIZE", [x], SHAPE, to="float32", type="DequantizeOptions"
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "a minimum without a bound": lambda b, x: b.operator(
        "ABS", [_unbounded(b, b.operator("NEG", [x], SHAPE))], SHAPE
    ),
    "a minimum without a bound last": lambda b, x: _unbounded(b, b.operator("NEG", [x], SHAPE)),
    "a chain of 8-bit numbers": _chain,
    "a mean of squares": _mean_of_squares,
    "out of XNNPACK and back": _there_and_back,
}  # fmt: skip
"""How each case goes on after its first convolution."""

REFUSED: dict[str, frozenset[str]] = {
    # LiteRT's compiled models have no variable tensors, in which an LSTM keeps its state.
    "float32": frozenset({"DEQUANTIZE", "UNIDIRECTIONAL_SEQUENCE_LSTM"}),
    "int8": frozenset(
        {"CEIL", "COS", "FLOOR", "ROUND", "SIN", "SQUARE", "DIV", "SOFTMAX", "SOFTMAX beta",
         "CONV_2D float16 weights", "UNIDIRECTIONAL_SEQUENCE_LSTM"}
    ),
    "uint8": frozenset(
        {"ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "LOG", "NEG", "ROUND", "RSQRT", "SIN",
         "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SQUARED_DIFFERENCE by channel",
         "SQUARED_DIFFERENCE by number", "FULLY_CONNECTED int8 weights", "CONV_2D int8 weights",
         "CONV_2D float16 weights", "DEPTHWISE_CONV_2D int8 weights", "BATCH_MATMUL",
         "BATCH_MATMUL constant", "BATCH_MATMUL left", "BATCH_MATMUL right",
         "UNIDIRECTIONAL_SEQUENCE_LSTM", "a minimum without a bound",
         "a minimum without a bound last"}
    ),
}  # fmt: skip
"""What LiteRT itself does not run in a type (2.3.0)."""
