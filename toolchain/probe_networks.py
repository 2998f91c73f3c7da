"""Networks of a space as files to measure: what a profile of the space is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from latency_tables.kernel import Kernel
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import Plan
from toolchain.spaces.protocol import Space

RANDOM_NETWORKS = 300
"""Random networks beside the space's witnesses, for more contexts and for calibration."""


class ProbeNetwork(NamedTuple):
    """A network to measure.

    Attributes:
        genotype: which one.
        kernels: what it runs, in execution order.
        build: makes the content of its TFLite file, with random weights.
    """

    genotype: str
    kernels: tuple[Kernel, ...]
    build: Callable[[], bytes]


def probe_networks(space: Space, seed: int) -> Iterator[ProbeNetwork]:
    """Networks that together run every kernel of the space, then random ones; each once.

    A witness that is drawn too stands among the random ones: the last networks of a pool
    calibrate its table, and must be a fair sample of a small space as well.

    Args:
        space: where they come from.
        seed: decides the random ones and the weights.
    """
    rng = np.random.default_rng(seed)
    drawn = dict.fromkeys(space.sample(rng) for _ in range(RANDOM_NETWORKS))
    witnesses = [one for one in dict.fromkeys(space.witnesses()) if one not in drawn]
    for genotype in [*witnesses, *drawn]:
        yield probe_network(space, genotype, seed)


def probe_network(space: Space, genotype: str, seed: int) -> ProbeNetwork:
    """One network of a space; the seed decides its weights.

    Raises:
        GenotypeInvalid: the text is no genotype of the space.
    """
    plan = space.plan(genotype)
    return ProbeNetwork(genotype, plan.kernels, partial(_build, plan, seed))


def _build(plan: Plan, seed: int) -> bytes:
    return write_tflite(plan, random_weights(plan, seed))
