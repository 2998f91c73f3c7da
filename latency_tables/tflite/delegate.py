"""Which operators XNNPACK takes over from TFLite, and why it leaves the others.

Rules of LiteRT 2.3's delegate, checked in the tests against what LiteRT reports running.

Source: google-ai-edge/LiteRT, tflite/delegates/xnnpack/xnnpack_delegate.cc, the Visit functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from latency_tables.tflite.network import ABSENT, UNPACKING, Network, Operator, Tensor

MAX_DIMENSIONS = 6
"""XNN_MAX_TENSOR_DIMS."""

MAX_CONCAT_INPUTS = 5
MAX_SPLIT_OUTPUTS = 4

_FLOAT = ("float32",)
_EIGHT_BITS = ("float32", "int8", "uint8")
_MATMUL_TYPES = (("float32", "float32"), ("float32", "int8"), ("int8", "int8"))
# Activations of the schema that are ranges: NONE, RELU, RELU_N1_TO_1, RELU6.
_RANGES = (0, 1, 2, 3)


def reason_outside(network: Network, operator: Operator) -> str:
    """Why XNNPACK does not take an operator; empty when it does."""
    rule = _RULES.get(operator.name)
    if rule is None or (operator.is_custom and operator.name not in _CUSTOM):
        return f"XNNPACK has no {operator.name}"
    if operator.options.get("fusedActivationFunction", 0) not in _RANGES:
        return f"{operator.name} with an activation that is not a range"
    return rule(network, operator)


def unpacked_constants(network: Network, outside: Iterable[int]) -> frozenset[int]:
    """Operators that only unpack a constant, once, when the network is loaded.

    Args:
        network: the network.
        outside: indices of the operators that XNNPACK does not take; a constant that one of these
            reads is unpacked by TFLite.
    """
    left = set(outside)
    unpacked: set[int] = set()
    for operator in network.operators:
        if operator.name not in UNPACKING:
            continue
        source = network.tensors[operator.inputs[0]]
        if operator.inputs[0] not in network.constants:
            continue
        if operator.name == "DEQUANTIZE" and source.dtype not in ("float16", "int8"):
            continue
        readers = network.readers.get(operator.outputs[0], ())
        if not left.intersection(reader.index for reader in readers):
            unpacked.add(operator.index)
    return frozenset(unpacked)


def _present(network: Network, indices: Iterable[int]) -> list[Tensor]:
    return [network.tensors[index] for index in indices if index != ABSENT]


def _unfit(operator: Operator, tensor: Tensor, types: tuple[str, ...]) -> str:
    if tensor.dtype not in types:
        return f"{tensor.dtype} {operator.name}"
    if tensor.dtype in ("int8", "uint8") and len(tensor.scales) != 1:
        return f"{operator.name} of {tensor.dtype} numbers without one scale"
    if len(tensor.shape) > MAX_DIMENSIONS:
        return f"{operator.name} of more than {MAX_DIMENSIONS} dimensions"
    return ""


def _all_of(types: tuple[str, ...], operator: Operator, tensors: Iterable[Tensor]) -> str:
    return next(filter(None, (_unfit(operator, one, types) for one in tensors)), "")


def _whole(*types: str) -> Callable[[Network, Operator], str]:
    """All inputs and outputs are of these types, all of one type."""

    def rule(network: Network, operator: Operator) -> str:
        tensors = _present(network, (*operator.inputs, *operator.outputs))
        mixed = "" if len({one.dtype for one in tensors}) == 1 else f"mixed {operator.name}"
        return _all_of(types, operator, tensors) or mixed

    return rule


def _first(*types: str) -> Callable[[Network, Operator], str]:
    """The first input and the outputs are of these types; other inputs are constants."""

    def rule(network: Network, operator: Operator) -> str:
        tensors = _present(network, (operator.inputs[0], *operator.outputs))
        return _all_of(types, operator, tensors) or _not_constant(
            network, operator, operator.inputs[1:]
        )

    return rule


def _not_constant(network: Network, operator: Operator, indices: Iterable[int]) -> str:
    if all(index in network.constants or index == ABSENT for index in indices):
        return ""
    return f"{operator.name} whose parameters are computed"


def _weighted(
    quantized_dimension: int, *, dynamic_range: bool, needs_bias: bool = True
) -> Callable[[Network, Operator], str]:
    """A convolution or a dense layer."""

    def rule(network: Network, operator: Operator) -> str:
        source, weights = (network.tensors[index] for index in operator.inputs[:2])
        output = network.output(operator)
        if found := _all_of(_EIGHT_BITS, operator, (source, output)):
            return found
        if needs_bias and network.input(operator, 2) is None:
            return f"{operator.name} without a bias"
        if source.dtype != output.dtype:
            return f"mixed {operator.name}"
        return _weights(operator, source, weights, quantized_dimension, dynamic_range) or (
            _not_constant(network, operator, operator.inputs[1:])
            if weights.dtype != "float32" or operator.name != "FULLY_CONNECTED"
            else ""
        )

    return rule


def _weights(
    operator: Operator,
    source: Tensor,
    weights: Tensor,
    quantized_dimension: int,
    dynamic_range: bool,
) -> str:
    is_narrow = operator.name == "FULLY_CONNECTED" and weights.dtype == "int4"
    mixes = dynamic_range and source.dtype == "float32" and weights.dtype in ("int8", "int4")
    if weights.dtype != source.dtype and not mixes and not (is_narrow and source.dtype == "int8"):
        return f"{source.dtype} {operator.name} with {weights.dtype} weights"
    if len(weights.scales) > 1 and weights.quantized_dimension != quantized_dimension:
        return f"{operator.name} quantized along dimension {weights.quantized_dimension}"
    if weights.is_sparse:
        return f"{operator.name} with sparse weights"
    return ""


def _transpose_conv(network: Network, operator: Operator) -> str:
    weights, source = (network.tensors[index] for index in operator.inputs[1:3])
    found = _all_of(_EIGHT_BITS, operator, (source, network.output(operator)))
    fixed = (index for place, index in enumerate(operator.inputs) if place != 2)
    return (
        found
        or _weights(operator, source, weights, 0, dynamic_range=True)
        or _not_constant(network, operator, fixed)
    )


def _batch_matmul(network: Network, operator: Operator) -> str:
    left, right = (network.tensors[index] for index in operator.inputs)
    if (left.dtype, right.dtype) not in _MATMUL_TYPES:
        return f"{operator.name} of {left.dtype} and {right.dtype}"
    if left.dtype == "int8" and len(right.scales) != 1:
        return f"int8 {operator.name} with more than one scale"
    return "" if min(len(left.shape), len(right.shape)) >= 2 else f"{operator.name} of a vector"


def _concat(network: Network, operator: Operator) -> str:
    count = len(operator.inputs)
    if not 2 <= count <= MAX_CONCAT_INPUTS:
        return f"concat of {count} inputs: XNNPACK takes 2 to {MAX_CONCAT_INPUTS}"
    return _whole(*_EIGHT_BITS)(network, operator)


def _split(network: Network, operator: Operator) -> str:
    count = len(operator.outputs)
    if not 2 <= count <= MAX_SPLIT_OUTPUTS:
        return f"split into {count}: XNNPACK makes 2 to {MAX_SPLIT_OUTPUTS}"
    tensors = _present(network, (operator.inputs[1], *operator.outputs))
    return _all_of(_EIGHT_BITS, operator, tensors) or _not_constant(
        network, operator, operator.inputs[:1]
    )


def _softmax(network: Network, operator: Operator) -> str:
    if operator.options.get("beta", 1.0) != 1.0:
        return f"{operator.name} with beta {operator.options['beta']:g}"
    return _whole(*_FLOAT)(network, operator)


def _pool(*types: str) -> Callable[[Network, Operator], str]:
    def rule(network: Network, operator: Operator) -> str:
        options = operator.options
        if (options["filterHeight"], options["filterWidth"]) == (1, 1) and (
            options["strideH"],
            options["strideW"],
        ) != (1, 1):
            return f"{operator.name} that only takes every {options['strideH']}th pixel"
        return _whole(*types)(network, operator)

    return rule


def _strided_slice(network: Network, operator: Operator) -> str:
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    if any(operator.options.get(mask) for mask in masks):
        return f"{operator.name} that changes the number of dimensions"
    strides = network.tensors[operator.inputs[3]].values
    if strides is None or (np.asarray(strides) != 1).any():
        return f"{operator.name} with a stride"
    return _first(*_EIGHT_BITS)(network, operator)


def _quantize(network: Network, operator: Operator) -> str:
    source, output = network.tensors[operator.inputs[0]], network.output(operator)
    found = _unfit(operator, source, _EIGHT_BITS) or _unfit(operator, output, ("int8", "uint8"))
    if found or source.dtype == "float32":
        return found
    if source.dtype != output.dtype:
        return f"{operator.name} from {source.dtype} to {output.dtype}"
    ratio = source.scales[0] / output.scales[0]
    return "" if 1 / 256 <= ratio <= 128 else f"{operator.name} that scales by {ratio:g}"


def _dequantize(network: Network, operator: Operator) -> str:
    source, output = network.tensors[operator.inputs[0]], network.output(operator)
    return _unfit(operator, source, ("int8", "uint8")) or _unfit(operator, output, _FLOAT)


def _requantizing(network: Network, operator: Operator) -> str:
    """Reshapes of quantized numbers must not change their scale."""
    source, output = network.tensors[operator.inputs[0]], network.output(operator)
    if found := _first(*_EIGHT_BITS)(network, operator):
        return found
    same = (source.scales, source.zero_point) == (output.scales, output.zero_point)
    return "" if same else f"{operator.name} that changes the scale"


def _blocks(network: Network, operator: Operator) -> str:
    return _first(*_EIGHT_BITS)(network, operator)


_CUSTOM = frozenset({"Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D"})

_RULES: dict[str, Callable[[Network, Operator], str]] = {
    **dict.fromkeys(
        ("ABS", "CEIL", "COS", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "NEG", "RELU",
         "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "DIV", "MAXIMUM",
         "MINIMUM", "SQUARED_DIFFERENCE"),
        _whole(*_FLOAT),
    ),
    **dict.fromkeys(
        ("ADD", "LEAKY_RELU", "LOGISTIC", "MUL", "SUB", "TANH"), _whole(*_EIGHT_BITS)
    ),
    **dict.fromkeys(("MEAN", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESIZE_BILINEAR", "SLICE",
                     "SUM", "TRANSPOSE"), _first(*_EIGHT_BITS)),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
    **dict.fromkeys(_CUSTOM, _whole(*_FLOAT)),
    "AVERAGE_POOL_2D": _pool(*_FLOAT),
    "BATCH_MATMUL": _batch_matmul,
    "CONCATENATION": _concat,
    "CONV_2D": _weighted(0, dynamic_range=True),
    "DEPTHWISE_CONV_2D": _weighted(3, dynamic_range=False),
    "DEQUANTIZE": _dequantize,
    "ELU": _whole("float32", "int8"),
    "FULLY_CONNECTED": _weighted(0, dynamic_range=True, needs_bias=False),
    "MAX_POOL_2D": _pool(*_EIGHT_BITS),
    "PRELU": _first(*_FLOAT),
    "QUANTIZE": _quantize,
    "RESHAPE": _requantizing,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE_CONV": _transpose_conv,
}  # fmt: skip
"""Rule of every operator that XNNPACK knows: why it does not take one, or nothing."""
