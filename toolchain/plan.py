"""A plan: every kernel that a network runs, in its place. ``kernels.py`` makes one of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from latency_tables.kernel import Kernel
from toolchain.layer import Shape

IMAGE_NAME = "image"
LOGITS_NAME = "logits"
"""What input and output are called of a network that names no outputs."""


class Step(NamedTuple):
    """A kernel in its place.

    Attributes:
        kernel: what runs.
        inputs: numbers of the values it reads. With n inputs of the network, these are values
            0 to n - 1, and value n + i is the output of step i.
        shares: index of the step whose filter it uses; None when it has its own, or none.
        row: number of the row that a slice takes; None for all else. It costs the same for every
            row, so that it is not the kernel's.
    """

    kernel: Kernel
    inputs: tuple[int, ...]
    shares: int | None = None
    row: int | None = None


class Port(NamedTuple):
    """An input of a network.

    Attributes:
        name: in the file's signature.
        shape: as the runtime holds it: NHWC or NC, or N words.
        dtype: ``float32``, or ``int32`` for words.
    """

    name: str
    shape: Shape
    dtype: str = "float32"


class Result(NamedTuple):
    """An output of a network.

    Attributes:
        name: in the file's signature.
        value: its number, see ``Step``.
    """

    name: str
    value: int


@dataclass(frozen=True)
class Plan:
    """Every kernel of a network in execution order.

    Attributes:
        inputs: what the network reads.
        steps: in order of execution.
        outputs: what the caller gets.
    """

    inputs: tuple[Port, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Result, ...]

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels alone."""
        return tuple(step.kernel for step in self.steps)

    def shape(self, value: int) -> Shape:
        """Shape of a value, as the runtime holds it."""
        count = len(self.inputs)
        if value < count:
            return self.inputs[value].shape
        return self.steps[value - count].kernel.output


def image_plan(shape: Shape, steps: tuple[Step, ...]) -> Plan:
    """The plan of a network that reads one image, NHWC, and gives what its last step computes."""
    return Plan((Port(IMAGE_NAME, shape),), steps, (Result(LOGITS_NAME, len(steps)),))
