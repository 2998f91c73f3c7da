"""A matrix product with constants, and the bias added to it, are one dense layer."""

from __future__ import annotations

from dataclasses import replace

from toolchain.export.lowering.edits.merge import Merged, merge_pairs
from toolchain.export.lowering.network import Network, Operation


def name_dense(network: Network) -> Network:
    """Write MatMul with a constant matrix, and the Add of a constant after it, as Gemm."""
    named = network.with_operations(
        _product(network, operation) for operation in network.operations
    )
    return merge_pairs(named, _add_bias)


def _product(network: Network, operation: Operation) -> Operation:
    matrix = network.constants.get(operation.reads(1))
    if operation.type == "MatMul" and matrix is not None and matrix.ndim == 2:
        return replace(operation, type="Gemm")
    return operation


def _add_bias(network: Network, dense: Operation, add: Operation) -> Merged | None:
    if (dense.type, add.type) != ("Gemm", "Add") or dense.reads(2):
        return None
    (other,) = [name for name in add.inputs if name != dense.output]
    bias = network.constants.get(other)
    features = network.shape(dense.output, dense)[-1]
    if bias is None or bias.size != features or network.shape(add.output, add)[-1] != features:
        return None
    return Merged(replace(dense, inputs=(*dense.inputs[:2], other), output=add.output))
