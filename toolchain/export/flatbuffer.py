"""Write a plan as a TFLite flatbuffer.

Both producers of TFLite files end here: probe networks (a graph's plan with random weights) and
the lowering of an ONNX model (its own plan with trained weights). One kernel becomes one TFLite
operator, NHWC, without a TRANSPOSE anywhere, with three exceptions that XNNPACK makes (seen with
its profiler, LiteRT 2.3):

* a FULLY_CONNECTED flattens its input in a kernel of its own, which has no operator, unless it is
  told to keep the dimensions;
* a PAD is part of the VALID convolution after it, so that both are one kernel;
* an ADD with an activation is two kernels, and the only form that XNNPACK takes in int8: a RELU of
  its own would split a quantized network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from latency_tables.kernel import Kernel, Shape
from toolchain.export.operators import Operator, Pads, make_operator, own_pads, pad_operator
from toolchain.kernels import Plan, Step

Array = npt.NDArray[np.float32]

SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Weights:
    """Constants of one kernel.

    Attributes:
        filter: OHWI of a convolution, transposed or not, 1HWC of a depthwise one, OI of a dense
            layer, or the table of an embedding.
        bias: one number for each output channel; None of an embedding, which has none.
    """

    filter: Array
    bias: Array | None


def weight_shape(kernel: Kernel) -> Shape | None:
    """Shape of a kernel's filter as TFLite stores it; None when the kernel has no weights."""
    channels = kernel.output[-1]
    match kernel.kind:
        case "conv2d" | "conv_transpose2d":
            return (channels, *kernel.pair("kernel"), kernel.inputs[0][-1])
        case "depthwise_conv2d":
            return (1, *kernel.pair("kernel"), channels)
        case "fully_connected":
            return (channels, kernel.inputs[0][-1])
        case "embedding_lookup":
            words, features = kernel.pair("with")
            return (words, features)
    return None


def random_weights(plan: Plan, seed: int) -> dict[int, Weights]:
    """Weights that keep activations near unit variance, so that no timing meets denormals.

    Returns:
        Weights by the index of the step.
    """
    rng = np.random.default_rng(seed)
    weights: dict[int, Weights] = {}
    for index, step in enumerate(plan.steps):
        shape = weight_shape(step.kernel)
        if shape is not None:
            bias = np.full(step.kernel.output[-1], 0.01, np.float32)
            if step.shares is not None:
                weights[index] = Weights(weights[step.shares].filter, bias)
                continue
            fan_in = math.prod(shape[1:3]) if shape[0] == 1 else math.prod(shape[1:])
            is_table = step.kernel.kind == "embedding_lookup"
            draw = rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / fan_in))
            weights[index] = Weights(draw, None if is_table else bias)
    return weights


def write_tflite(plan: Plan, weights: Mapping[int, Weights]) -> bytes:
    """The plan as the content of a ``.tflite`` file.

    Args:
        plan: the kernels and how they are wired.
        weights: constants of every step that has some, by its index; of a step that shares the
            filter of another, the filter is not looked at.

    Raises:
        ValueError: a kernel's weights are absent or of another shape, or no operator is known for
            a kernel.
    """
    writer = _Writer()
    values = [writer.tensor(port.shape, port.name, dtype=port.dtype) for port in plan.inputs]
    sources = len(values)
    names = {result.value: result.name for result in plan.outputs}
    filters: dict[int, int] = {}
    clamps = _clamps_of_sums(plan)
    flattened = _flattened_by_runtime(plan)
    left_out = flattened | {index + 1 for index in clamps}
    for index, step in enumerate(plan.steps):
        kernel = step.kernel
        inputs = [values[read] for read in step.inputs]
        if index in left_out:
            values += inputs
            continue
        pads = own_pads(kernel)
        if pads is not None:
            padded = writer.tensor(_padded(kernel.inputs[0], pads), f"padded_{index}")
            writer.operator(pad_operator(pads), inputs, padded)
            inputs = [padded]
        value = sources + index
        name = names.get(value + (index in clamps), names.get(value, f"value_{index}"))
        output = writer.tensor(kernel.output, name)
        inputs = _with_constants(writer, step, index, inputs, weights.get(index), filters)
        activation = clamps.get(index, kernel.activation)
        operator = make_operator(replace(kernel, activation=activation))
        if kernel.kind == "fully_connected" and step.inputs[0] - sources not in flattened:
            operator.options.keepNumDims = True
        writer.operator(operator, inputs, output)
        values.append(output)
    return writer.finish(plan, values)


def _flattened_by_runtime(plan: Plan) -> set[int]:
    """Indices of the flatten steps that only dense layers read, which bring their own."""
    sources = len(plan.inputs)
    flattens = {index for index, step in enumerate(plan.steps) if step.kernel.kind == "flatten"}
    read_otherwise = {
        read - sources
        for step in plan.steps
        if step.kernel.kind != "fully_connected"
        for read in step.inputs
    }
    return flattens - read_otherwise - {result.value - sources for result in plan.outputs}


