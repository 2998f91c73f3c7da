"""A TFLite file as plain values: its tensors and its operators.

Files may keep their constants behind the flatbuffer, write them as half-precision numbers that a
DEQUANTIZE turns into floats, and leave out biases: all of that is read. What cannot be told from a
file alone is refused: other subgraphs that control flow calls, and sizes that depend on numbers
computed while the network runs, for which a file only has placeholders.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from latency_tables.errors import NetworkUnreadable
from latency_tables.kernel import Shape
from latency_tables.tflite.schema import (
    ModelDamaged,
    buffer_bytes,
    is_filled,
    read_model,
    vector,
)

CONTROL_FLOW = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_WHILE"})
"""Operators that run other subgraphs."""

UNPACKING = frozenset({"DEQUANTIZE", "DENSIFY"})
"""Operators that turn a packed constant into a plain one."""

ABSENT = -1
"""Index of an optional input that is left out."""

_SIZE_TYPES = ("int32", "int64")

_NUMPY: dict[str, npt.DTypeLike] = {
    "float32": np.float32,
    "float16": np.float16,
    "int32": np.int32,
    "int64": np.int64,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "bool": np.bool_,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A tensor of the main subgraph.

    Attributes:
        name: in the file; need not be unique.
        shape: dimensions, in the layout of the file (NHWC).
        dtype: element type, as ``float32`` or ``int8``.
        data: bytes of a constant; None for what is computed or given.
        scales: scales of its quantization; empty when it has none.
        zero_point: of its quantization; 0 when it has none.
        quantized_dimension: along which the scales lie.
        is_sparse: whether its data leaves out zeros.
        is_variable: whether it keeps its content from run to run.
    """

    name: str
    shape: Shape
    dtype: str
    data: bytes | None
    scales: tuple[float, ...]
    zero_point: int
    quantized_dimension: int
    is_sparse: bool
    is_variable: bool

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its content."""
        return self.data is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @cached_property
    def values(self) -> npt.NDArray[Any] | None:
        """Content of a dense constant; None for anything else."""
        if self.data is None or self.is_sparse or self.dtype not in _NUMPY:
            return None
        array = np.frombuffer(self.data, _NUMPY[self.dtype])
        return array.reshape(self.shape) if array.size == self.size else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """An operator of the main subgraph.

    Attributes:
        index: place in the file.
        name: as in TFLite's schema, as ``CONV_2D``; of a custom operator its own name.
        is_custom: whether it is a custom operator.
        version: of the operator.
        inputs: indices of tensors; -1 for one that is left out.
        outputs: indices of tensors.
        options: fields of its options, as the schema names them.
        custom_options: content of a custom operator's options.
    """

    index: int
    name: str
    is_custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    custom_options: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The main subgraph of a TFLite file.

    Attributes:
        content: of the file.
        tensors: by index.
        operators: in the order of the file.
        inputs: indices of tensors.
        outputs: indices of tensors.
    """

    content: bytes
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def readers(self) -> Mapping[int, tuple[Operator, ...]]:
        """Operators that read a tensor, each once, by the tensor's index."""
        readers: dict[int, dict[int, Operator]] = defaultdict(dict)
        for operator in self.operators:
            for index in operator.inputs:
                readers[index][operator.index] = operator
        return {index: tuple(found.values()) for index, found in readers.items()}

    @cached_property
    def constants(self) -> frozenset[int]:
        """Tensors whose content is known before the network runs, packed or not."""
        known = {index for index, one in enumerate(self.tensors) if one.is_constant}
        for operator in self.operators:
            if operator.name in UNPACKING and operator.inputs[0] in known:
                known.add(operator.outputs[0])
        return frozenset(known)

    @cached_property
    def sizes(self) -> frozenset[int]:
        """Tensors of numbers that follow from shapes alone: a SHAPE and what is made of it."""
        known: set[int] = set()
        for operator in self.operators:
            reads = {one for one in operator.inputs if one != ABSENT} - self.constants
            of_sizes = bool(reads) and reads <= known
            is_whole = all(self.tensors[one].dtype in _SIZE_TYPES for one in operator.outputs)
            if operator.name == "SHAPE" or (of_sizes and is_whole):
                known.update(operator.outputs)
        return frozenset(known)

    def input(self, operator: Operator, place: int) -> Tensor | None:
        """An input of an operator; None when it is left out."""
        if place >= len(operator.inputs) or operator.inputs[place] == ABSENT:
            return None
        return self.tensors[operator.inputs[place]]

    def output(self, operator: Operator) -> Tensor:
        """The first output of an operator."""
        return self.tensors[operator.outputs[0]]


