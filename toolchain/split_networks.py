"""Networks that XNNPACK runs in several partitions, each with a twin that it runs in one.

A concat of six inputs falls out of XNNPACK, one of five does not: networks that differ in nothing
else differ by the cost of changing to TFLite and back, and by the concats themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from latency_tables.kernel import Kernel, Shape, make_kernel
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import MAX_CONCAT_INPUTS, Plan, Step, image_plan

CONCATS = (4, 8, 12)
"""Concats of a network; each that falls out makes one more partition of XNNPACK."""

CHANNELS = 8
SIZE = 8


class SplitNetwork(NamedTuple):
    """A network of the two.

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


def split_networks() -> list[tuple[SplitNetwork, SplitNetwork]]:
    """Pairs of networks: in several partitions, and in one."""
    return [(_network(count, split=True), _network(count, split=False)) for count in CONCATS]


def _network(concats: int, *, split: bool) -> SplitNetwork:
    inputs = MAX_CONCAT_INPUTS + split
    image = (1, SIZE, SIZE, CHANNELS)
    steps = [_convolution(image, 0)]
    for _ in range(concats):
        joined = (*image[:3], inputs * CHANNELS)
        before = len(steps)
        concat = make_kernel("concat", (image,) * inputs, joined)
        steps += [Step(concat, (before,) * inputs), _convolution(joined, before + 1)]
    plan = image_plan(image, tuple(steps))
    return SplitNetwork(
        f"{concats} concats of {inputs}",
        concats + 1 if split else 1,
        plan.kernels,
        partial(_build, plan),
    )


def _convolution(source: Shape, reads: int) -> Step:
    kernel = make_kernel(
        "conv2d",
        (source,),
        (*source[:3], CHANNELS),
        {"kernel": "1x1", "stride": "1x1", "padding": "same"},
    )
    return Step(kernel, (reads,))


def _build(plan: Plan) -> bytes:
    return write_tflite(plan, random_weights(plan, 0))
