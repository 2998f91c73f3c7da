"""A piece of a TFLite file as a file of its own, to measure its kernels in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from latency_tables.tflite.network import ABSENT, UNPACKING, Network, Operator
from latency_tables.tflite.schema import buffer_bytes, is_filled, read_model


def cut(network: Network, operators: Collection[int]) -> bytes:
    """The content of a file with some of a network's operators.

    Their constants come along, unpacked as in the whole network, and what makes the sizes that
    they read of shapes. What they read of other operators becomes an input, what others read of
    them an output. Constants that stood behind the flatbuffer stand in it.

    Args:
        network: the whole.
        operators: indices of the operators to keep; at least one.
    """
    chosen = set(operators)
    kept = _with_their_constants(network, chosen)
    model = read_model(network.content)
    graph = model.subgraphs[0]
    numbers: dict[int, int] = {ABSENT: ABSENT}
    for operator in kept:
        for index in (*operator.inputs, *operator.outputs):
            numbers.setdefault(index, len(numbers) - 1)
    inputs, outputs = _borders(network, kept, chosen)
    piece = schema.SubGraphT()
    piece.name = "piece"
    piece.tensors = [graph.tensors[index] for index in numbers if index != ABSENT]
    piece.operators = [graph.operators[operator.index] for operator in kept]
    piece.inputs = [numbers[index] for index in inputs]
    piece.outputs = [numbers[index] for index in outputs]
    for operator, made in zip(kept, piece.operators, strict=True):
        made.inputs = np.array([numbers[index] for index in operator.inputs], np.int32)
        made.outputs = np.array([numbers[index] for index in operator.outputs], np.int32)
    new = schema.ModelT()
    new.version = model.version
    new.description = "pocketnas"
    new.subgraphs = [piece]
    new.operatorCodes = model.operatorCodes
    new.buffers = _own_buffers(network.content, model, piece.tensors)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(new.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _with_their_constants(network: Network, chosen: set[int]) -> list[Operator]:
    """The chosen operators and those that make constants or sizes for them, in their order."""
    kept: list[Operator] = []
    read: set[int] = set()
    for operator in reversed(network.operators):
        unpacks = operator.name in UNPACKING and operator.inputs[0] in network.constants
        is_extra = unpacks or network.sizes.issuperset(operator.outputs)
        if operator.index in chosen or (is_extra and read.intersection(operator.outputs)):
            kept.append(operator)
            read.update(operator.inputs)
    return kept[::-1]


def _borders(
    network: Network, kept: list[Operator], chosen: set[int]
) -> tuple[list[int], list[int]]:
    """Tensors that the piece is given, and that it gives."""
    made = {index for operator in kept for index in operator.outputs}
    given: dict[int, None] = {}
    wanted: dict[int, None] = {}
    for operator in kept:
        for index in operator.inputs:
            if index not in made and index != ABSENT and _is_fed(network, index):
                given[index] = None
        for index in operator.outputs:
            readers = {reader.index for reader in network.readers.get(index, ())}
            is_read_elsewhere = not readers or not readers <= {one.index for one in kept}
            is_wanted = is_read_elsewhere or index in network.outputs
            if operator.index in chosen and is_wanted and index not in network.sizes:
                wanted[index] = None
    return list(given), list(wanted)


def _is_fed(network: Network, index: int) -> bool:
    tensor = network.tensors[index]
    return not tensor.is_constant and not tensor.is_variable


def _own_buffers(content: bytes, model: Any, tensors: list[Any]) -> list[Any]:
    """The buffers of the tensors, inside of the flatbuffer; tensors are changed to name them."""
    buffers = [schema.BufferT()]
    places: dict[int, int] = {}
    for tensor in tensors:
        source = model.buffers[tensor.buffer]
        if not is_filled(source):
            tensor.buffer = 0
            continue
        if tensor.buffer not in places:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(buffer_bytes(content, source), np.uint8)
            places[tensor.buffer] = len(buffers)
            buffers.append(buffer)
        tensor.buffer = places[tensor.buffer]
    return buffers