@contextmanager
def about(operator: Operator) -> Iterator[None]:
    """Say which operator it is that lacks an input, an output or an option that its kind has.

    Raises:
        NetworkUnreadable: it does.
    """
    try:
        yield
    except (
        AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError,
    ) as error:  # fmt: skip
        raise NetworkUnreadable(
            f"operator {operator.index}, {operator.name}, is not made as its kind must be "
            f"({error}); export the network again"
        ) from error


def read_network(path: Path) -> Network:
    """Read a TFLite file.

    Raises:
        NetworkUnreadable: it is missing, no TFLite model, damaged, or its work cannot be told.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise NetworkUnreadable(
            f"cannot read the network {path}: {reason}; check the path"
        ) from error
    try:
        return parse_network(content)
    except ModelDamaged as error:
        raise NetworkUnreadable(
            f"{path} {error}; give a whole file written by an export to TFLite"
        ) from error
    except NetworkUnreadable as error:
        raise NetworkUnreadable(f"{path}: {error}") from error


def parse_network(content: bytes) -> Network:
    """The network of a file's content.

    Raises:
        ModelDamaged: it is no TFLite model, or damaged.
        NetworkUnreadable: its work cannot be told.
    """
    model = read_model(content)
    graph = model.subgraphs[0]
    network = Network(
        content=content,
        tensors=tuple(_tensor(content, model, one) for one in graph.tensors),
        operators=tuple(_operator(model, *one) for one in enumerate(graph.operators)),
        inputs=tuple(map(int, vector(graph.inputs))),
        outputs=tuple(map(int, vector(graph.outputs))),
    )
    _require_static(network, len(model.subgraphs))
    return network


_TYPES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}
_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


def _tensor(content: bytes, model: Any, tensor: Any) -> Tensor:
    quantization = tensor.quantization
    scales = () if quantization is None else tuple(map(float, vector(quantization.scale)))
    zero_points = [] if quantization is None else list(vector(quantization.zeroPoint))
    buffer = model.buffers[tensor.buffer]
    return Tensor(
        name=(tensor.name or b"").decode(errors="replace"),
        shape=tuple(map(int, vector(tensor.shape))),
        dtype=_TYPES.get(tensor.type, f"type{tensor.type}"),
        data=buffer_bytes(content, buffer) if is_filled(buffer) else None,
        scales=scales,
        zero_point=int(zero_points[0]) if zero_points else 0,
        quantized_dimension=quantization.quantizedDimension if scales else 0,
        is_sparse=tensor.sparsity is not None,
        is_variable=tensor.isVariable,
    )


def _operator(model: Any, index: int, operator: Any) -> Operator:
    code = model.operatorCodes[operator.opcodeIndex]
    # Files older than 2020 only have the deprecated field.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    is_custom = number == schema.BuiltinOperator.CUSTOM
    name = (code.customCode or b"custom").decode(errors="replace") if is_custom else None
    options = operator.builtinOptions or operator.builtinOptions2
    return Operator(
        index=index,
        name=name or _NAMES.get(number, f"OPERATOR_{number}"),
        is_custom=is_custom,
        version=code.version,
        inputs=tuple(map(int, vector(operator.inputs))),
        outputs=tuple(map(int, vector(operator.outputs))),
        options={} if options is None else dict(vars(options)),
        custom_options=bytes(bytearray(vector(operator.customOptions))),
    )


def _require_static(network: Network, subgraphs: int) -> None:
    for operator in network.operators:
        if operator.name in CONTROL_FLOW:
            raise NetworkUnreadable(
                f"operator {operator.index}, {operator.name}, runs some of {subgraphs} graphs, as "
                "the data decide: no latency can be told; export it without control flow"
            )
        if operator.name == "RESHAPE" and operator.outputs:
            source, output = network.tensors[operator.inputs[0]], network.output(operator)
            if source.size != output.size:
                raise NetworkUnreadable(
                    f"the size of {output.name!r} depends on numbers that are computed while the "
                    f"network runs (operator {operator.index} makes shape {list(output.shape)} of "
                    f"{list(source.shape)}); export it with fixed input shapes"
                )
