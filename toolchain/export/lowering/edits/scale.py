"""A product with one over a whole number, as the mean of a few values has, is a scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolchain.export.lowering.edits.hard_sigmoid import SCALE
from toolchain.export.lowering.network import Network, Operation

MOST_TERMS = 64


def name_scales(network: Network) -> Network:
    """Write Mul with a constant 1/2, 1/3, ... as Scale; other products stay Mul."""
    return network.with_operations(_named(network, operation) for operation in network.operations)


def _named(network: Network, operation: Operation) -> Operation:
    if operation.type != "Mul":
        return operation
    for value, factor in (operation.inputs, operation.inputs[::-1]):
        constant = network.constants.get(factor)
        if constant is None or constant.size != 1 or constant.dtype != np.float32:
            continue
        divisor = _whole_divisor(float(constant.ravel()[0]))
        if divisor is not None:
            attributes = {"by": f"1/{divisor}"}
            return replace(operation, type=SCALE, inputs=(value,), attributes=attributes)
    return operation


def _whole_divisor(factor: float) -> int | None:
    for divisor in range(2, MOST_TERMS + 1):
        if np.float32(1 / divisor) == np.float32(factor):
            return divisor
    return None
