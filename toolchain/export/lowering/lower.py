"""Lower an ONNX model: read it, edit the graph, emit a plan.

What cannot be lowered rightly is refused, with the node's name: an operator without a row in
``OPERATIONS``, an attribute that its row does not know, a value of an attribute or a pattern that
its function does not expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import onnx

from toolchain.export.flatbuffer import Weights
from toolchain.export.lowering.convolution import (
    CONV_ATTRIBUTES,
    CONV_TRANSPOSE_ATTRIBUTES,
    lower_conv,
    lower_conv_transpose,
)
from toolchain.export.lowering.dense import GEMM_ATTRIBUTES, lower_dense
from toolchain.export.lowering.edits.batch_norm import fold_batch_norm
from toolchain.export.lowering.edits.clamp import fuse_clamps, name_clamps
from toolchain.export.lowering.edits.dense import name_dense
from toolchain.export.lowering.edits.flatten import flatten_means
from toolchain.export.lowering.edits.hard_sigmoid import split_hard_sigmoids
from toolchain.export.lowering.edits.hard_swish import name_hard_swish
from toolchain.export.lowering.edits.padding import fuse_pads
from toolchain.export.lowering.edits.scale import name_scales
from toolchain.export.lowering.elementwise import lower_binary, lower_scale, lower_unary
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Network, Operation, read_network, unsupported
from toolchain.export.lowering.padding import lower_pad
from toolchain.export.lowering.pooling import MAX_POOL_ATTRIBUTES, lower_max_pool, lower_mean
from toolchain.export.lowering.resize import RESIZE_ATTRIBUTES, lower_resize
from toolchain.export.lowering.shape import lower_concat, lower_flatten
from toolchain.export.lowering.words import lower_gather, lower_slice
from toolchain.kernels import Plan


@dataclass(frozen=True)
class Lowered:
    """A network as the runtime will run it.

    Attributes:
        plan: its kernels.
        weights: constants by the index of the step.
    """

    plan: Plan
    weights: Mapping[int, Weights]


EDITS: tuple[Callable[[Network], Network], ...] = (
    name_clamps,
    name_hard_swish,
    name_dense,
    name_scales,
    fuse_pads,
    fold_batch_norm,
    split_hard_sigmoids,
    flatten_means,
    fuse_clamps,
)
"""In this order: hard swish is made of a hard sigmoid, which is otherwise split, after batch norm;
clamps are fused into what the other edits have made."""


class Row(NamedTuple):
    """How one type of operation is lowered.

    Attributes:
        lower: emits its kernels.
        attributes: those that may be there; any other might change what is computed.
    """

    lower: Callable[[Emitter, Operation], Value]
    attributes: frozenset[str] = frozenset()


OPERATIONS: dict[str, Row] = {
    "Add": Row(lower_binary),
    "Clamp": Row(lower_unary),
    "Concat": Row(lower_concat, frozenset({"axis"})),
    "Conv": Row(lower_conv, CONV_ATTRIBUTES),
    "ConvTranspose": Row(lower_conv_transpose, CONV_TRANSPOSE_ATTRIBUTES),
    "Flatten": Row(lower_flatten, frozenset({"axis"})),
    "Gather": Row(lower_gather, frozenset({"axis"})),
    "Gemm": Row(lower_dense, GEMM_ATTRIBUTES),
    "GlobalAveragePool": Row(lower_mean),
    "HardSwish": Row(lower_unary),
    "MaxPool": Row(lower_max_pool, MAX_POOL_ATTRIBUTES),
    "Mul": Row(lower_binary),
    "Pad": Row(lower_pad, frozenset({"mode", "pads", "value"})),
    "ReduceMean": Row(lower_mean, frozenset({"axes", "keepdims", "noop_with_empty_axes"})),
    "Reshape": Row(lower_flatten, frozenset({"allowzero"})),
    "Resize": Row(lower_resize, RESIZE_ATTRIBUTES),
    "Scale": Row(lower_scale, frozenset({"by"})),
    "Sigmoid": Row(lower_unary),
    "Slice": Row(lower_slice),
    "Squeeze": Row(lower_flatten, frozenset({"axes"})),
    "Sub": Row(lower_binary),
    "Tanh": Row(lower_unary),
}
"""Every type of operation that is left after the edits and can be lowered."""

HINTS = {
    "BatchNormalization": "put it behind a convolution that nothing else reads",
    "Clip": "only Clip(0, 6), and Clip(0, none), can be lowered",
    "HardSigmoid": "only that of slope 1/6 and offset 1/2 can be lowered, behind a convolution or "
    "dense layer that nothing else reads, or as x * HardSigmoid(x)",
    "MatMul": "only a vector times a constant matrix can be lowered",
}
"""What to do about operations of which an edit takes the usual form."""


def lower(model: onnx.ModelProto) -> Lowered:
    """The plan and weights that compute what an ONNX model computes.

    Raises:
        ExportFailed: something in the model cannot be lowered; the message names it.
    """
    network = read_network(model)
    for edit in EDITS:
        network = edit(network)
    emitter = Emitter(network)
    for operation in network.operations:
        emitter.define(operation, _row(operation).lower(emitter, operation))
    return Lowered(emitter.plan(), emitter.weights)


def _row(operation: Operation) -> Row:
    row = OPERATIONS.get(operation.type)
    if row is None:
        known = "use one of " + ", ".join(OPERATIONS)
        raise unsupported(
            operation, "there is no rule for it here", HINTS.get(operation.type, known)
        )
    unknown = operation.attributes.keys() - row.attributes
    if unknown:
        raise unsupported(
            operation, f"unknown attributes {sorted(unknown)}", "export the model without them"
        )
    return row
