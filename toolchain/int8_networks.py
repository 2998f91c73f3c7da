"""Networks of a space as int8 files: what an int8 profile of the space is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from latency_tables.precision import INT8, network_in
from toolchain.export.quantize import quantize
from toolchain.layers import Shape
from toolchain.probe_networks import ProbeNetwork, probe_network, probe_networks
from toolchain.spaces.image_space import ImageSpace


def int8_networks(space: ImageSpace, seed: int) -> Iterator[ProbeNetwork]:
    """The same networks as for a profile in float32, quantized when their file is asked for.

    Their kernels are those that a search sees; the file may run a few more (`precision.py`).

    Args:
        space: where they come from.
        seed: decides the random ones, the weights and the image that gives ranges.
    """
    for network in probe_networks(space, seed):
        yield _in_int8(network, space.input_shape, seed)


def int8_network(space: ImageSpace, genotype: str, seed: int) -> ProbeNetwork:
    """One network of a space, quantized when its file is asked for.

    Raises:
        GenotypeInvalid: the text is no genotype of the space.
    """
    return _in_int8(probe_network(space, genotype, seed), space.input_shape, seed)


def _in_int8(network: ProbeNetwork, shape: Shape, seed: int) -> ProbeNetwork:
    return ProbeNetwork(
        network.genotype,
        network_in(INT8, network.kernels),
        partial(_quantized, network.build, shape, seed),
    )


def _quantized(build: Callable[[], bytes], shape: Shape, seed: int) -> bytes:
    """The file in int8; the ranges come from one random image, for they do not change times."""
    image = np.random.default_rng(seed).standard_normal((1, *shape)).astype(np.float32)
    return quantize(build(), image)
