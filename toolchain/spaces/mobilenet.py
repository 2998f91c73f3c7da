"""MobileNetV2 and MobileNetV3-small, the baselines: a finite grid of networks.

Sources:
    v2: MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381, table 2.
    v3s: Searching for MobileNetV3, arXiv 1905.02244, table 2. The table's squeeze-and-excite mark
        at the last 1x1 convolution is left out, as in the authors' released code.

A genotype is words joined by dashes, such as ``v2-w0.35-s1-d3``:

    v2, v3s     the network.
    wX          width multiplier X on all channels, rounded to multiples of 8 as the authors do.
    sN          stride N of the stem.
    dN          the last N of the four strided blocks keep their stride of 2, those before have 1.
    h           the head is narrowed with the rest. Without it the head keeps its 1280 (v3s: 1024)
                features at widths below 1, as the authors have it for 1000 classes.

As published, for 224x224, they are ``v2-w1-s2-d4`` and ``v3s-w1-s2-d4``; for 32x32 the customary
``s1-d3`` (stem and first strided block at stride 1) leaves a last map of 4x4 where ``s2-d4`` would
leave 1x1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import ClassVar, NamedTuple

import numpy as np

from toolchain.errors import GenotypeInvalid
from toolchain.graph import Graph, GraphBuilder
from toolchain.layers import Conv2d, GlobalAveragePool, Input, Linear, Multiply, Shape
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.interned import ADD, conv


class Block(NamedTuple):
    """An inverted residual block.

    Attributes:
        channels: it gives, before the width multiplier.
        stride: of the depthwise convolution.
        expansion: channels of the depthwise convolution for each of the block's input.
        kernel: rows and columns of the depthwise convolution.
        activation: of the block; its output is linear.
        is_gated: whether there is squeeze-and-excite before the output.
    """

    channels: int
    stride: int
    expansion: float
    kernel: int = 3
    activation: str = "relu6"
    is_gated: bool = False


class Outline(NamedTuple):
    """A network of width 1.

    Attributes:
        stem: channels of the first convolution, 3x3.
        activation: of stem and head.
        blocks: between them.
        last: channels of a 1x1 convolution before a head that is a dense layer; 0 where the head
            is a 1x1 convolution itself.
        head: features before the classifier.
    """

    stem: int
    activation: str
    blocks: tuple[Block, ...]
    last: int
    head: int


V2 = Outline(
    stem=32,
    activation="relu6",
    blocks=tuple(
        Block(channels, stride if index == 0 else 1, expansion)
        for expansion, channels, repeats, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for index in range(repeats)
    ),
    last=0,
    head=1280,
)

V3_SMALL = Outline(
    stem=16,
    activation="hard_swish",
    blocks=(
        Block(16, 2, 1, 3, "relu", is_gated=True),
        Block(24, 2, 72 / 16, 3, "relu"),
        Block(24, 1, 88 / 24, 3, "relu"),
        Block(40, 2, 96 / 24, 5, "hard_swish", is_gated=True),
        Block(40, 1, 240 / 40, 5, "hard_swish", is_gated=True),
        Block(40, 1, 240 / 40, 5, "hard_swish", is_gated=True),
        Block(48, 1, 120 / 40, 5, "hard_swish", is_gated=True),
        Block(48, 1, 144 / 48, 5, "hard_swish", is_gated=True),
        Block(96, 2, 288 / 48, 5, "hard_swish", is_gated=True),
        Block(96, 1, 576 / 96, 5, "hard_swish", is_gated=True),
        Block(96, 1, 576 / 96, 5, "hard_swish", is_gated=True),
    ),
    last=576,
    head=1024,
)

VERSIONS: Mapping[str, Outline] = {"v2": V2, "v3s": V3_SMALL}
"""Every network by its word."""

STRIDED_BLOCKS = 4
"""Blocks of stride 2 in each of them."""

SQUEEZE = 4
"""A gate's hidden channels are so many times fewer than those it scales."""

_POOL = GlobalAveragePool()
_SQUEEZE_MAP = GlobalAveragePool(keep_map=True)
_SCALE = Multiply()


class Baseline(NamedTuple):
    """What the words of a genotype say, in their order."""

    version: str
    width: float
    stem_stride: int
    strided: int
    narrows_head: bool

    @property
    def genotype(self) -> str:
        """The words."""
        text = f"{self.version}-w{self.width:g}-s{self.stem_stride}-d{self.strided}"
        return text + "-h" * self.narrows_head

    def scaled(self, channels: int) -> int:
        """Channels at this width."""
        return round_channels(channels * self.width)

    def strides(self) -> Iterator[int]:
        """The stride of each block."""
        dropped = STRIDED_BLOCKS - self.strided
        for block in VERSIONS[self.version].blocks:
            is_dropped = block.stride > 1 and dropped > 0
            dropped -= is_dropped
            yield 1 if is_dropped else block.stride


