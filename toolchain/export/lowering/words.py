"""Operations of networks that read texts: a table of words, and rows of matrices."""

from __future__ import annotations

from latency_tables.kernel import make_kernel
from toolchain.export.flatbuffer import Weights
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.kernels import lookup_kernel, stack_tree


def lower_gather(emitter: Emitter, operation: Operation) -> Value:
    """Rows of a constant table, by the numbers of words."""
    name = operation.reads(1)
    if operation.attributes.get("axis", 0) != 0 or name not in emitter.network.words:
        raise unsupported(
            operation,
            f"it takes along axis {operation.attributes.get('axis', 0)} what {name!r} names",
            "only rows of a table can be taken, by words that the network reads",
        )
    table = emitter.constant(operation, 0)
    words = emitter.read(operation, 1)
    rows, features = table.shape
    kernel = lookup_kernel(rows, features, words.shape[0])
    return emitter.emit(
        kernel, words, weights=Weights(table, None), filter_of=(operation.inputs[0], False)
    )


def lower_slice(emitter: Emitter, operation: Operation) -> Value:
    """One row of several."""
    source = emitter.read(operation)
    begin, end, axis, step = (
        _number(emitter, operation, place, name, default)
        for place, (name, default) in enumerate(
            (("starts", None), ("ends", None), ("axes", 0), ("steps", 1)), start=1
        )
    )
    output = emitter.shape(operation)
    is_row = len(source.shape) == 2 and output[0] == 1 and (axis, step) == (0, 1)
    if begin is None or end is None or not is_row:
        raise unsupported(
            operation,
            f"it makes {output} of {source.shape}",
            "only one row of a matrix can be taken, along axis 0",
        )
    kernel = make_kernel("slice", (source.shape,), output)
    return emitter.emit(kernel, source, row=begin % source.shape[0])


def _number(
    emitter: Emitter, operation: Operation, place: int, name: str, default: int | None
) -> int | None:
    """A setting that is one number; None when it is several."""
    setting = emitter.network.setting(operation, place, name)
    if setting is None:
        return default
    return int(setting.item()) if setting.size == 1 else None


def stack_rows(emitter: Emitter, sources: list[Value]) -> Value:
    """Matrices of one row each as one, by a tree of concats that XNNPACK takes."""
    made: list[Value] = []
    for kernel, reads in stack_tree(len(sources), sources[0].shape[1]):
        inputs = [sources[read] if read >= 0 else made[-read - 1] for read in reads]
        made.append(emitter.emit(kernel, *inputs))
    return made[-1]
