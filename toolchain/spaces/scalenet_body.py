"""The layers of a ScaleNet up to its head: stem, transitions and modules of several branches.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, section 3.2, and the released code, which
builds on HRNet (arXiv 1908.07919). Where the paper enlarges by bilinear interpolation and then
convolves, the code convolves and then repeats pixels; here it is done as in the code. A ReLU after
a sum of nothing but the branch itself is left out: what it reads is never negative.

**Names.** A layer with weights is called by its place, never by what else a network has::

    stem0, stem1            convolutions of the stem
    s1_n2_a                 stage 1, block 2, first convolution
    s3_b2_in                what makes branch 2 of stage 3
    s3m1_b2_t0_a            stage 3, module 1, branch 2, block of step 0, first convolution
    s3m1_t0_2to0            the same module, after step 0: branch 2 into branch 0
    s3m1_t0_0to2_1          branch 0 into branch 2, its second convolution

So a network has a subset of the weights of the largest one of its space, with equal names and
shapes: a branch of depth d has the first d blocks, and every step fusions of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from toolchain.graph import GraphBuilder
from toolchain.layers import Upsample
from toolchain.spaces.interned import ADD, ADD_RELU, conv
from toolchain.spaces.scalenet_module import ScaleModule

EXPANSION = 4
"""Channels that a bottleneck gives for each that its 3x3 convolution has."""


def add_stem(
    builder: GraphBuilder, image: str, channels: int, blocks: int, *, is_bottleneck: bool
) -> tuple[str, int]:
    """Two convolutions of stride 2, then stage 1; returns its name and channels."""
    x = builder.add("stem0", conv(channels, 3, 2), image)
    x = builder.add("stem1", conv(channels, 3, 2), x)
    live = channels
    for block in range(blocks):
        prefix = f"s1_n{block}"
        if is_bottleneck:
            x = _add_bottleneck(builder, prefix, x, live, channels)
            live = channels * EXPANSION
        else:
            x = add_block(builder, prefix, x, channels)
    return x, live


def add_transition(
    builder: GraphBuilder, stage: int, maps: Sequence[str], live: int, width: int
) -> list[str]:
    """The branches of a stage: those there are and one more, of half the resolution.

    Args:
        builder: takes the layers.
        stage: number of the stage, which has as many branches; 2 follows the stem.
        maps: branches of the stage before.
        live: channels of its last branch.
        width: channels of branch 0; each further one has twice as many.
    """
    kept = list(maps)
    if stage == 2 and live != width:
        kept = [builder.add("s2_b0_in", conv(width, 3), maps[0])]
    branch = stage - 1
    return [*kept, builder.add(f"s{stage}_b{branch}_in", conv(width << branch, 3, 2), maps[-1])]


def add_module(
    builder: GraphBuilder, prefix: str, module: ScaleModule, maps: Sequence[str], width: int
) -> list[str]:
    """A module: in each step a block in every branch, then the fusions into every branch.

    A branch that has no more steps hands on what it has, which others may still take in.
    """
    maps = list(maps)
    for step in range(max(module.depths)):
        alive = [branch for branch, depth in enumerate(module.depths) if step < depth]
        for branch in alive:
            name = f"{prefix}_b{branch}_t{step}"
            maps[branch] = add_block(builder, name, maps[branch], width << branch)
        before = tuple(maps)
        for branch in alive:
            sources = module.branches[branch][step]
            maps[branch] = _fuse(builder, f"{prefix}_t{step}", before, branch, sources, width)
    return maps


def add_block(builder: GraphBuilder, prefix: str, source: str, channels: int) -> str:
    """A residual block of two 3x3 convolutions, with as many channels as it reads."""
    x = builder.add(f"{prefix}_a", conv(channels, 3), source)
    x = builder.add(f"{prefix}_b", conv(channels, 3, activation="linear"), x)
    return builder.add(f"{prefix}_add", ADD_RELU, x, source)


@lru_cache(maxsize=64)
def upsample(factor: int, interpolation: str = "nearest") -> Upsample:
    """The layer that enlarges, one object for equal ones."""
    return Upsample(factor=factor, interpolation=interpolation)


def _add_bottleneck(
    builder: GraphBuilder, prefix: str, source: str, live: int, channels: int
) -> str:
    output = channels * EXPANSION
    x = builder.add(f"{prefix}_a", conv(channels), source)
    x = builder.add(f"{prefix}_b", conv(channels, 3), x)
    x = builder.add(f"{prefix}_c", conv(output, activation="linear"), x)
    skip = source
    if live != output:
        skip = builder.add(f"{prefix}_skip", conv(output, activation="linear"), source)
    return builder.add(f"{prefix}_add", ADD_RELU, x, skip)


def _fuse(
    builder: GraphBuilder,
    prefix: str,
    maps: Sequence[str],
    target: int,
    sources: Sequence[int],
    width: int,
) -> str:
    """A branch plus what is fused into it, then ReLU."""
    total = maps[target]
    for source in sources:
        name = f"{prefix}_{source}to{target}"
        edge = _add_edge(builder, name, maps[source], source, target, width)
        layer = ADD_RELU if source == sources[-1] else ADD
        total = builder.add(f"{name}_add", layer, total, edge)
    return total


def _add_edge(
    builder: GraphBuilder, name: str, x: str, source: int, target: int, width: int
) -> str:
    """A branch brought to the channels and the resolution of another one."""
    if source > target:
        x = builder.add(name, conv(width << target, activation="linear"), x)
        return builder.add(f"{name}_up", upsample(1 << (source - target)), x)
    last = target - source - 1
    for index in range(last):
        x = builder.add(f"{name}_{index}", conv(width << source, 3, 2), x)
    return builder.add(f"{name}_{last}", conv(width << target, 3, 2, activation="linear"), x)
