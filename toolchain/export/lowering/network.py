"""An ONNX model as plain operations: what the graph edits and the lowering work on.

Reading refuses what no later stage could treat rightly: a batch other than one, a shape that is
not static, an input that is neither image nor vector nor words. Shapes here are ONNX's own, NCHW
or NC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from latency_tables.kernel import NO_ACTIVATION, Shape
from toolchain.errors import ExportFailed

Constant = npt.NDArray[Any]

IMAGE_RANK = 4

PASSED_THROUGH = ("Identity", "Dropout")
"""Operations that hand on their first input, once training is over."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One node of the ONNX graph.

    Attributes:
        type: ONNX's operator type, or the name that an edit gave to what it made of several.
        name: the node's name, for error messages.
        inputs: values and constants that it reads; ``""`` where an optional one is left out.
        output: the value that it computes.
        attributes: what the node states; defaults of ONNX are absent.
        activation: a clamp that is part of the operation.
    """

    type: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]
    activation: str = NO_ACTIVATION

    def reads(self, position: int) -> str:
        """The name of one input; ``""`` when it is left out."""
        return self.inputs[position] if position < len(self.inputs) else ""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Operations in execution order, each of which the output depends on.

    Attributes:
        operations: in order of execution.
        constants: weights and settings, by name.
        shapes: static shapes of the values, batch included, by name.
        inputs: an image, or vectors and words.
        words: those of the inputs that are words: numbers of rows of a table.
        outputs: what the caller gets, each by its name in the model and the value that it is.
    """

    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]
    shapes: Mapping[str, Shape]
    inputs: tuple[str, ...]
    words: frozenset[str]
    outputs: Mapping[str, str]

    @property
    def reads_an_image(self) -> bool:
        """Whether the first input is one."""
        return len(self.shapes[self.inputs[0]]) == IMAGE_RANK

    @cached_property
    def readers(self) -> Mapping[str, int]:
        """How often each value is read; being an output of the network counts."""
        count = Counter(name for operation in self.operations for name in operation.inputs)
        count.update(self.outputs.values())
        return count

    def with_operations(self, operations: Iterable[Operation]) -> Network:
        """The network with other operations, of which the dead ones are left out."""
        needed = set(self.outputs.values())
        live = []
        for operation in reversed(list(operations)):
            if operation.output in needed:
                needed.update(operation.inputs)
                live.append(operation)
        return replace(self, operations=tuple(reversed(live)))

    def shape(self, name: str, operation: Operation) -> Shape:
        """Shape of a value that an operation reads or computes.

        Raises:
            ExportFailed: the shape is not static.
        """
        if name not in self.shapes:
            raise unsupported(
                operation, f"{name!r} has no static shape", "export the model for a fixed input"
            )
        return self.shapes[name]

    def setting(self, operation: Operation, position: int, attribute: str) -> Constant | None:
        """What newer ONNX gives as a constant input and older ONNX as an attribute.

        Returns:
            The numbers; None when the node leaves them out.

        Raises:
            ExportFailed: the input is there and is computed by the network.
        """
        name = operation.reads(position)
        if not name:
            value = operation.attributes.get(attribute)
            return None if value is None else np.asarray(value)
        if name not in self.constants:
            raise unsupported(
                operation,
                f"{attribute} is computed, not constant",
                "export with constant settings",
            )
        return self.constants[name]


def unsupported(operation: Operation, what: str, remedy: str) -> ExportFailed:
    """The error of an operation that cannot be lowered."""
    return ExportFailed(f"cannot lower {operation.type} {operation.name!r}: {what}; {remedy}")


def read_network(model: onnx.ModelProto) -> Network:
    """The operations of an ONNX model.

    Raises:
        ExportFailed: the model is inconsistent; an input is not static, or neither a float32 image
            or vector nor the numbers of words; or an output is not computed.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportFailed(f"the ONNX model has inconsistent shapes: {error}") from error
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    same_as: dict[str, str] = {}
    operations = []
    for node in graph.node:
        operation = _operation(node, same_as)
        if operation.type == "Constant":
            constants[operation.output] = _constant(operation)
        elif operation.type in PASSED_THROUGH:
            same_as[operation.output] = operation.inputs[0]
        else:
            operations.append(operation)
    network = Network(
        operations=tuple(operations),
        constants=constants,
        shapes=_static_shapes([*graph.value_info, *graph.input, *graph.output]),
        inputs=tuple(value.name for value in inputs),
        words=frozenset(value.name for value in inputs if _element(value) in _INTEGERS),
        outputs={value.name: same_as.get(value.name, value.name) for value in graph.output},
    )
    _require_inputs(network, inputs)
    network = network.with_operations(operations)
    computed = {operation.output for operation in network.operations}
    for name, value in network.outputs.items():
        if value not in computed:
            raise ExportFailed(
                f"the ONNX model computes nothing for its output {name!r}; export another one"
            )
    return network


def _operation(node: onnx.NodeProto, same_as: Mapping[str, str]) -> Operation:
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    return Operation(
        type=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        name=node.name or node.output[0],
        inputs=tuple(same_as.get(name, name) for name in node.input),
        output=node.output[0],
        attributes={
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in attributes.items()
        },
    )


def _constant(operation: Operation) -> Constant:
    for name, value in operation.attributes.items():
        if name == "value":
            return numpy_helper.to_array(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise unsupported(operation, f"its attributes are {list(operation.attributes)}", "use numbers")


def _static_shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, Shape]:
    shapes = {}
    for value in values:
        tensor = value.type.tensor_type
        sizes = tuple(dimension.dim_value for dimension in tensor.shape.dim)
        if tensor.HasField("shape") and all(size > 0 for size in sizes):
            shapes[value.name] = sizes
    return shapes


_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


def _element(value: onnx.ValueInfoProto) -> int:
    return value.type.tensor_type.elem_type


def _require_inputs(network: Network, inputs: Iterable[onnx.ValueInfoProto]) -> None:
    for value in inputs:
        shape = network.shapes.get(value.name)
        is_word = value.name in network.words
        is_known = shape is not None and (
            len(shape) == 1 if is_word else len(shape) in (2, IMAGE_RANK) and shape[0] == 1
        )
        if not is_known:
            raise ExportFailed(
                f"the ONNX model's input {value.name!r} has shape {shape or 'not static'}; "
                "export it for one image, (1, channels, rows, columns), one vector, (1, numbers), "
                "or the numbers of words"
            )
        if not is_word and _element(value) != onnx.TensorProto.FLOAT:
            raise ExportFailed(
                f"the ONNX model's input {value.name!r} is not float32; export it in float32"
            )
