"""Hard sigmoid, relu6(x + 3) / 6, is part of the layer before it, but for the factor.

Source: Searching for MobileNetV3, arXiv 1905.02244, section 5.2. The authors' models add, clamp
and scale in three kernels; here the bias takes the 3 in and the layer the clamp.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from latency_tables.kernel import NO_ACTIVATION
from toolchain.export.lowering.network import Constant, Network, Operation
from toolchain.kernels import HARD_SIGMOID_FACTOR

SCALE = "Scale"
"""Type of the product with a constant that remains."""

HOSTS = ("Conv", "Gemm")
"""Operations that take the rest in."""

_SHIFT = np.float32(3)


def split_hard_sigmoids(network: Network) -> Network:
    """Shift and clamp the layers that only a hard sigmoid reads, and scale what they give."""
    gated = {
        operation.inputs[0]
        for operation in network.operations
        if is_hard_sigmoid(operation) and network.readers[operation.inputs[0]] == 1
    }
    constants = dict(network.constants)
    hosts: set[str] = set()
    operations = []
    for operation in network.operations:
        if operation.output in gated and _is_host(operation, network):
            hosts.add(operation.output)
            bias_name = f"{operation.output}.shifted_bias"
            constants[bias_name] = _shifted_bias(operation, network)
            inputs = (*operation.inputs[:2], bias_name)
            operation = replace(operation, inputs=inputs, activation="relu6")
        elif is_hard_sigmoid(operation) and operation.inputs[0] in hosts:
            operation = replace(operation, type=SCALE, attributes={"by": HARD_SIGMOID_FACTOR})
        operations.append(operation)
    return replace(network, constants=constants).with_operations(operations)


def is_hard_sigmoid(operation: Operation) -> bool:
    """Whether an operation is the hard sigmoid of slope 1/6 and offset 1/2."""
    if operation.type != "HardSigmoid":
        return False
    slope, offset = operation.attributes.get("alpha", 0.2), operation.attributes.get("beta", 0.5)
    return math.isclose(slope, 1 / 6, rel_tol=1e-6) and bool(offset == 0.5)


def _is_host(operation: Operation, network: Network) -> bool:
    bias = operation.reads(2)
    return (
        operation.type in HOSTS
        and operation.activation == NO_ACTIVATION
        and (not bias or bias in network.constants)
    )


def _shifted_bias(operation: Operation, network: Network) -> Constant:
    features = network.shape(operation.output, operation)[1]
    bias = network.constants.get(operation.reads(2), np.zeros(features, np.float32))
    return bias + _SHIFT
