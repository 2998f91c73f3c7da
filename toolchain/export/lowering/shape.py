"""Operations that only move numbers: Concat, Flatten, Reshape, Squeeze."""

from __future__ import annotations

import math

from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.export.lowering.words import stack_rows
from toolchain.kernels import concat_tree

CHANNELS = 1


def lower_concat(emitter: Emitter, operation: Operation) -> Value:
    """Channels of several values, or vectors of several words, as a tree that XNNPACK takes."""
    rank = len(emitter.shape(operation))
    axis = operation.attributes["axis"] % rank
    sources = [emitter.read(operation, position) for position in range(len(operation.inputs))]
    if (
        axis == 0
        and len(sources) > 1
        and all(len(s.shape) == 2 and s.shape[0] == 1 for s in sources)
    ):
        return stack_rows(emitter, sources)
    if axis != CHANNELS:
        raise unsupported(operation, f"axis={axis}", "concatenate channels, axis 1")
    shapes = [emitter.network.shape(name, operation)[1:] for name in operation.inputs]
    made: list[Value] = []
    for kernel, reads in concat_tree(shapes):
        made.append(
            emitter.emit(
                kernel, *(sources[read] if read >= 0 else made[-read - 1] for read in reads)
            )
        )
    return made[-1] if made else sources[0]


def lower_flatten(emitter: Emitter, operation: Operation) -> Value:
    """A feature map as a vector; it is left to the reader whether that needs a kernel."""
    source = emitter.read_unflattened(operation)
    output = emitter.shape(operation)
    if output != (1, math.prod(source.shape)):
        raise unsupported(
            operation,
            f"it makes {output} of {source.shape} (NHWC)",
            "only a whole feature map can be reshaped, to a vector",
        )
    return source
