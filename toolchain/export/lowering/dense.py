"""Dense layers: Gemm, and MatMul with a constant matrix."""

from __future__ import annotations

import numpy as np

from latency_tables.kernel import make_kernel
from toolchain.export.flatbuffer import Array, Weights
from toolchain.export.lowering.emitter import Emitter, Value, flatten_kernel
from toolchain.export.lowering.network import Operation, unsupported

GEMM_ATTRIBUTES = frozenset({"alpha", "beta", "transA", "transB"})


def lower_dense(emitter: Emitter, operation: Operation) -> Value:
    """A matrix times the vector, or the flattened feature map, plus a bias.

    In networks of images the runtime flattens the vector first, as the plans of graphs have it.
    """
    attributes = operation.attributes
    if attributes.get("transA", 0) or {attributes.get(name, 1) for name in ("alpha", "beta")} != {
        1
    }:
        raise unsupported(
            operation,
            f"its attributes are {dict(attributes)}",
            "use x W + b with alpha = beta = 1",
        )
    source = emitter.read_unflattened(operation)
    output = emitter.shape(operation)
    matrix = emitter.constant(operation, 1)
    matrix_OI = matrix if attributes.get("transB", 0) else matrix.T
    if len(emitter.network.shape(operation.inputs[0], operation)) != 2:
        raise unsupported(operation, f"it reads shape {source.shape}", "flatten its input first")
    bias = _bias(emitter, operation, output[-1])
    if not emitter.network.reads_an_image:  # vectors from the beginning
        kernel = make_kernel(
            "fully_connected", (source.shape,), output, None, operation.activation
        )
        filter_of = (operation.inputs[1], matrix is not matrix_OI)
        return emitter.emit(kernel, source, weights=Weights(matrix_OI, bias), filter_of=filter_of)
    vector = emitter.emit(flatten_kernel(source.shape), source)
    kernel = make_kernel("fully_connected", (vector.shape,), output, None, operation.activation)
    weights = Weights(_in_nhwc_order(matrix_OI, source.shape), bias)
    return emitter.emit(kernel, vector, weights=weights)


def _in_nhwc_order(matrix_OI: Array, source: tuple[int, ...]) -> Array:
    """Columns in the order in which the runtime holds a feature map; ONNX flattens CHW."""
    if len(source) == 2:
        return matrix_OI
    _, rows, columns, channels = source
    matrix_OCHW = matrix_OI.reshape(-1, channels, rows, columns)
    return matrix_OCHW.transpose(0, 2, 3, 1).reshape(matrix_OI.shape)


def _bias(emitter: Emitter, operation: Operation, features: int) -> Array:
    if not operation.reads(2):
        return np.zeros(features, np.float32)
    bias = emitter.constant(operation, 2)
    if bias.size != features:
        raise unsupported(
            operation, f"its bias has shape {bias.shape}", f"give one of {features} numbers"
        )
    return bias.reshape(features)
