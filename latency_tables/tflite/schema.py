"""Read a TFLite flatbuffer without trusting it.

LiteRT's own loader follows offsets and indices unchecked: half of the truncated files tried
(2.3.0, a 16 MB model cut at eight places) ended the process with a segmentation fault.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
# An offset of 0 or 1 means that the constant is stored in the flatbuffer, not behind it.
_FIRST_EXTERNAL_OFFSET = 2


class ModelDamaged(ValueError):
    """Bytes that are no TFLite model, or one whose offsets or indices lead outside of it."""


def read_model(content: bytes) -> Any:
    """The ``ModelT`` of a file's content.

    Takes some 0.2 ms per operator; the content of weights is not looked at. Damage that leaves
    a well-formed model (another operator, another shape) cannot be seen here.

    Raises:
        ModelDamaged: it is empty, not a TFLite model, truncated or damaged.
    """
    if content[4:8] != _IDENTIFIER:
        raise ModelDamaged(f"({len(content)} bytes) is not a TFLite model")
    try:
        model = schema.ModelT.InitFromPackedBuf(content)
        _check_model(model, len(content))
    # What reading past the end raises in flatbuffers and numpy, all of it in InitFromPackedBuf.
    except (
        struct.error, ValueError, TypeError, IndexError, AttributeError, OverflowError,
        MemoryError,
    ) as error:  # fmt: skip
        raise ModelDamaged(f"({len(content)} bytes) is truncated or damaged ({error})") from error
    return model


def buffer_bytes(content: bytes, buffer: Any) -> bytes:
    """The content of a constant, which may stand behind the flatbuffer; empty when it has none."""
    if buffer.offset >= _FIRST_EXTERNAL_OFFSET:
        return content[buffer.offset : buffer.offset + buffer.size]
    return b"" if buffer.data is None else bytes(memoryview(buffer.data))


def is_filled(buffer: Any) -> bool:
    """Whether a buffer holds a constant."""
    return buffer.offset >= _FIRST_EXTERNAL_OFFSET or (
        buffer.data is not None and len(buffer.data) > 0
    )


def vector(values: Any) -> Iterable[int]:
    """A vector of the flatbuffer, which is None when it is empty."""
    return () if values is None else values


def _check_model(model: Any, size_bytes: int) -> None:
    for buffer in model.buffers:
        if buffer.offset >= _FIRST_EXTERNAL_OFFSET and buffer.offset + buffer.size > size_bytes:
            raise ValueError("a constant lies behind the end of the file")
    if not model.subgraphs:
        raise ValueError("no subgraph")
    for graph in model.subgraphs:
        _check_subgraph(graph, len(model.buffers), len(model.operatorCodes or ()))
    for signature in model.signatureDefs or ():
        _check_indices([signature.subgraphIndex], len(model.subgraphs), "subgraph")
        tensors = [*(signature.inputs or ()), *(signature.outputs or ())]
        count = len(model.subgraphs[signature.subgraphIndex].tensors)
        _check_indices((tensor.tensorIndex for tensor in tensors), count, "tensor")


def _check_subgraph(graph: Any, buffers: int, operator_codes: int) -> None:
    tensors = len(graph.tensors)
    # flatbuffers for Python cuts a text whose length is wrong; what it took in ends with zeros.
    if any(b"\0" in (tensor.name or b"") for tensor in graph.tensors):
        raise ValueError("the name of a tensor holds a zero byte")
    _check_indices((tensor.buffer for tensor in graph.tensors), buffers, "buffer")
    _check_indices(vector(graph.inputs), tensors, "tensor")
    _check_indices(vector(graph.outputs), tensors, "tensor")
    for operator in graph.operators:
        _check_indices([operator.opcodeIndex], operator_codes, "operator code")
        # An optional input that is left out has index -1.
        _check_indices(
            (index for index in vector(operator.inputs) if index != -1), tensors, "tensor"
        )
        _check_indices(vector(operator.outputs), tensors, "tensor")


def _check_indices(indices: Iterable[int], count: int, noun: str) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise ValueError(f"{noun} {index} of {count}")
