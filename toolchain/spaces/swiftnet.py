"""The SwiftNet space: stages, each a DAG of its own over numbered nodes.

Source: GRAM, arXiv 1906.08305. The paper's body was not available: the space is taken from the
authors' released network for Visual Wake Words, which `zoo.py` rebuilds, and from their released
sampler. Where these are silent, the choice is ours and marked so below.

A node is a 1x1 or a separable 3x3 convolution, each with batch norm and ReLU, on the channel
concat of the nodes it reads. A stage's leaves are concatenated and projected (1x1, linear), the
stage's input is mapped (1x1, linear), and the ReLU of their sum goes through a max pool to the
next stage.

A genotype names the topology of each stage (`dag.py`), stages separated by slashes:
``1c0.2s0,1/1s0/1c0.2c1``. Numbers only order the nodes, so sampled genotypes count from 1
without gaps; the released network's keep the numbers of its 30-node graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from toolchain.errors import GenotypeInvalid
from toolchain.graph import Graph, GraphBuilder
from toolchain.layers import GlobalAveragePool, Input, Linear, MaxPool2d, Shape
from toolchain.spaces.dag import OPERATORS, Dag, DagNode, Mask, dag_of, join, parse_dags
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.interned import ADD_RELU, CONCAT, conv
from toolchain.spaces.shrinkcnn import make_divisible

TRIES = 100
"""Draws for a topology that is not empty: the released sampler's are in 4% of cases."""

OPERATOR_SHARE = 1 / 3
"""Share of mutations that change an operator; of the others half remove an edge and half add
one, so that networks keep their size (our choice)."""


