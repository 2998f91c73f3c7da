"""Collects the steps of a plan while operations are lowered one after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from latency_tables.kernel import Kernel, Shape, make_kernel
from toolchain.export.flatbuffer import Array, Weights
from toolchain.export.lowering.network import Constant, Network, Operation, unsupported
from toolchain.kernels import Plan, Port, Result, Step, nhwc


class Value(NamedTuple):
    """What the runtime holds of a value of the ONNX graph.

    Attributes:
        number: of the value in the plan.
        shape: NHWC or NC. After a Flatten of a feature map it is still the feature map's, until
            something reads it that cannot do so.
    """

    number: int
    shape: Shape


class Emitter:
    """The plan so far.

    Attributes:
        network: what is lowered.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._steps: list[Step] = []
        self._weights: dict[int, Weights] = {}
        self._filters: dict[tuple[str, bool], int] = {}
        self._values = {
            name: Value(number, _as_held(network.shapes[name]))
            for number, name in enumerate(network.inputs)
        }

    def shape(self, operation: Operation) -> Shape:
        """What an operation computes, as the runtime holds it.

        Raises:
            ExportFailed: the shape is not static, or is neither that of one image, nor of a
                vector, nor of vectors of several words.
        """
        shape = self.network.shape(operation.output, operation)
        is_one = shape[0] == 1 or not self.network.reads_an_image
        if len(shape) not in (2, 4) or not is_one:
            raise unsupported(
                operation,
                f"its output has shape {shape}",
                "only (1, C, H, W) and (1, C) can be lowered, and (N, C) of N words",
            )
        return _as_held(shape)

    def constant(self, operation: Operation, position: int) -> Array:
        """The weights that an operation reads.

        Raises:
            ExportFailed: they are not constants, or not float32.
        """
        name = operation.reads(position)
        constant: Constant | None = self.network.constants.get(name)
        if constant is None or constant.dtype != np.float32:
            found = "computed by the network" if constant is None else f"of type {constant.dtype}"
            raise unsupported(
                operation, f"its input {name!r} is {found}", "export with constant float32 weights"
            )
        return constant

    def read(self, operation: Operation, position: int = 0) -> Value:
        """A value that an operation reads, in the shape that ONNX gives it.

        Raises:
            ExportFailed: the value is a constant, the second output of an operation, or a feature
                map whose flattened order only a dense layer can read.
        """
        value = self.read_unflattened(operation, position)
        name = operation.reads(position)
        if len(value.shape) == len(self.network.shape(name, operation)):
            return value
        if math.prod(value.shape[:-1]) > 1:
            raise unsupported(
                operation,
                f"it reads {name!r}, a feature map of shape {value.shape} flattened in NCHW order",
                "only a Gemm or MatMul can read that; pool the map to 1x1 before flattening",
            )
        flat = self.emit(flatten_kernel(value.shape), value)
        self._values[name] = flat
        return flat

    def read_unflattened(self, operation: Operation, position: int = 0) -> Value:
        """A value that an operation reads; a flattened feature map is given as the map.

        Raises:
            ExportFailed: the value is a constant, or the second output of an operation.
        """
        name = operation.reads(position)
        if name not in self._values:
            raise unsupported(
                operation,
                f"its input {name!r} is no first output of an operation, such as a constant",
                "fold constants into the weights of a convolution or a dense layer",
            )
        return self._values[name]

    def emit(
        self,
        kernel: Kernel,
        *inputs: Value,
        weights: Weights | None = None,
        filter_of: tuple[str, bool] | None = None,
        row: int | None = None,
    ) -> Value:
        """Append a step; returns its output.

        Args:
            kernel: what runs.
            inputs: what it reads.
            weights: its constants.
            filter_of: what its filter is: name of the constant, and whether it is turned. Steps
                of the same share it.
            row: see ``Step``.
        """
        index = len(self._steps)
        if weights is not None:
            self._weights[index] = weights
        owner = None if filter_of is None else self._filters.setdefault(filter_of, index)
        shares = None if owner in (None, index) else owner
        self._steps.append(Step(kernel, tuple(value.number for value in inputs), shares, row))
        return Value(len(self.network.inputs) + index, kernel.output)

    def define(self, operation: Operation, value: Value) -> None:
        """Note what an operation computes."""
        self._values[operation.output] = value

    def plan(self) -> Plan:
        """All steps.

        Raises:
            ExportFailed: an output is a feature map flattened in NCHW order.
        """
        last = self.network.operations[-1]
        # Reads the outputs as an operation behind the last one would.
        results = tuple(
            Result(name, self.read(replace(last, inputs=(value,))).number)
            for name, value in self.network.outputs.items()
        )
        ports = tuple(
            Port(name, self._values[name].shape, "int32" if is_word else "float32")
            for name in self.network.inputs
            for is_word in [name in self.network.words]
        )
        return Plan(ports, tuple(self._steps), results)

    @property
    def weights(self) -> dict[int, Weights]:
        """Constants by the index of their step."""
        return self._weights


def flatten_kernel(shape: Shape) -> Kernel:
    """The kernel that makes a vector of a feature map (or, before a dense layer, of a vector)."""
    return make_kernel("flatten", (shape,), (1, math.prod(shape)))


def _as_held(shape: Shape) -> Shape:
    """A shape of ONNX, batch included, as the runtime holds it."""
    return nhwc(shape[1:]) if len(shape) == 4 else shape