def _clamps_of_sums(plan: Plan) -> dict[int, str]:
    """Range of the clamp after each sum that nothing else reads, by the index of the sum."""
    sources = len(plan.inputs)
    readers = Counter(read for step in plan.steps for read in step.inputs)
    readers.update(result.value for result in plan.outputs)
    return {
        index: clamp.kernel.attribute("range")
        for index, (add, clamp) in enumerate(pairwise(plan.steps))
        if (add.kernel.kind, clamp.kernel.kind) == ("add", "clamp")
        and clamp.inputs == (sources + index,)
        and readers[sources + index] == 1
    }


def _padded(shape: Shape, pads: Pads) -> Shape:
    batch, rows, columns, channels = shape
    return (batch, rows + sum(pads[:2]), columns + sum(pads[2:]), channels)


class _Writer:
    """Collects tensors, buffers and operators of one subgraph."""

    def __init__(self) -> None:
        self._subgraph = schema.SubGraphT()
        self._subgraph.name = "main"
        self._subgraph.tensors = []
        self._subgraph.operators = []
        self._buffers = [schema.BufferT()]
        self._codes: list[tuple[int, int]] = []

    def tensor(
        self,
        shape: Shape,
        name: str,
        content: npt.NDArray[np.generic] | None = None,
        dtype: str = "float32",
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(schema.TensorType, dtype.upper())
        tensor.name = name
        tensor.buffer = 0
        if content is not None:
            if content.dtype == np.int32:
                tensor.type = schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = np.ascontiguousarray(content).view(np.uint8).ravel()
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._subgraph.tensors.append(tensor)
        return len(self._subgraph.tensors) - 1

    def operator(self, kind: Operator, inputs: list[int], output: int) -> None:
        if kind.settings is not None:
            name = f"settings_{len(self._subgraph.operators)}"
            settings = self.tensor(kind.settings.shape, name, kind.settings)
            if kind.reads_settings_first:
                source, weights, *bias = inputs
                inputs = [settings, weights, source, *bias]
            else:
                inputs = [*inputs, settings]
        code = (kind.code, kind.version)
        if code not in self._codes:
            self._codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([output], np.int32)
        operator.builtinOptionsType = kind.options_type
        operator.builtinOptions = kind.options
        self._subgraph.operators.append(operator)

    def finish(self, plan: Plan, values: list[int]) -> bytes:
        inputs = [(port.name, values[number]) for number, port in enumerate(plan.inputs)]
        outputs = [(result.name, values[result.value]) for result in plan.outputs]
        self._subgraph.inputs = np.array([tensor for _, tensor in inputs], np.int32)
        self._subgraph.outputs = np.array([tensor for _, tensor in outputs], np.int32)
        model = schema.ModelT()
        model.version = 3
        model.description = "pocketnas"
        model.operatorCodes = [_operator_code(*code) for code in self._codes]
        model.subgraphs = [self._subgraph]
        model.buffers = self._buffers
        model.signatureDefs = [_signature(inputs, outputs)]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _with_constants(
    writer: _Writer,
    step: Step,
    index: int,
    inputs: list[int],
    weights: Weights | None,
    filters: dict[int, int],
) -> list[int]:
    """All tensors that an operator reads, but for its settings.

    Args:
        writer: the file.
        step: what runs.
        index: of the step.
        inputs: tensors of the values that it reads.
        weights: its constants.
        filters: tensor of the filter of each step that has one; this one's is added.
    """
    kernel = step.kernel
    if step.row is not None:
        begin = np.array([step.row] + [0] * (len(kernel.output) - 1), np.int32)
        return [*inputs, writer.tensor(begin.shape, f"begin_{index}", begin)]
    expected = weight_shape(kernel)
    if expected is None:
        return inputs
    if weights is None or (weights.filter.shape != expected and step.shares is None):
        got = "none" if weights is None else str(weights.filter.shape)
        raise ValueError(f"step {index} ({kernel}) needs weights of shape {expected}, got {got}")
    if step.shares is None:
        filters[index] = writer.tensor(expected, f"filter_{index}", weights.filter)
    inputs = [*inputs, filters[index if step.shares is None else step.shares]]
    if weights.bias is None:
        return inputs
    return [*inputs, writer.tensor(weights.bias.shape, f"bias_{index}", weights.bias)]


def _operator_code(code: int, version: int) -> Any:
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = code
    operator_code.deprecatedBuiltinCode = min(code, 127)
    operator_code.version = version
    return operator_code


def _signature(inputs: list[tuple[str, int]], outputs: list[tuple[str, int]]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE
    signature.subgraphIndex = 0
    signature.inputs = [_tensor_map(*entry) for entry in inputs]
    signature.outputs = [_tensor_map(*entry) for entry in outputs]
    return signature


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = name
    entry.tensorIndex = index
    return entry