@dataclass(frozen=True, kw_only=True)
class MobileNetSpace(ImageSpace):
    """Every network of the given versions, widths and resolutions.

    Attributes:
        input_shape: CHW of the images.
        classes: features of the classifier.
        versions: words of the networks.
        widths: width multipliers.
        stem_strides: 1, 2 or both.
        strided: how many strided blocks may keep their stride, each from 0 to 4.
    """

    name: ClassVar[str] = "mobilenet"
    input_shape: Shape = (3, 32, 32)
    classes: int = 10
    versions: tuple[str, ...] = tuple(VERSIONS)
    widths: tuple[float, ...] = (0.25, 0.35, 0.5, 0.75, 1.0)
    stem_strides: tuple[int, ...] = (1, 2)
    strided: tuple[int, ...] = (2, 3, 4)

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape is (channels, rows, columns), got {self.input_shape}")
        _require_among("versions", self.versions, VERSIONS)
        _require_among("stem_strides", self.stem_strides, (1, 2))
        _require_among("strided", self.strided, range(STRIDED_BLOCKS + 1))
        if not self.widths or min(self.widths) <= 0:
            raise ValueError(f"widths must be one or more, each above 0, got {self.widths}")
        self.decode(next(self.witnesses()))  # The layers check the rest.

    @cached_property
    def baselines(self) -> Mapping[str, Baseline]:
        """Every network of the space by its genotype."""
        grid = product(self.versions, self.widths, self.stem_strides, self.strided, (False, True))
        every = [Baseline(*values) for values in grid]
        # From width 1 on a head is scaled with the rest in any case.
        return {one.genotype: one for one in every if one.width < 1 or not one.narrows_head}

    def sample(self, rng: np.random.Generator) -> str:
        """A random genotype; all are equally likely."""
        return list(self.baselines)[rng.integers(len(self.baselines))]

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype that differs in one word; the same where there is none."""
        present = self._baseline(genotype)
        near = [
            text
            for text, other in self.baselines.items()
            if sum(one != two for one, two in zip(present, other, strict=True)) == 1
        ]
        return near[rng.integers(len(near))] if near else genotype

    def witnesses(self) -> Iterator[str]:
        """All genotypes."""
        yield from self.baselines

    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or not on the grid.
        """
        baseline = self._baseline(genotype)
        outline = VERSIONS[baseline.version]
        channels, height, width = self.input_shape
        builder = GraphBuilder(genotype)
        x = builder.add("image", Input(channels=channels, height=height, width=width))
        live = baseline.scaled(outline.stem)
        stem = conv(live, 3, baseline.stem_stride, activation=outline.activation)
        x = builder.add("stem", stem, x)
        blocks = zip(outline.blocks, baseline.strides(), strict=True)
        for number, (block, stride) in enumerate(blocks, start=1):
            block = block._replace(channels=baseline.scaled(block.channels), stride=stride)
            x = _add_block(builder, f"b{number}", block, x, live)
            live = block.channels
        x = _add_head(builder, baseline, x)
        builder.add("logits", Linear(features=self.classes), x)
        return builder.graph()

    def _baseline(self, genotype: str) -> Baseline:
        if genotype in self.baselines:
            return self.baselines[genotype]
        widths = ", ".join(f"{width:g}" for width in self.widths)
        raise GenotypeInvalid(
            genotype,
            f"expected VERSION-wWIDTH-sSTRIDE-dSTRIDED, and -h only at a width below 1, of "
            f"versions {', '.join(self.versions)}, widths {widths}, stem strides "
            f"{', '.join(map(str, self.stem_strides))} and strided blocks "
            f"{', '.join(map(str, self.strided))}",
        )


def round_channels(channels: float) -> int:
    """The nearest multiple of 8 that is not under 90% of ``channels``, at least 8.

    Source: the authors' released code, ``make_divisible``.
    """
    rounded = max(int(channels + 4) // 8 * 8, 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _add_block(builder: GraphBuilder, prefix: str, block: Block, source: str, live: int) -> str:
    """A block that reads ``live`` channels; its own are scaled already."""
    x = source
    expanded = round_channels(live * block.expansion)
    if expanded != live:
        x = builder.add(f"{prefix}_expand", conv(expanded, activation=block.activation), x)
    depthwise = conv(
        expanded, block.kernel, block.stride, depthwise=True, activation=block.activation
    )
    x = builder.add(f"{prefix}_dw", depthwise, x)
    if block.is_gated:
        gate = builder.add(f"{prefix}_mean", _SQUEEZE_MAP, x)
        hidden = round_channels(expanded // SQUEEZE)
        gate = builder.add(f"{prefix}_squeeze", _gate_conv(hidden, "relu"), gate)
        gate = builder.add(f"{prefix}_excite", _gate_conv(expanded, "hard_sigmoid"), gate)
        x = builder.add(f"{prefix}_scale", _SCALE, x, gate)
    x = builder.add(f"{prefix}_project", conv(block.channels, activation="linear"), x)
    if block.stride == 1 and block.channels == live:
        x = builder.add(f"{prefix}_add", ADD, x, source)
    return x


def _gate_conv(channels: int, activation: str) -> Conv2d:
    return Conv2d(channels=channels, bias=True, norm=False, activation=activation)


def _add_head(builder: GraphBuilder, baseline: Baseline, x: str) -> str:
    """Everything from the last block to the vector that the classifier reads."""
    outline = VERSIONS[baseline.version]
    is_scaled = baseline.narrows_head or baseline.width > 1
    features = baseline.scaled(outline.head) if is_scaled else outline.head
    last = baseline.scaled(outline.last) if outline.last else features
    x = builder.add("last", conv(last, activation=outline.activation), x)
    x = builder.add("pool", _POOL, x)
    if outline.last:
        x = builder.add("head", Linear(features=features, activation=outline.activation), x)
    return x


def _require_among(field: str, values: Sequence[object], known: Collection[object]) -> None:
    if not values or not set(values) <= set(known):
        raise ValueError(f"{field} must be one or more of {list(known)}, got {list(values)}")
