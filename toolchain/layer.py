"""What every layer is: a typed value with shape rules and counts.

The layers themselves stand in ``layers.py`` and, those of texts, in ``word_layers.py``.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

Shape = tuple[int, ...]
"""CHW of a feature map, C of a vector, or CT: C numbers for each of T words."""

ACTIVATIONS = (
    "linear", "relu", "relu6", "swish", "hard_swish", "sigmoid", "hard_sigmoid", "tanh",
)  # fmt: skip
"""Functions that a layer can apply to its output."""


class Layer(Protocol):
    """What the graph asks of every layer. Layers are frozen: equal means interchangeable."""

    kind: ClassVar[str]

    def output_shape(self, *inputs: Shape) -> Shape:
        """Shape of the output for these input shapes.

        Raises:
            ValueError: the layer cannot take such inputs.
        """

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates of convolutions and dense layers; everything else counts 0."""

    def parameters(self, *inputs: Shape) -> int:
        """Weights and biases, batch norm excluded."""

    def norm_parameters(self, *inputs: Shape) -> int:
        """Scales and shifts of the batch norm."""


class Weightless:
    """Counts of a layer that has no weights."""

    def macs(self, *inputs: Shape) -> int:
        """No multiply-accumulates."""
        return 0

    def parameters(self, *inputs: Shape) -> int:
        """No weights."""
        return 0

    def norm_parameters(self, *inputs: Shape) -> int:
        """No batch norm."""
        return 0


def require_count(layer: Layer, inputs: tuple[Shape, ...], count: int) -> None:
    """Refuse another number of inputs.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(inputs) != count:
        raise ValueError(f"{layer.kind} takes {count} input(s), got {len(inputs)}")


def require_positive(layer: Layer, *names: str) -> None:
    """Refuse settings below 1.

    Raises:
        ValueError: one of these fields is.
    """
    for name in names:
        if getattr(layer, name) < 1:
            raise ValueError(
                f"{layer.kind}: {name} must be at least 1, got {getattr(layer, name)}"
            )


def require_activation(name: str) -> None:
    """Refuse an activation that is not known.

    Raises:
        ValueError: it is not.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(ACTIVATIONS)}")
