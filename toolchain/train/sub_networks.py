"""Which network of a ScaleNet space a step of supernet training trains.

Sources: ``grouped`` is ScaleNAS (AutoML-Conf 2022, arXiv 2011.14584, section 4.1, and its released
code). ``sandwich`` is BigNAS (arXiv 2003.11142) at the same cost: where BigNAS adds up the
gradients of the smallest, the largest and two random networks in one step, here they take turns.
``uniform`` is what both are set against.

A step draws from its own number and the seed alone, so that every process of a distributed
training, and one that is resumed, trains the same network in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise, product

import numpy as np

from toolchain.spaces.scalenet import ScaleNetSpace

DENSITIES = (0.2, 0.5, 0.8)
"""Shares of fusions that are on, of the groups."""

SMALLEST_DENSITY = 0.1
"""The same in the slot of the smallest depth, as in the released code."""


def grouped(space: ScaleNetSpace, step: int, seed: int) -> str:
    """In turn: least depths, each group once, the largest network.

    A group is two neighboring depths and a share of fusions: with four depths there are nine, and
    the cycle has eleven steps. Drawing all choices independently would hardly ever give a network
    that is small or large: sums of many draws are alike.
    """
    groups = depth_groups(space)
    cycle = len(groups) * len(DENSITIES) + 2
    slot = step % cycle
    rng = _rng(seed, step)
    if slot == 0:
        return space.sample_group(rng, (space.min_depth,), SMALLEST_DENSITY)
    if slot == cycle - 1:
        return space.largest()
    density, depths = list(product(DENSITIES, groups))[slot - 1]
    return space.sample_group(rng, depths, density)


def uniform(space: ScaleNetSpace, step: int, seed: int) -> str:
    """Every depth alike, every fusion on or off alike."""
    return space.sample_group(_rng(seed, step), range(space.min_depth, space.max_depth + 1), 0.5)


def sandwich(space: ScaleNetSpace, step: int, seed: int) -> str:
    """In turn: the smallest network, two that ``uniform`` draws, the largest."""
    match step % 4:
        case 0:
            return space.smallest()
        case 3:
            return space.largest()
        case _:
            return uniform(space, step, seed)


def largest(space: ScaleNetSpace, step: int, seed: int) -> str:
    """The largest network every time: how a teacher is trained."""
    return space.largest()


SAMPLINGS: Mapping[str, Callable[[ScaleNetSpace, int, int], str]] = {
    "grouped": grouped,
    "largest": largest,
    "sandwich": sandwich,
    "uniform": uniform,
}
"""Every way to draw by its name; takes the space, the step from 0 and the seed."""


def depth_groups(space: ScaleNetSpace) -> list[tuple[int, ...]]:
    """Pairs of neighboring depths; the one depth where there is no other."""
    depths = range(space.min_depth, space.max_depth + 1)
    return list(pairwise(depths)) or [(space.min_depth,)]


def _rng(seed: int, step: int) -> np.random.Generator:
    return np.random.default_rng([seed, step])
