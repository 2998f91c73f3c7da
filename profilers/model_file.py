"""Check that a TFLite file is whole before C code that trusts every offset reads it.

LiteRT's own loader follows offsets and indices unchecked: half of the truncated files tried
(2.3.0, a 16 MB model cut at eight places) ended the process with a segmentation fault.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from profilers.errors import ModelRejected

_IDENTIFIER = b"TFL3"
# An offset of 0 or 1 means that the constant is stored in the flatbuffer, not behind it.
_FIRST_EXTERNAL_OFFSET = 2


class _Damaged(Exception):
    """An index of the file points outside of what it indexes."""


def verify_model_file(path: Path) -> None:
    """Check that each offset and index of a model stays inside the file.

    Takes some 0.2 ms per operator; the content of weights is not looked at. Damage that leaves
    a well-formed model (another operator, another shape) cannot be seen here.

    Raises:
        ModelRejected: The file is missing, empty, not a TFLite model, truncated or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelRejected(f"cannot read the model {path}: {reason}; check the path") from error
    if content[4:8] != _IDENTIFIER:
        raise ModelRejected(
            f"{path} ({len(content)} bytes) is not a TFLite model; give a file written by an "
            "export to TFLite"
        )
    try:
        _check_model(schema.ModelT.InitFromPackedBuf(content), len(content))
    # What reading past the end raises in flatbuffers and numpy, all of it in InitFromPackedBuf.
    except (
        struct.error, ValueError, TypeError, IndexError, AttributeError, OverflowError,
        MemoryError, _Damaged,
    ) as error:  # fmt: skip
        raise ModelRejected(
            f"{path} ({len(content)} bytes) is truncated or damaged ({error}); "
            "export or copy it again"
        ) from error


def _check_model(model: Any, size_bytes: int) -> None:
    for buffer in model.buffers:
        if buffer.offset >= _FIRST_EXTERNAL_OFFSET and buffer.offset + buffer.size > size_bytes:
            raise _Damaged("a constant lies behind the end of the file")
    if not model.subgraphs:
        raise _Damaged("no subgraph")
    for graph in model.subgraphs:
        _check_subgraph(graph, len(model.buffers), len(model.operatorCodes))
    for signature in model.signatureDefs or ():
        _check_indices([signature.subgraphIndex], len(model.subgraphs), "subgraph")
        tensors = [*(signature.inputs or ()), *(signature.outputs or ())]
        count = len(model.subgraphs[signature.subgraphIndex].tensors)
        _check_indices((tensor.tensorIndex for tensor in tensors), count, "tensor")


def _check_subgraph(graph: Any, buffers: int, operator_codes: int) -> None:
    tensors = len(graph.tensors)
    # flatbuffers for Python cuts a text whose length is wrong; what it took in ends with zeros.
    if any(b"\0" in (tensor.name or b"") for tensor in graph.tensors):
        raise _Damaged("the name of a tensor holds a zero byte")
    _check_indices((tensor.buffer for tensor in graph.tensors), buffers, "buffer")
    _check_indices(_vector(graph.inputs), tensors, "tensor")
    _check_indices(_vector(graph.outputs), tensors, "tensor")
    for operator in graph.operators:
        _check_indices([operator.opcodeIndex], operator_codes, "operator code")
        # An optional input that is left out has index -1.
        _check_indices(
            (index for index in _vector(operator.inputs) if index != -1), tensors, "tensor"
        )
        _check_indices(_vector(operator.outputs), tensors, "tensor")


def _vector(values: Any) -> Iterable[int]:
    return () if values is None else values


def _check_indices(indices: Iterable[int], count: int, noun: str) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise _Damaged(f"{noun} {index} of {count}")
