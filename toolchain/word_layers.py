"""Layers of networks that read texts, one word or several at a time.

T words with C numbers each have the shape CT, for one word the shape is C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from toolchain.layer import Shape, Weightless, require_count, require_positive


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Words that the network reads, each by its number, as rows of a table of weights.

    Attributes:
        words: rows of the table: words that there are.
        features: numbers for each word.
        count: words that are read at a time.
    """

    kind: ClassVar[str] = "embedding"
    words: int
    features: int
    count: int = 1

    def __post_init__(self) -> None:
        require_positive(self, "words", "features", "count")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The rows; an input has no inputs."""
        require_count(self, inputs, 0)
        return (self.features,) if self.count == 1 else (self.features, self.count)

    def macs(self, *inputs: Shape) -> int:
        """Rows are only read."""
        return 0

    def parameters(self, *inputs: Shape) -> int:
        """The table."""
        return self.words * self.features

    def norm_parameters(self, *inputs: Shape) -> int:
        """No batch norm."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Vector(Weightless):
    """Numbers that the network reads, such as its own state after the word before."""

    kind: ClassVar[str] = "vector"
    features: int

    def __post_init__(self) -> None:
        require_positive(self, "features")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The vector's shape; an input has no inputs."""
        require_count(self, inputs, 0)
        return (self.features,)


@dataclass(frozen=True, kw_only=True)
class Pick(Weightless):
    """The vector of one word of several.

    Attributes:
        index: of the word, from 0.
    """

    kind: ClassVar[str] = "pick"
    index: int

    def output_shape(self, *inputs: Shape) -> Shape:
        """C of CT."""
        require_count(self, inputs, 1)
        if len(inputs[0]) != 2 or not 0 <= self.index < inputs[0][1]:
            raise ValueError(
                f"pick takes word {self.index} of several (C, T), got shape {inputs[0]}"
            )
        return inputs[0][:1]


@dataclass(frozen=True, kw_only=True)
class Stack(Weightless):
    """Vectors of several words, put together."""

    kind: ClassVar[str] = "stack"

    def output_shape(self, *inputs: Shape) -> Shape:
        """CT of vectors of equal length."""
        if len(inputs) < 2 or len(set(inputs)) > 1 or len(inputs[0]) != 1:
            raise ValueError(f"stack takes two or more equal vectors, got {inputs}")
        return (*inputs[0], len(inputs))


@dataclass(frozen=True, kw_only=True)
class Subtract(Weightless):
    """The first of two equal shapes less the second."""

    kind: ClassVar[str] = "subtract"

    def output_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        require_count(self, inputs, 2)
        if inputs[0] != inputs[1]:
            raise ValueError(f"subtract takes equal shapes, got {inputs[0]} and {inputs[1]}")
        return inputs[0]


@dataclass(frozen=True, kw_only=True)
class Scale(Weightless):
    """Numbers divided by a whole one: what makes a mean of a sum."""

    kind: ClassVar[str] = "scale"
    divisor: int

    def __post_init__(self) -> None:
        require_positive(self, "divisor")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape that it reads."""
        require_count(self, inputs, 1)
        return inputs[0]
