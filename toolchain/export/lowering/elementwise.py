"""Operations on each number by itself: sums, products, clamps, sigmoids, hard swishes and scales.

x * sigmoid(x), swish, needs no rule of its own: XNNPACK runs it as the two kernels it is.
"""

from __future__ import annotations

from latency_tables.kernel import make_kernel
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.kernels import scale_kernel

UNARY_KINDS = {
    "Clamp": "clamp",
    "HardSwish": "hard_swish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
BINARY_KINDS = {"Add": "add", "Mul": "multiply", "Sub": "subtract"}


def lower_unary(emitter: Emitter, operation: Operation) -> Value:
    """A function of one value."""
    source = emitter.read(operation)
    attributes = {"range": operation.activation} if operation.type == "Clamp" else None
    kind = UNARY_KINDS[operation.type]
    kernel = make_kernel(kind, (source.shape,), emitter.shape(operation), attributes)
    return emitter.emit(kernel, source)


def lower_scale(emitter: Emitter, operation: Operation) -> Value:
    """A product with a constant."""
    source = emitter.read(operation)
    return emitter.emit(scale_kernel(source.shape, operation.attributes["by"]), source)


def lower_binary(emitter: Emitter, operation: Operation) -> Value:
    """A function of two values; a vector for each channel may meet a whole feature map."""
    sources = (emitter.read(operation, 0), emitter.read(operation, 1))
    output = emitter.shape(operation)
    if any(len(source.shape) != len(output) for source in sources):
        raise unsupported(
            operation,
            f"it reads shapes {[source.shape for source in sources]}, of different rank",
            "keep the dimensions (keepdims) of what is broadcast",
        )
    kind = BINARY_KINDS[operation.type]
    kernel = make_kernel(kind, tuple(source.shape for source in sources), output)
    return emitter.emit(kernel, *sources)
