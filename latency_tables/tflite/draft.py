"""A kernel in the making: what XNNPACK defines for an operator, before it fuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from latency_tables.kernel import NO_ACTIVATION, Kernel, Shape
from latency_tables.tflite.network import Network, Operator
from latency_tables.tflite.window import Window

RANGES = {0: NO_ACTIVATION, 1: "relu", 2: "relu1", 3: "relu6"}
"""Names of the activations that are ranges, by their number in the schema."""

Value = int
"""A tensor's index; below -1 for what only lies between two kernels of one operator."""


@dataclass(kw_only=True)
class Draft:
    """A kernel that may still be changed by its neighbours.

    Attributes:
        kind: of the kernel.
        shapes: of each activation that it reads.
        output: shape of what it computes.
        attributes: of the kernel, by name.
        activation: what runs inside of it.
        dtype: element type of its activations.
        reads: the activations, each in its place.
        writes: what it computes.
        operators: indices of the file's operators that it does the work of.
        is_delegated: whether XNNPACK runs it.
        window: of a convolution, for what its padding comes to.
        is_fixed: of a reshape, whether its shape is stated without a size left open.
    """

    kind: str
    shapes: list[Shape]
    output: Shape
    attributes: dict[str, str] = field(default_factory=dict)
    activation: str = NO_ACTIVATION
    dtype: str = "float32"
    reads: list[Value]
    writes: list[Value]
    operators: list[int]
    is_delegated: bool = True
    window: Window | None = None
    is_fixed: bool = False

    def kernel(self) -> Kernel:
        """The kernel, as it is now."""
        attributes = dict(self.attributes)
        if not self.is_delegated:
            attributes["delegate"] = "none"
        return Kernel(
            kind=self.kind,
            inputs=tuple(self.shapes),
            output=self.output,
            attributes=tuple(sorted(attributes.items())),
            activation=self.activation,
            dtype=self.dtype,
        )


def between(operator: int, step: int) -> Value:
    """The value between kernel number ``step`` of an operator and its next."""
    return -2 - 4 * operator - step


def make_draft(network: Network, operator: Operator, kind: str, **attributes: str) -> Draft:
    """The kernel that an operator is, with these attributes."""
    reads = activations_of(network, operator)
    output = network.output(operator)
    dtype = network.tensors[reads[0]].dtype if reads else output.dtype
    if output.dtype != dtype:
        attributes["to"] = output.dtype
    if len(operator.outputs) > 1:
        attributes["outputs"] = str(len(operator.outputs))
    return Draft(
        kind=kind,
        shapes=[network.tensors[index].shape for index in reads],
        output=output.shape,
        attributes=attributes,
        dtype=dtype,
        reads=reads,
        writes=list(operator.outputs),
        operators=[operator.index],
    )


def activations_of(network: Network, operator: Operator) -> list[int]:
    """What an operator reads besides constants."""
    return [index for index in operator.inputs if index >= 0 and index not in network.constants]


def range_of(operator: Operator) -> str:
    """The activation inside of an operator; XNNPACK takes none but ranges."""
    activation = operator.options.get("fusedActivationFunction", 0)
    return RANGES.get(activation, f"activation{activation}")


def constant_numbers(network: Network, operator: Operator, place: int) -> list[int]:
    """The whole numbers of a constant input; none where it is left out or computed."""
    tensor = network.input(operator, place)
    values = None if tensor is None else tensor.values
    return [] if values is None else [int(value) for value in values.ravel()]


def shape_text(shape: Iterable[int]) -> str:
    """Numbers as attributes hold them, ``3x3``; ``scalar`` for none."""
    return "x".join(map(str, shape)) or "scalar"