@dataclass(frozen=True, kw_only=True)
class SwiftNetSpace(ImageSpace):
    """Networks of one outline (stem, stages, head) whose stages differ in topology.

    Attributes:
        nodes: nodes of each stage's DAG, the input included; 30 in the paper.
        input_shape: CHW of the images.
        classes: features of the classifier.
        stem_channels: channels of the first convolution.
        stem_kernel: its rows and columns.
        stem_stride: its stride.
        stem_width: channels of the separable 3x3 convolution after it; 0 for none.
        stem_pool: pooling after that; 1 for none.
        widths: channels of a node, for each stage.
        outputs: channels that leave a stage, for each stage.
        pool: pooling between stages.
        max_inputs: most nodes that a node reads (our choice: what the runtime concatenates at
            once).
        channel_scale: factor on widths and outputs, for the baseline that scales widths.
    """

    name: ClassVar[str] = "swiftnet"
    nodes: tuple[int, ...] = (30, 30, 30)
    input_shape: Shape = (3, 32, 32)
    classes: int = 10
    stem_channels: int = 16
    stem_kernel: int = 3
    stem_stride: int = 2
    stem_width: int = 32
    stem_pool: int = 1
    widths: tuple[int, ...] = (24, 48, 96)
    outputs: tuple[int, ...] = (32, 96, 128)
    pool: int = 2
    max_inputs: int = 5
    channel_scale: float = 1.0

    def __post_init__(self) -> None:
        if not len(self.nodes) == len(self.widths) == len(self.outputs) > 0:
            raise ValueError("nodes, widths and outputs need one number for each stage")
        if min(self.nodes) < 2:
            raise ValueError(f"a SwiftNet stage has at least 2 nodes, got {min(self.nodes)}")
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape is (channels, rows, columns), got {self.input_shape}")
        if self.max_inputs < 1 or self.channel_scale <= 0 or self.stem_width < 0:
            raise ValueError(
                "max_inputs must be 1 or more, channel_scale more than 0 and stem_width 0 or "
                f"more, got {self.max_inputs}, {self.channel_scale} and {self.stem_width}"
            )
        self.decode("/".join(["1c0"] * len(self.nodes)))  # The layers check the rest.

    def shuffled_operators(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Operators of nodes 1, 2, ... for each stage: half and half over all nodes, shuffled.

        The input's takes part in the shuffle and is not used, so that neither is favoured.
        """
        return tuple(
            "".join(OPERATORS[index % 2] for index in rng.permutation(nodes)[1:])
            for nodes in self.nodes
        )

    def sample(self, rng: np.random.Generator, operators: tuple[str, ...] | None = None) -> str:
        """A random genotype: the released sampler's policy ``random`` in every stage.

        Args:
            rng: source of randomness.
            operators: operators of the nodes, for each stage; drawn when None.
        """
        letters = operators or self.shuffled_operators(rng)
        return self.genotype(letters, [self.sample_mask(len(one) + 1, rng) for one in letters])

    def sample_mask(self, nodes: int, rng: np.random.Generator) -> Mask:
        """Random edges of a stage: policy ``random`` of the authors' released sampler.

        A random number of nodes is picked; each reads any picked, reachable node before it, with
        a probability that falls as more are picked before it. The input can always be read but,
        as in the released code, counts among the picked only when the draw happens on it.
        """
        for _ in range(TRIES):
            picked = np.sort(rng.permutation(nodes)[: rng.integers(1, nodes)])
            branching = rng.uniform(3 / 4, 4 / 3)
            mask = np.zeros((nodes, nodes), dtype=np.bool_)
            alive = [0]
            for place, node in enumerate(map(int, picked)):
                if node == 0:
                    continue
                is_read = rng.uniform(size=len(alive)) < branching / (1 + place)
                sources = [one for one, read in zip(alive, is_read, strict=True) if read]
                if len(sources) > self.max_inputs:
                    sources = list(rng.choice(sources, self.max_inputs, replace=False))
                mask[sources, node] = True
                if sources:
                    alive.append(node)
            if mask.any():
                return mask
        mask[0, 1] = True
        return mask

    def genotype(self, operators: tuple[str, ...], masks: Sequence[Mask]) -> str:
        """The text of a network given by operators and edges of its stages.

        Raises:
            ValueError: in some stage nothing reads the input.
        """
        dags = [dag_of(*one).renumbered() for one in zip(operators, masks, strict=True)]
        if not all(dag.nodes for dag in dags):
            raise ValueError("a stage has no node that reads its input")
        return join(dags)

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one step away: in one stage an edge more or fewer, or another operator.

        An edge more can bring a node to life, one fewer leave nodes dead.
        """
        dags = parse_dags(genotype)
        for _ in range(TRIES):
            stage = int(rng.integers(len(dags)))
            changed = self._mutated(dags[stage], self.nodes[stage], rng)
            if changed.nodes and changed != dags[stage].renumbered():
                return join((*dags[:stage], changed, *dags[stage + 1 :]))
        return genotype

    def _mutated(self, dag: Dag, nodes: int, rng: np.random.Generator) -> Dag:
        """Another topology: live nodes are spread over the numbers there are, then one changes."""
        moved = dag.at(
            [int(one) for one in np.sort(rng.permutation(nodes - 1)[: len(dag.nodes)]) + 1]
        )
        mask = moved.mask(nodes)
        letters = [OPERATORS[index] for index in rng.integers(len(OPERATORS), size=nodes - 1)]
        for node in moved.nodes:
            letters[node.number - 1] = node.operator
        live = [node.number for node in moved.nodes]
        if rng.uniform() < OPERATOR_SHARE:
            slot = int(rng.choice(live)) - 1
            letters[slot] = OPERATORS[1 - OPERATORS.index(letters[slot])]
        elif rng.uniform() < 1 / 2:
            mask[moved.edges[rng.integers(len(moved.edges))]] = False
        else:
            target = int(rng.integers(1, nodes))
            (others,) = np.nonzero(mask[:, target])
            mask[rng.choice([0, *(number for number in live if number < target)]), target] = True
            if mask[:, target].sum() > self.max_inputs:
                mask[rng.choice(others), target] = False
        return dag_of("".join(letters), mask).renumbered()

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run.

        Stages do not touch each other's kernels: what enters and leaves them is as wide for all
        topologies. A node's kernels depend on its operator, on how many nodes it reads besides
        the input and on whether it reads the input; the projection's on the number of leaves.
        """
        for leaves in range(1, max(self.nodes)):
            yield self._witness("c", 0, True, leaves)
        for operator in OPERATORS:
            for others in range(self.max_inputs + 1):
                for reads_input in (True, False):
                    if others + reads_input <= self.max_inputs:
                        yield self._witness(operator, others, reads_input, 1)

    def _witness(self, operator: str, others: int, reads_input: bool, leaves: int) -> str:
        """In every stage a node that reads so many others, and so many leaves; or what fits."""
        dags = []
        for nodes in self.nodes:
            fillers = min(others, nodes - 2)
            inputs = (0,) if reads_input or not fillers else ()
            hub = (*inputs, *range(1, fillers + 1))
            sources = [*[(0,)] * fillers, hub, *[(0,)] * (leaves - 1)][: nodes - 1]
            words = [DagNode(number, operator, one) for number, one in enumerate(sources, start=1)]
            dags.append(Dag(tuple(words)))
        return join(dags)

    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has other stages, more nodes or more
                inputs than the space.
        """
        dags = parse_dags(genotype)
        self._require_fits(genotype, dags)
        channels, height, width = self.input_shape
        builder = GraphBuilder(genotype)
        x = builder.add("image", Input(channels=channels, height=height, width=width))
        x = builder.add("stem", conv(self.stem_channels, self.stem_kernel, self.stem_stride), x)
        if self.stem_width:
            x = builder.add("stem_dw", conv(self.stem_channels, 3, depthwise=True), x)
            x = builder.add("stem_pw", conv(self.stem_width), x)
        x = _pool(builder, "stem_pool", self.stem_pool, x)
        live = self.stem_width or self.stem_channels
        for stage, dag in enumerate(dags, start=1):
            width = self._scaled(self.widths[stage - 1])
            output = self._scaled(self.outputs[stage - 1])
            x = _add_stage(builder, dag, f"s{stage}", x, live, width, output)
            live = output
            if stage < len(dags):
                x = _pool(builder, f"s{stage}_pool", self.pool, x)
        x = builder.add("pool", GlobalAveragePool(), x)
        builder.add("logits", Linear(features=self.classes), x)
        return builder.graph()

    def _require_fits(self, genotype: str, dags: tuple[Dag, ...]) -> None:
        if len(dags) != len(self.nodes):
            raise GenotypeInvalid(
                genotype, f"the space has {len(self.nodes)} stages, the genotype {len(dags)}"
            )
        for stage, (dag, nodes) in enumerate(zip(dags, self.nodes, strict=True), start=1):
            if dag.nodes[-1].number >= nodes:
                raise GenotypeInvalid(
                    genotype,
                    f"stage {stage} of the space has nodes 0 to {nodes - 1}, the genotype a node "
                    f"{dag.nodes[-1].number}",
                )
            most = max(len(node.sources) for node in dag.nodes)
            if most > self.max_inputs:
                raise GenotypeInvalid(
                    genotype,
                    f"stage {stage}: a node reads {most} nodes, more than max_inputs of the "
                    f"space, {self.max_inputs}",
                )

    def _scaled(self, channels: int) -> int:
        return (
            channels
            if self.channel_scale == 1
            else make_divisible(int(channels * self.channel_scale))
        )


def _pool(builder: GraphBuilder, name: str, size: int, source: str) -> str:
    return source if size == 1 else builder.add(name, MaxPool2d(kernel=size, stride=size), source)


def _add_stage(
    builder: GraphBuilder, dag: Dag, prefix: str, source: str, live: int, width: int, output: int
) -> str:
    """A stage up to its last ReLU; returns the name of that.

    Args:
        builder: takes the layers.
        dag: the topology.
        prefix: of the layers' names.
        source: what the stage reads.
        live: its channels.
        width: channels of each node.
        output: channels that leave the stage.
    """
    names = {0: source}
    channels = {0: live}
    for number, operator, sources in dag.nodes:
        name = f"{prefix}_n{number}"
        reads = _merge(builder, f"{name}_in", [names[one] for one in sources])
        if operator == "s":
            fan_in = sum(channels[one] for one in sources)
            reads = builder.add(f"{name}_dw", conv(fan_in, 3, depthwise=True), reads)
        names[number] = builder.add(name, conv(width), reads)
        channels[number] = width
    leaves = _merge(builder, f"{prefix}_leaves", [names[leaf] for leaf in dag.leaves])
    projected = builder.add(f"{prefix}_projection", conv(output, activation="linear"), leaves)
    mapped = builder.add(f"{prefix}_mapping", conv(output, activation="linear"), source)
    return builder.add(f"{prefix}_add", ADD_RELU, projected, mapped)


def _merge(builder: GraphBuilder, name: str, sources: list[str]) -> str:
    return sources[0] if len(sources) == 1 else builder.add(name, CONCAT, *sources)
