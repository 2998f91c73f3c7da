"""ReLU and ReLU6 are clamps, and a clamp is part of many operations.

XNNPACK fuses a clamp into the convolution, dense layer, max pooling or clamp before it when
nothing else reads that; after any other operation it is a kernel of its own (seen with its
profiler, LiteRT 2.3).
"""

from __future__ import annotations

import math
from dataclasses import replace

from toolchain.export.lowering.edits.merge import Merged, merge_pairs
from toolchain.export.lowering.network import Network, Operation

CLAMP = "Clamp"
"""Type that Relu and Clip get here; the range is the operation's activation."""

HOSTS = ("Conv", "ConvTranspose", "Gemm", "MaxPool", CLAMP)
"""Operations that take a clamp in."""

_RANGES = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6"}


def name_clamps(network: Network) -> Network:
    """Give Relu, Clip(0, 6) and Clip(0, none) one type; other ranges stay Clip."""
    return network.with_operations(_named(network, operation) for operation in network.operations)


def fuse_clamps(network: Network) -> Network:
    """Move every clamp into the operation before it, where the runtime would do so."""
    return merge_pairs(network, _fuse)


def _named(network: Network, operation: Operation) -> Operation:
    activation = None
    if operation.type == "Relu":
        activation = "relu"
    elif operation.type == "Clip":
        least = network.setting(operation, 1, "min")
        most = network.setting(operation, 2, "max")
        bounds = (
            -math.inf if least is None else float(least),
            math.inf if most is None else float(most),
        )
        activation = _RANGES.get(bounds)
    if activation is None:
        return operation
    return replace(
        operation,
        type=CLAMP,
        inputs=operation.inputs[:1],
        attributes={},
        activation=activation,
    )


def _fuse(network: Network, host: Operation, clamp: Operation) -> Merged | None:
    if host.type not in HOSTS or clamp.type != CLAMP:
        return None
    narrower = "relu6" if "relu6" in (host.activation, clamp.activation) else "relu"
    return Merged(replace(host, activation=narrower, output=clamp.output))
