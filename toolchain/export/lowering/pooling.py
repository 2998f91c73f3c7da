"""Pooling: MaxPool, GlobalAveragePool, ReduceMean over the image."""

from __future__ import annotations

from latency_tables.kernel import NO_ACTIVATION, make_kernel
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Network, Operation, unsupported
from toolchain.export.lowering.padding import emit_pad
from toolchain.export.lowering.window import ATTRIBUTES, read_window

MAX_POOL_ATTRIBUTES = ATTRIBUTES | {"ceil_mode", "storage_order"}
"""``ceil_mode`` is in the output's shape; ``storage_order`` is about an output we do not have."""

IMAGE_AXES = {2, 3}

_NEVER_NEGATIVE = ("Clamp", "Sigmoid")
_KEEP_SIGN = ("Add", "Concat", "MaxPool", "Mul", "Pad")


def lower_max_pool(emitter: Emitter, operation: Operation) -> Value:
    """Largest value of each window; what lies outside of the map never wins."""
    source = emitter.read(operation)
    window = read_window(
        operation,
        emitter.network.shape(operation.inputs[0], operation),
        emitter.network.shape(operation.output, operation),
        tuple(operation.attributes["kernel_shape"]),
    )
    if window.kernel == (1, 1):
        # XNNPACK leaves it to LiteRT's own kernel, which splits the network (LiteRT 2.3).
        raise unsupported(operation, "its window is 1x1", "use a convolution with that stride")
    attributes = window.attributes()
    if window.is_padded_by_hand:
        if not _is_never_negative(emitter.network, operation.inputs[0]):
            raise unsupported(
                operation,
                f"it needs padding (top, left, bottom, right) = {window.pads}, which is not SAME, "
                "and where inputs may be negative zeros cannot stand for it",
                "pad as SAME does, or pool after a ReLU",
            )
        source = emit_pad(emitter, source, window.pads)
        attributes["padding"] = "valid"
    kernel = make_kernel(
        "max_pool2d",
        (source.shape,),
        emitter.shape(operation),
        attributes,
        operation.activation,
    )
    return emitter.emit(kernel, source)


def lower_mean(emitter: Emitter, operation: Operation) -> Value:
    """Mean of each channel over the image: a vector, or a map of size 1x1."""
    if operation.type == "ReduceMean":
        axes = emitter.network.setting(operation, 1, "axes")
        rank = len(emitter.network.shape(operation.inputs[0], operation))
        if axes is None or rank != 4 or {int(axis) % 4 for axis in axes} != IMAGE_AXES:
            raise unsupported(
                operation,
                f"axes={'all' if axes is None else axes.tolist()} of rank {rank}",
                "take the mean over rows and columns, axes 2 and 3",
            )
    source = emitter.read(operation)
    kernel = make_kernel("mean", (source.shape,), emitter.shape(operation), {"axes": "1x2"})
    return emitter.emit(kernel, source)


def _is_never_negative(network: Network, name: str) -> bool:
    """Whether a value is 0 or greater for every image, as far as its operations tell."""
    producers = {operation.output: operation for operation in network.operations}
    pending = [name]
    while pending:
        producer = producers.get(pending.pop())
        if producer is None:
            return False
        if producer.type in _NEVER_NEGATIVE or producer.activation != NO_ACTIVATION:
            continue
        if producer.type not in _KEEP_SIGN:
            return False
        pending += producer.inputs[:1] if producer.type == "Pad" else producer.inputs
    return True
