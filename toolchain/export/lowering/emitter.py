"""Collects the steps of a plan while operations are lowered one after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from latency_tables.kernel import Kernel, Shape, make_kernel
from toolchain.export.flatbuffer import Array, Weights
from toolchain.export.lowering.network import Constant, Network, Operation, unsupported
from toolchain.kernels import Plan, Step, nhwc


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
        image = nhwc(network.shapes[network.input][1:])
        self._values = {network.input: Value(0, image)}

    def shape(self, operation: Operation) -> Shape:
        """What an operation computes, as the runtime holds it.

        Raises:
            ExportFailed: the shape is not static, not of one image, or neither map nor vector.
        """
        shape = self.network.shape(operation.output, operation)
        if len(shape) not in (2, 4) or shape[0] != 1:
            raise unsupported(
                operation,
                f"its output has shape {shape}",
                "only (1, C, H, W) and (1, C) can be lowered",
            )
        return nhwc(shape[1:])

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

    def emit(self, kernel: Kernel, *inputs: Value, weights: Weights | None = None) -> Value:
        """Append a step; returns its output."""
        if weights is not None:
            self._weights[len(self._steps)] = weights
        self._steps.append(Step(kernel, tuple(value.number for value in inputs)))
        return Value(len(self._steps), kernel.output)

    def define(self, operation: Operation, value: Value) -> None:
        """Note what an operation computes."""
        self._values[operation.output] = value

    def plan(self) -> Plan:
        """All steps.

        Raises:
            ExportFailed: the output is a feature map flattened in NCHW order.
        """
        last = self.network.operations[-1]
        # Reads the output as an operation behind the last one would.
        value = self.read(replace(last, inputs=(last.output,)))
        assert value.number == len(self._steps), "the last operation computes the output"
        return Plan(self._values[self.network.input].shape, tuple(self._steps))

    @property
    def weights(self) -> dict[int, Weights]:
        """Constants by the index of their step."""
        return self._weights


def flatten_kernel(shape: Shape) -> Kernel:
    """The kernel that makes a vector of a feature map (or, before a dense layer, of a vector)."""
    return make_kernel("flatten", (shape,), (1, math.prod(shape)))
