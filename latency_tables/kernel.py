"""A kernel: one operator as the runtime runs it. The row of a latency table.

A kernel is what a runtime executes after fusion: batch norm folded into the weights, the
activation inside the convolution, NHWC layout, batch size 1. Two kernels that are equal take the
same time on the same target. The text key is canonical, readable and parses back::

    conv2d 1x32x32x16 -> 1x16x16x24 kernel=3x3 padding=same stride=2x2 act=relu float32
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

Shape = tuple[int, ...]
"""NHWC (or NC) dimensions of a tensor."""

DTYPES = (
    "float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16", "int32",
    "uint32", "int64", "uint64", "int4", "int2", "bool", "complex64", "complex128", "string",
    "resource", "variant",
)  # fmt: skip
"""Element types that a kernel can compute in, as TFLite's schema names them."""

NO_ACTIVATION = "linear"

_SCALAR = "scalar"
_NO_INPUTS = "none"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One operator as the runtime runs it.

    Attributes:
        kind: operator name, such as ``conv2d`` or ``concat``.
        inputs: shape of each activation input, NHWC or NC; weights follow from the attributes.
        output: shape of the output.
        attributes: what else decides the work (kernel, stride, padding ...), sorted by name.
        activation: the activation fused into the operator; ``linear`` when there is none.
        dtype: element type of the activations.
    """

    kind: str
    inputs: tuple[Shape, ...]
    output: Shape
    attributes: tuple[tuple[str, str], ...] = ()
    activation: str = NO_ACTIVATION
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"kernel dtype must be one of {DTYPES}, got {self.dtype!r}")
        if tuple(sorted(self.attributes)) != self.attributes:
            raise ValueError(f"kernel attributes must be sorted, got {self.attributes}")

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.inputs, self.output, self.attributes, self.activation))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def key(self) -> str:
        """Canonical text of this kernel."""
        parts = [
            self.kind,
            ",".join(map(_shape_text, self.inputs)) or _NO_INPUTS,
            "->",
            _shape_text(self.output),
        ]
        parts += [f"{name}={value}" for name, value in self.attributes]
        return " ".join([*parts, f"act={self.activation}", self.dtype])

    def __str__(self) -> str:
        return self.key

    def attribute(self, name: str) -> str:
        """The value of one attribute.

        Raises:
            KeyError: there is no such attribute.
        """
        return dict(self.attributes)[name]

    def pair(self, name: str) -> tuple[int, int]:
        """An attribute of the form ``3x3`` as two numbers (rows, columns)."""
        rows, columns = self.attribute(name).split("x")
        return int(rows), int(columns)


def make_kernel(
    kind: str,
    inputs: tuple[Shape, ...],
    output: Shape,
    attributes: Mapping[str, str] | None = None,
    activation: str = NO_ACTIVATION,
) -> Kernel:
    """A float kernel with its attributes put in canonical order."""
    ordered = tuple(sorted((attributes or {}).items()))
    return Kernel(
        kind=kind, inputs=inputs, output=output, attributes=ordered, activation=activation
    )


def parse_kernel(key: str) -> Kernel:
    """The kernel whose canonical text is ``key``.

    Raises:
        ValueError: the text is not a kernel key.
    """
    try:
        kind, inputs, arrow, output, *rest, activation, dtype = key.split(" ")
        if arrow != "->" or not activation.startswith("act="):
            raise ValueError("no '->' or 'act=' where one belongs")
        pairs = [item.split("=", 1) for item in rest]
        kernel = Kernel(
            kind=kind,
            inputs=()
            if inputs == _NO_INPUTS
            else tuple(_parse_shape(text) for text in inputs.split(",")),
            output=_parse_shape(output),
            attributes=tuple((name, value) for name, value in pairs),
            activation=activation.removeprefix("act="),
            dtype=dtype,
        )
        if not kind or kernel.key != key:
            raise ValueError(f"canonical would be {kernel.key!r}")
        return kernel
    except ValueError as error:
        raise ValueError(f"not a kernel key: {key!r} ({error})") from error


def distance(one: Kernel, other: Kernel) -> float:
    """How unlike two kernels are, for naming the nearest rows of a missing one; 0 when equal."""
    if one == other:
        return 0.0
    unlike = 4.0 * (one.kind != other.kind) + 4.0 * (one.dtype != other.dtype)
    unlike += 1.0 * (one.attributes != other.attributes) + 0.5 * (
        one.activation != other.activation
    )
    unlike += abs(len(one.inputs) - len(other.inputs))
    sizes = zip((*one.inputs, one.output), (*other.inputs, other.output), strict=False)
    for left, right in sizes:
        unlike += abs(len(left) - len(right))
        unlike += sum(abs(a - b) / max(a, b, 1) for a, b in zip(left, right, strict=False))
    return unlike


def _shape_text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or _SCALAR


def _parse_shape(text: str) -> Shape:
    return () if text == _SCALAR else tuple(int(part) for part in text.split("x"))
