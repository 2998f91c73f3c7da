"""Run a model of one operator before the first measurement: does the C API do what we expect?

The layout of its structures is not promised. A change would show as wrong numbers, so that one
model whose answer is known is run and profiled once per process (about 0.3 s, most of it loading).
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from profilers.compiled_model import CompiledModel, EventKind, TensorSpec
from profilers.errors import ModelRejected, RuntimeUnavailable
from profilers.litert_library import REQUIREMENT, CallFailed, runtime_identity

_INPUT = np.array([[-1.0, 2.0, -3.0, 4.0]], np.float32)
_SPEC = TensorSpec(shape=_INPUT.shape, dtype=_INPUT.dtype)
_LONGEST_RUN_US = 10_000_000


@functools.cache
def check_runtime() -> None:
    """Test LiteRT once per process.

    Raises:
        RuntimeUnavailable: LiteRT is missing, of another version, or behaves differently.
    """
    with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
        path = Path(folder) / "self_test.tflite"
        path.write_bytes(_absolute_value_model())
        try:
            complaint = _complaint(path)
        except (ModelRejected, CallFailed) as error:
            complaint = str(error)
    if complaint:
        runtime = runtime_identity()
        raise RuntimeUnavailable(
            f"{runtime.name} {runtime.version} fails the self-test ({complaint}); "
            f"reinstall it: pip install --force-reinstall '{REQUIREMENT}'"
        )


def _complaint(path: Path) -> str:
    """Run the model; return what is wrong with the results, or nothing."""
    model = CompiledModel(path, threads=1, profile=True)
    try:
        if (model.inputs, model.outputs) != ((_SPEC,), (_SPEC,)):
            return f"tensors read as {model.inputs} and {model.outputs}"
        model.write(0, _INPUT)
        events = model.run_profiled(1)
        output = model.read(0)
    finally:
        model.close()
    if not np.array_equal(output, np.abs(_INPUT)):
        return f"the absolute value of {_INPUT.tolist()} is {output.tolist()}"
    operators = [event.kind for event in events if event.kind != EventKind.GENERAL]
    graphs = [event for event in events if event.name == "Invoke"]
    if operators != [EventKind.DELEGATED_OPERATOR] or len(graphs) != 1:
        return f"one operator reads as {events}"
    if max(event.elapsed_us for event in events) > _LONGEST_RUN_US:
        return f"times read as {events}"
    return ""


def _absolute_value_model() -> bytes:
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x"), _tensor("y")]
    graph.inputs, graph.outputs = [0], [1]
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = [0], [1]
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
    code.version = 1
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes, model.subgraphs = [code], [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name = name
    tensor.shape = list(_SPEC.shape)
    tensor.type = schema.TensorType.FLOAT32
    tensor.buffer = 0
    return tensor
