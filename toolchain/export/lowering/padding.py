"""Zeros around a feature map that no convolution takes in: Pad."""

from __future__ import annotations

from latency_tables.kernel import make_kernel
from toolchain.export.lowering.edits.padding import Pads, zeros_around
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.export.lowering.window import pads_text


def lower_pad(emitter: Emitter, operation: Operation) -> Value:
    """Zeros above, below, left and right."""
    source = emitter.read(operation)
    pads = zeros_around(emitter.network, operation)
    if pads is None:
        raise unsupported(
            operation, "it does more than put zeros around an image", "use constant zero padding"
        )
    return emit_pad(emitter, source, pads)


def emit_pad(emitter: Emitter, source: Value, pads: Pads) -> Value:
    """The kernel that puts zeros around a feature map."""
    batch, rows, columns, channels = source.shape
    top, left, bottom, right = pads
    output = (batch, top + rows + bottom, left + columns + right, channels)
    kernel = make_kernel("pad", (source.shape,), output, {"pads": pads_text(pads)})
    return emitter.emit(kernel, source)
