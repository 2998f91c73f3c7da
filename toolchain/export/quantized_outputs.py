"""Mend the outputs of a quantized TFLite file that are also read inside, as a state is.

litert-quantizer 0.11 leaves such an output as it is in the signature, but may name a requantized
copy of it as the graph's output; and it cannot convert it to float32.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def with_outputs_of_signature(content: bytes, *, as_float: bool) -> bytes:
    """The content of the file with the outputs that its signature names.

    Args:
        content: of a file with one graph and one signature, whose outputs are all quantized.
        as_float: whether to convert them to float32, by a DEQUANTIZE each at the end.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    _take_in_constants(model, content)
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    if as_float:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 2  # int8 since then
        model.operatorCodes.append(code)
        for entry in signature.outputs:
            entry.tensorIndex = _add_conversion(
                graph, entry.tensorIndex, len(model.operatorCodes) - 1
            )
    graph.outputs = np.array([entry.tensorIndex for entry in signature.outputs], np.int32)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _take_in_constants(model: Any, content: bytes) -> None:
    """Let the flatbuffer hold constants that stand behind it, whose places move."""
    for buffer in model.buffers:
        if buffer.offset > 1:
            stored = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(stored, np.uint8)
            buffer.offset = buffer.size = 0


def _add_conversion(graph: Any, source: int, code_index: int) -> int:
    """Convert a tensor by an operator at the end; returns the new tensor."""
    quantized = graph.tensors[source]
    tensor = schema.TensorT()
    tensor.shape = quantized.shape
    tensor.type = schema.TensorType.FLOAT32
    tensor.name = quantized.name
    tensor.buffer = 0
    quantized.name = quantized.name + b"_int8"
    graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex = code_index
    operator.inputs = np.array([source], np.int32)
    operator.outputs = np.array([len(graph.tensors) - 1], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    graph.operators.append(operator)
    return len(graph.tensors) - 1
