"""The parts of SwiftNets: what each word of a genotype runs, without a graph.

A node runs its convolutions, which depend on how many nodes it reads and on whether the stage's
input is among them. Nodes that read the same ones share their concat, which runs once. A stage
ends in the concat and the projection of its leaves, of which only the number matters. All the
rest is the same in every network of a space.

Sets of nodes are bit masks: bit n stands for node n.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from latency_tables.kernel import Kernel
from toolchain.kernels import layer_kernels, plan
from toolchain.layers import Shape
from toolchain.spaces.dag import OPERATORS, DagNode, parse_word
from toolchain.spaces.interned import CONCAT, conv
from toolchain.spaces.swiftnet import SwiftNetSpace

MOST_WORDS = 200_000
"""Words of a stage that are kept: one of 30 nodes has millions, of which a search meets few."""


class SwiftNetParts:
    """Parts of the networks of a SwiftNet space.

    Attributes:
        kernels: of each part, by its number; the first is what all networks have in common.
    """

    def __init__(self, space: SwiftNetSpace) -> None:
        smallest = space.decode("/".join(["1c0"] * len(space.nodes)))
        reads = {node.name: node.inputs for node in smallest.nodes}
        self.kernels: list[tuple[Kernel, ...]] = [()]
        self._space = space
        self._stages = [
            _Stage(
                self.kernels,
                nodes=nodes,
                max_inputs=space.max_inputs,
                source=smallest.shapes[reads[f"s{stage}_n1"][0]],
                width=smallest.shapes[f"s{stage}_n1"][0],
                output=smallest.shapes[f"s{stage}_projection"][0],
            )
            for stage, nodes in enumerate(space.nodes, start=1)
        ]
        common = Counter(plan(smallest).kernels)
        for stage in self._stages:
            for number in stage.numbers("1c0") or ():
                common.subtract(self.kernels[number])
        assert min(common.values()) >= 0, "the smallest network runs each of its parts"
        self.kernels[0] = tuple(common.elements())

    def numbers(self, genotype: str) -> list[int]:
        """Numbers of the parts of a network.

        Raises:
            GenotypeInvalid: the text stands for no network of the space.
        """
        numbers = [0]
        texts = genotype.split("/")
        found = [stage.numbers(text) for stage, text in zip(self._stages, texts, strict=False)]
        for of_stage in found:
            if of_stage is None:
                break
            numbers += of_stage
        else:
            if len(texts) == len(self._stages):
                return numbers
        self._space.decode(genotype)  # Knows what is wrong.
        raise AssertionError(f"{genotype!r} can be decoded, but its parts cannot be told")


class _Word(NamedTuple):
    """What a word of a genotype stands for.

    Attributes:
        bit: its node.
        sources: the nodes it reads.
        node: number of the part with its convolutions.
        concat: number of the part that joins its sources; 0 if it reads a single one.
    """

    bit: int
    sources: int
    node: int
    concat: int


class _NoWord(Exception):
    """A text that is no word of a stage."""


class _Words(dict[str, _Word]):
    """The words of one stage, each read when it is first met."""

    def __init__(
        self, kernels: list[tuple[Kernel, ...]], nodes: int, max_inputs: int, source: Shape,
        value: Shape,
    ) -> None:  # fmt: skip
        super().__init__()
        self._kernels = kernels
        self._nodes = nodes
        self._max_inputs = max_inputs
        self._source = source
        self._value = value
        self._numbers: dict[tuple[Kernel, ...], int] = {}

    def __missing__(self, word: str) -> _Word:
        """Read a word.

        Raises:
            _NoWord: the text is none, or is not possible in this stage.
        """
        node = parse_word(word)
        if node is None or not self._is_possible(node):
            raise _NoWord(word)
        shapes = [self._value if source else self._source for source in node.sources]
        fan_in = (sum(shape[0] for shape in shapes), *self._value[1:])
        body = layer_kernels(conv(self._value[0]), fan_in)
        if node.operator == "s":
            body = (*layer_kernels(conv(fan_in[0], 3, depthwise=True), fan_in), *body)
        if len(self) >= MOST_WORDS:
            self.clear()
        self[word] = result = _Word(
            bit=1 << node.number,
            sources=sum(1 << source for source in node.sources),
            node=self.part(body),
            concat=self.part(layer_kernels(CONCAT, *shapes)) if len(shapes) > 1 else 0,
        )
        return result

    def part(self, kernels: tuple[Kernel, ...]) -> int:
        """The number of the part with these kernels."""
        if kernels not in self._numbers:
            self._numbers[kernels] = len(self._kernels)
            self._kernels.append(kernels)
        return self._numbers[kernels]

    def _is_possible(self, node: DagNode) -> bool:
        """Whether a node can be one of this stage, by itself."""
        number, operator, sources = node
        return (
            0 < number < self._nodes
            and operator in OPERATORS
            and sources[-1] < number
            and len(sources) <= self._max_inputs
            and all(one < other for one, other in pairwise(sources))
        )


class _Stage:
    """Parts of one stage of the networks."""

    def __init__(
        self,
        kernels: list[tuple[Kernel, ...]],
        *,
        nodes: int,
        max_inputs: int,
        source: Shape,
        width: int,
        output: int,
    ) -> None:
        """Prepare to read genotypes.

        Args:
            kernels: takes the kernels of the parts that are found.
            nodes: of the stage, the input included.
            max_inputs: most nodes that a node reads.
            source: CHW of the stage's input.
            width: channels of a node.
            output: channels that leave the stage.
        """
        value = (width, *source[1:])
        self._words = _Words(kernels, nodes, max_inputs, source, value)
        self._leaves = [0] * nodes
        for count in range(1, nodes):
            join = layer_kernels(CONCAT, *[value] * count) if count > 1 else ()
            project = conv(output, activation="linear")
            joined = (count * width, *source[1:])
            self._leaves[count] = self._words.part((*join, *layer_kernels(project, joined)))

    def numbers(self, text: str) -> list[int] | None:
        """Numbers of the parts of a stage; None where the text is none."""
        words = self._words
        numbers = []
        alive, read, last = 1, 0, 0
        joined = set()
        try:
            for word in text.split("."):
                bit, sources, node, concat = words[word]
                if bit <= last or sources & ~alive:
                    return None
                last = bit
                alive |= bit
                read |= sources
                numbers.append(node)
                if concat and sources not in joined:
                    joined.add(sources)
                    numbers.append(concat)
        except _NoWord:
            return None
        numbers.append(self._leaves[(alive & ~read).bit_count()])
        return numbers
