"""Networks that tell what a run costs besides its kernels.

*Split* networks run in several partitions of XNNPACK, each with a twin that runs in one. A concat
of six inputs falls out of XNNPACK, one of five does not: networks that differ in nothing else
differ by the cost of changing to TFLite and back, and by the concats themselves.

*Short* networks are a few small convolutions: of the microseconds that they take, entering the
runtime and the kernels is a large part, which a network of milliseconds does not show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from latency_tables.kernel import Kernel, Shape, make_kernel
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import MAX_CONCAT_INPUTS, Plan, Step, image_plan

CONCATS = (4, 8, 12)
"""Concats of a split network; each that falls out makes one more partition of XNNPACK."""

CONVOLUTIONS = (1, 2, 4, 8)
"""Of a short network."""

CHANNELS = 8
SIZE = 8


class OverheadNetwork(NamedTuple):
    """A network of these.

    Attributes:
        name: what it is.
        partitions: how many partitions XNNPACK runs.
        kernels: what it runs, in execution order.
        build: makes the content of its TFLite file, with random weights.
    """

    name: str
    partitions: int
    kernels: tuple[Kernel, ...]
    build: Callable[[], bytes]


def split_networks() -> list[tuple[OverheadNetwork, OverheadNetwork]]:
    """Pairs of networks: in several partitions, and in one."""
    return [(_concats(count, split=True), _concats(count, split=False)) for count in CONCATS]


def short_networks() -> list[OverheadNetwork]:
    """Networks of some microseconds."""
    return [_chain(count) for count in CONVOLUTIONS]


def _chain(convolutions: int) -> OverheadNetwork:
    image = (1, SIZE, SIZE, CHANNELS)
    steps = [_convolution(image, reads, kernel=3) for reads in range(convolutions)]
    return _network(f"short network of {convolutions} convolutions", 1, image, steps)


def _concats(count: int, *, split: bool) -> OverheadNetwork:
    inputs = MAX_CONCAT_INPUTS + split
    image = (1, SIZE, SIZE, CHANNELS)
    steps = [_convolution(image, 0)]
    for _ in range(count):
        joined = (*image[:3], inputs * CHANNELS)
        before = len(steps)
        concat = make_kernel("concat", (image,) * inputs, joined)
        steps += [Step(concat, (before,) * inputs), _convolution(joined, before + 1)]
    return _network(f"{count} concats of {inputs}", count + 1 if split else 1, image, steps)


def _convolution(source: Shape, reads: int, kernel: int = 1) -> Step:
    window = {"kernel": f"{kernel}x{kernel}", "stride": "1x1", "padding": "same"}
    return Step(make_kernel("conv2d", (source,), (*source[:3], CHANNELS), window), (reads,))


def _network(name: str, partitions: int, image: Shape, steps: list[Step]) -> OverheadNetwork:
    plan = image_plan(image, tuple(steps))
    return OverheadNetwork(name, partitions, plan.kernels, partial(_build, plan))


def _build(plan: Plan) -> bytes:
    return write_tflite(plan, random_weights(plan, 0))
