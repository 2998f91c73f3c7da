"""Small TFLite models for the tests of profilers, written with the schema's object API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "bool": schema.TensorType.BOOL,
    "string": schema.TensorType.STRING,
}


class ModelBuilder:
    """Collects the tensors and operators of one subgraph, then writes the file."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.model.subgraphs = [self.graph]

    def tensor(
        self, shape: tuple[int, ...], *, dtype: str = "float32", data: np.ndarray | None = None
    ) -> int:
        """Add a tensor and return its index."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape = list(shape)
        tensor.type = _TENSOR_TYPES[dtype]
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], shape: tuple[int, ...], options: Any = None
    ) -> int:
        """Add an operator with one float output and return the output's index."""
        node = schema.OperatorT()
        node.opcodeIndex = self.operator_code(kind)
        output = self.tensor(shape)
        node.inputs, node.outputs = list(inputs), [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            node.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            node.builtinOptions = options
        self.graph.operators.append(node)
        return output

    def operator_code(self, kind: str) -> int:
        """Add an operator code and return its index."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def concatenation(self, inputs: list[int], shape: tuple[int, ...]) -> int:
        """Add a concatenation over the last axis."""
        options = schema.ConcatenationOptionsT()
        options.axis = len(shape) - 1
        return self.operator("CONCATENATION", inputs, shape, options)

    def fully_connected(self, source: int, weights: np.ndarray) -> int:
        """Add ``x @ weights.T`` for a two-dimensional ``x`` of one row."""
        constant = self.tensor(weights.shape, data=weights)
        options = schema.FullyConnectedOptionsT()
        # Else XNNPACK runs a reshape first.
        options.keepNumDims = True
        shape = (1, weights.shape[0])
        return self.operator("FULLY_CONNECTED", [source, constant, -1], shape, options)

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        """Write the model, its signature named as TensorFlow names it."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.subgraphIndex = 0
        signature.inputs = [self._signature_tensor(index) for index in inputs]
        signature.outputs = [self._signature_tensor(index) for index in outputs]
        self.model.signatureDefs = [signature]
        path.write_bytes(self.packed())
        return path

    def packed(self) -> bytes:
        """The content of the file as the model now is."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _signature_tensor(self, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name = self.graph.tensors[index].name
        entry.tensorIndex = index
        return entry


def write_dense(path: Path, *, features: int = 8, layers: int = 1, seed: int = 0) -> Path:
    """Write a chain of square fully connected layers without bias."""
    generator = np.random.default_rng(seed)
    builder = ModelBuilder()
    source = value = builder.tensor((1, features))
    for _ in range(layers):
        weights = generator.standard_normal((features, features)).astype(np.float32)
        value = builder.fully_connected(value, weights / np.float32(features**0.5))
    return builder.write(path, [source], [value])


def write_concatenation(path: Path, *, branches: int, side: int = 8, channels: int = 4) -> Path:
    """Write: an absolute value per branch, their concatenation, a negation."""
    builder = ModelBuilder()
    source = builder.tensor((1, side, side, channels))
    values = [
        builder.operator("ABS", [source], (1, side, side, channels)) for _ in range(branches)
    ]
    shape = (1, side, side, channels * branches)
    joined = builder.concatenation(values, shape)
    return builder.write(path, [source], [builder.operator("NEG", [joined], shape)])


def write_branch(path: Path) -> Path:
    """Write a model that takes the absolute value or negates, as its first input says."""
    builder = ModelBuilder()
    condition, source = builder.tensor((1,), dtype="bool"), builder.tensor((1, 4))
    options = schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    output = builder.operator("IF", [condition, source], (1, 4), options)
    for kind in ("ABS", "NEG"):
        branch = ModelBuilder()
        inner = branch.tensor((1, 4))
        branch.graph.inputs = [inner]
        branch.graph.outputs = [branch.operator(kind, [inner], (1, 4))]
        branch.graph.operators[0].opcodeIndex = builder.operator_code(kind)
        builder.model.subgraphs.append(branch.graph)
    return builder.write(path, [condition, source], [output])


def write_unknown_operator(path: Path) -> Path:
    """Write a model with a custom operator that no runtime knows."""
    builder = ModelBuilder()
    source = builder.tensor((1, 4))
    output = builder.operator("CUSTOM", [source], (1, 4))
    builder.model.operatorCodes[0].customCode = "Unknown"
    return builder.write(path, [source], [output])
