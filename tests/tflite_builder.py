"""Write small TFLite networks of any operator, as others might."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SCALE = 1 / 16
"""Of all quantized activations, so that nothing has to change scales."""


class NetworkBuilder:
    """Collects tensors and operators of one subgraph."""

    def __init__(self, dtype: str = "float32") -> None:
        """Make an empty network whose activations are of this type."""
        self.dtype = dtype
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.inputs: list[int] = []
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: tuple[int, ...],
        *,
        dtype: str | None = None,
        data: Any = None,
        scales: int | None = None,
        axis: int = 0,
    ) -> int:
        """A tensor; a constant if data are given. 8-bit ones have one scale or ``scales``."""
        dtype = dtype or self.dtype
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape = list(shape)
        tensor.type = getattr(schema.TensorType, dtype.upper())
        tensor.buffer = 0
        if dtype in ("int8", "uint8") or scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [SCALE] * (scales or 1)
            zero = 128 if dtype == "uint8" else 0
            tensor.quantization.zeroPoint = [zero] * (scales or 1)
            tensor.quantization.quantizedDimension = axis
        if data is not None:
            kind = np.float16 if dtype == "float16" else np.dtype(dtype)
            buffer = schema.BufferT()
            content = np.broadcast_to(np.asarray(data, kind), shape)
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, *shape: int, dtype: str | None = None) -> int:
        """A further input of the network."""
        self.inputs.append(self.tensor(shape, dtype=dtype))
        return self.inputs[-1]

    def numbers(self, *values: int) -> int:
        """A constant of int32 numbers in a row."""
        return self.tensor((len(values),), dtype="int32", data=values)

    def operator(
        self,
        kind: str,
        inputs: list[int],
        *shapes: tuple[int, ...],
        to: str | None = None,
        custom: bytes | None = None,
        version: int = 1,
        **options: Any,
    ) -> int:
        """An operator; the index of its first output. Options are of the operator's own type."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, "CUSTOM" if custom else kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.customCode = kind if custom else None
        code.version = version
        self.model.operatorCodes.append(code)
        node = schema.OperatorT()
        node.opcodeIndex = len(self.model.operatorCodes) - 1
        node.inputs = list(inputs)
        node.outputs = [self.tensor(shape, dtype=to) for shape in shapes]
        if custom:
            node.customOptions = list(custom)
        name = options.pop("type", None)
        if name:
            node.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            node.builtinOptions = getattr(schema, f"{name}T")()
            for field, value in options.items():
                setattr(node.builtinOptions, field, value)
        self.graph.operators.append(node)
        return node.outputs[0]

    def convolution(
        self,
        source: int,
        channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        activation: int = 0,
        valid: bool = False,
        depthwise: bool = False,
        weights: str | None = None,
        per_channel: bool = True,
        zeros: int = 0,
    ) -> int:
        """A convolution or a depthwise one, padded as SAME says unless ``valid``."""
        batch, rows, columns, depth = self.graph.tensors[source].shape
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, depth)
        weights = weights or self.dtype
        scales = channels if weights == "int8" and per_channel else None
        axis = 3 if depthwise else 0
        rng = np.random.default_rng(0)
        draw = rng.integers(-5, 5, shape)
        filters = self.tensor(
            shape, dtype=weights, data=draw, scales=scales, axis=axis if scales else 0
        )
        bias_type = "float32" if self.dtype == "float32" else "int32"
        bias = self.tensor((channels,), dtype=bias_type, data=0,
                           scales=(scales or 1) if bias_type == "int32" else None)  # fmt: skip
        if bias_type == "int32":
            self.graph.tensors[bias].quantization.scale = [SCALE * SCALE] * (scales or 1)
        if weights == "float16":
            filters = self.operator("DEQUANTIZE", [filters], shape, to="float32",
                                    type="DequantizeOptions")  # fmt: skip
        size = [
            (one - kernel) // stride + 1 if valid else -(-one // stride) for one in (rows, columns)
        ]
        return self.operator(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [source, filters, bias],
            (batch, *size, channels),
            type="DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
            padding=int(valid),
            strideH=stride,
            strideW=stride,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=activation,
            **({"depthMultiplier": channels // depth} if depthwise else {}),
            version=3,
        )

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self.graph.tensors[index].shape)

    def content(self, *outputs: int) -> bytes:
        """The file, with these outputs."""
        self.graph.inputs, self.graph.outputs = self.inputs, list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
