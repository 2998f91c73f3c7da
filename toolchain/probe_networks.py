"""Networks of a space as files to measure: what a profile of the space is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from latency_tables.kernel import Kernel
from latency_tables.precision import FLOAT32, INT8, network_in
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.quantize import quantize
from toolchain.kernels import Plan
from toolchain.layers import Shape
from toolchain.spaces.protocol import Space
from toolchain.spaces.space import require_images

RANDOM_NETWORKS = 300
"""Random networks beside the space's witnesses, for more contexts and for calibration."""


class ProbeNetwork(NamedTuple):
    """A network to measure.

    Attributes:
        genotype: which one.
        kernels: what it runs, in execution order, as a search sees it; an int8 file may run a few
            more (`latency_tables/precision.py`).
        build: makes the content of its TFLite file, with random weights.
    """

    genotype: str
    kernels: tuple[Kernel, ...]
    build: Callable[[], bytes]


def probe_networks(space: Space, seed: int, precision: str = FLOAT32) -> Iterator[ProbeNetwork]:
    """Networks that together run every kernel of the space, then random ones; each once.

    A witness that is drawn too stands among the random ones: the last networks of a pool
    calibrate its table, and must be a fair sample of a small space as well.

    Args:
        space: where they come from.
        seed: decides the random ones, and see ``probe_network``.
        precision: of the profile.

    Raises:
        ValueError: int8 for networks that read no images.
    """
    rng = np.random.default_rng(seed)
    drawn = dict.fromkeys(space.sample(rng) for _ in range(RANDOM_NETWORKS))
    witnesses = [one for one in dict.fromkeys(space.witnesses()) if one not in drawn]
    for genotype in [*witnesses, *drawn]:
        yield probe_network(space, genotype, seed, precision)


def probe_network(
    space: Space, genotype: str, seed: int, precision: str = FLOAT32
) -> ProbeNetwork:
    """One network of a space.

    Args:
        space: where it comes from.
        genotype: which one.
        seed: decides the weights, and the image that gives int8 networks their ranges.
        precision: in int8 the file is quantized when it is asked for.

    Raises:
        GenotypeInvalid: the text is no genotype of the space.
        ValueError: int8 for a network that reads no images.
    """
    plan = space.plan(genotype)
    build = partial(_build, plan, seed)
    if precision == INT8:
        build = partial(_quantized, build, require_images(space).input_shape, seed)
    return ProbeNetwork(genotype, network_in(precision, plan.kernels), build)


def _build(plan: Plan, seed: int) -> bytes:
    return write_tflite(plan, random_weights(plan, seed))


def _quantized(build: Callable[[], bytes], shape: Shape, seed: int) -> bytes:
    """The file in int8; the ranges come from one random image, for they do not change times."""
    image = np.random.default_rng(seed).standard_normal((1, *shape)).astype(np.float32)
    return quantize(build(), image)
