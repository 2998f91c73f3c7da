"""The ShrinkCNN space: one cell, a DAG of convolutions, repeated over the stages of a network.

Source: AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020,
arXiv 1911.09251, and the authors' released code, whose conventions are followed: merges and the
cell's output are channel concats, leaves are linear, the residual is taken before pooling.

A genotype is text, one word for each node after the input, words separated by dots: the operator
(``s`` separable 3x3, ``c`` 1x1) and the nodes it reads, as digits. The released cell is
``s0.s0.s01.c02``; a node that reads nothing (``c``) is dead. All cells of a network are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from toolchain.graph import Graph, GraphBuilder
from toolchain.layers import GlobalAveragePool, Input, Linear, MaxPool2d, Shape
from toolchain.spaces.cell import (
    MAX_NODES,
    Cell,
    complete_cell,
    neighbor,
    parse_cell,
    random_cell,
)
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.interned import ADD, CONCAT, conv

OPERATORS = ("s", "c")
"""Separable 3x3 convolution, 1x1 convolution."""

BASE_WIDTH = 16

COST_WEIGHT = 0.1
"""Accuracy that a ten-fold cost is worth in AutoShrink's score."""


@dataclass(frozen=True, kw_only=True)
class ShrinkCnnSpace(ImageSpace):
    """Cells of ``nodes`` nodes in a network of fixed outline (stem, stages, head).

    Attributes:
        nodes: nodes of a cell, the input included.
        input_shape: CHW of the images.
        classes: features of the classifier.
        stem_channels: channels of the first convolution, 3x3.
        stem_stride: its stride.
        base_width: channels of a node before scaling; 16 in the paper.
        channel_scale: factor on all widths, the stem's excepted.
        scales: factor on each stage's width.
        replicate: cells of each stage.
        pools: pooling of each stage's first cell.
        head_channels: 1x1 convolution before the classifier; 0 for none.
        activation: of every non-linear node.
    """

    name: ClassVar[str] = "shrinkcnn"
    nodes: int = 8
    input_shape: Shape = (3, 32, 32)
    classes: int = 10
    stem_channels: int = 32
    stem_stride: int = 1
    base_width: int = BASE_WIDTH
    channel_scale: float = 1.0
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    replicate: tuple[int, ...] = (1, 1, 1)
    pools: tuple[int, ...] = (1, 2, 2)
    head_channels: int = 0
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not 2 <= self.nodes <= MAX_NODES:
            raise ValueError(f"a ShrinkCNN cell has 2 to {MAX_NODES} nodes, got {self.nodes}")
        if not len(self.scales) == len(self.replicate) == len(self.pools) > 0:
            raise ValueError("scales, replicate and pools need one number for each stage")
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape is (channels, rows, columns), got {self.input_shape}")
        numbers = (self.base_width, self.channel_scale, *self.scales, *self.replicate, *self.pools)
        if min(numbers) <= 0:
            raise ValueError(
                "base_width, channel_scale, scales, replicate and pools must be more than 0, "
                f"got {self.base_width}, {self.channel_scale}, {self.scales}, {self.replicate} "
                f"and {self.pools}"
            )
        self.decode(f"{OPERATORS[0]}0")  # The layers of the smallest network check the rest.

    def widths(self) -> tuple[int, ...]:
        """Channels of a node in each stage."""
        return tuple(
            make_divisible(int(self.base_width * scale * self.channel_scale))
            for scale in self.scales
        )

    def complete(self, operators: str) -> str:
        """The genotype of the complete DAG, where AutoShrink begins."""
        return complete_cell(operators).genotype

    def random_operators(self, rng: np.random.Generator) -> str:
        """Operators for nodes 1, 2, ...: half and half over all slots, then shuffled once.

        The slot of node 0 takes part in the shuffle and is not used (as in the paper's code).
        """
        slots = [OPERATORS[index % 2] for index in range(self.nodes)]
        return "".join(slots[index] for index in rng.permutation(self.nodes)[1:])

    def sample(self, rng: np.random.Generator, operators: str | None = None) -> str:
        """A random genotype; every density of edges is equally likely.

        Args:
            rng: source of randomness.
            operators: operators of the nodes; drawn when None.
        """
        return random_cell(operators or self.random_operators(rng), rng).genotype

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one step away: an edge more or fewer, or another operator.

        Raises:
            GenotypeInvalid: the text is no genotype of this space.
        """
        return neighbor(self.parse(genotype), OPERATORS, self.nodes, rng).genotype

    def score(self, metric: float, decades: float) -> float:
        """See CellSpace: ten-fold cost is worth 0.1 of accuracy."""
        return metric - COST_WEIGHT * decades

    def scored_cost(self, genotype: str) -> int:
        """See CellSpace: multiply-accumulates."""
        return self.counts(genotype).macs

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run.

        A node's kernels depend on its operator, on how many nodes it reads besides the input, on
        whether it reads the input, on whether it is a leaf; and, because a stage's input is as
        wide as the last stage's leaves, on how many leaves the cell has.
        """
        for leaves in range(1, self.nodes):
            for others in range(self.nodes - leaves):
                for reads_input in (True, False) if others else (True,):
                    for operator in OPERATORS:
                        yield from self._witness(operator, leaves, others, reads_input)

    def _witness(
        self, operator: str, leaves: int, others: int, reads_input: bool
    ) -> Iterator[str]:
        """A node as described, once as a leaf and once, where there is room, read by another."""
        filler = OPERATORS[1 - OPERATORS.index(operator)]
        hub = (*((0,) if reads_input else ()), *range(1, others + 1))
        spare = [(0,)] * (leaves - 1)
        readers = [(0,)] * others + [hub]
        unused = self.nodes - 1 - len(readers) - len(spare)
        letters = filler * others + operator + filler * (len(spare) + unused)
        yield Cell(letters, (*readers, *spare, *([()] * unused))).genotype
        if unused:
            sources = (*readers, *spare, (others + 1,), *([()] * (unused - 1)))
            yield Cell(letters, sources).genotype

    def parse(self, genotype: str) -> Cell:
        """The cell of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has more nodes than the space.
        """
        return parse_cell(genotype, OPERATORS, self.nodes)

    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has more nodes than the space.
        """
        cell = self.parse(genotype)
        channels, height, width = self.input_shape
        builder = GraphBuilder(genotype)
        x = builder.add("image", Input(channels=channels, height=height, width=width))
        x = builder.add(
            "stem", conv(self.stem_channels, 3, self.stem_stride, activation=self.activation), x
        )
        live = self.stem_channels
        stages = zip(self.widths(), self.replicate, self.pools, strict=True)
        for stage, (node_width, count, pool) in enumerate(stages, start=1):
            for index in range(count):
                prefix = f"s{stage}c{index + 1}"
                stride = pool if index == 0 else 1
                x = self._add_cell(builder, cell, prefix, x, live, node_width, stride)
                live = len(cell.leaves) * node_width
        if self.head_channels:
            x = builder.add("head", conv(self.head_channels, activation=self.activation), x)
        x = builder.add("pool", GlobalAveragePool(), x)
        builder.add("logits", Linear(features=self.classes), x)
        return builder.graph()

    def _add_cell(
        self,
        builder: GraphBuilder,
        cell: Cell,
        prefix: str,
        cell_input: str,
        channels: int,
        node_width: int,
        pool: int,
    ) -> str:
        """A cell and its residual; returns the name of the sum."""
        source = cell_input
        if pool > 1:
            layer = MaxPool2d(kernel=pool, stride=pool)
            source = builder.add(f"{prefix}_n0", layer, cell_input)
        names = {0: source}
        live = {0: channels}
        leaves = cell.leaves
        for node, sources in enumerate(cell.sources, start=1):
            if not sources:
                continue
            name = f"{prefix}_n{node}"
            reads = self._merge(builder, f"{name}_in", [names[index] for index in sources])
            activation = "linear" if node in leaves else self.activation
            if cell.operators[node - 1] == "s":
                width = sum(live[index] for index in sources)
                # The depthwise half of a leaf is ReLU whatever the other nodes are.
                inner = "relu" if node in leaves else self.activation
                depthwise = conv(width, 3, depthwise=True, activation=inner)
                reads = builder.add(f"{name}_dw", depthwise, reads)
            names[node] = builder.add(name, conv(node_width, activation=activation), reads)
            live[node] = node_width
        output = self._merge(builder, f"{prefix}_out", [names[leaf] for leaf in leaves])
        skip = cell_input
        if pool > 1 or channels != node_width * len(leaves):
            width = node_width * len(leaves)
            layer_skip = conv(width, stride=pool, activation="linear")
            skip = builder.add(f"{prefix}_skip", layer_skip, cell_input)
        return builder.add(f"{prefix}_add", ADD, output, skip)

    @staticmethod
    def _merge(builder: GraphBuilder, name: str, sources: list[str]) -> str:
        return sources[0] if len(sources) == 1 else builder.add(name, CONCAT, *sources)


def make_divisible(value: int) -> int:
    """The nearest multiple of four, at least four; halves go to the even multiple."""
    return max(round(value / 4), 1) * 4
