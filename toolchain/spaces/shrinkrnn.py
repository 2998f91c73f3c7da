"""The ShrinkRNN space: one recurrent cell, a DAG of highway connections, in a language model.

Source: AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020,
arXiv 1911.09251, and the authors' released code. For each token, with the embedding x, the state
h of the token before, and H = ``hidden`` values in each:

    c, a  = split([x ; h] W, 2)        s_0  = h + sigmoid(c) (tanh(a) - h)         W:    2H x 2H
    c, a  = split(s_i W_ij, 2)         m_ij = s_i + sigmoid(c) (f_j(a) - s_i)      W_ij: H x 2H
    s_j   = mean of m_ij over the nodes i that node j reads
    state = mean of s_j over the leaves j;   logits = state V^T + b, V being the embedding

f_j is the activation of node j, W_ij belongs to one edge. Embedding and state are equally wide,
because the embedding is tied to the output.

A genotype is text, one word for each node after node 0, words separated by dots: the activation
(``r`` relu, ``s`` sigmoid, ``t`` tanh, ``i`` identity) and the nodes it reads, as digits. The
released cell is ``i0.s0.s01.t0123.i0123``; a node that reads nothing (``t``) is dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import digits
from typing import ClassVar

import numpy as np

from toolchain.errors import GenotypeInvalid
from toolchain.spaces.shrinkcnn import MAX_NODES, TRIES, Cell

ACTIVATIONS: Mapping[str, str] = {"r": "relu", "s": "sigmoid", "t": "tanh", "i": "identity"}
"""Activations by their letters."""


@dataclass(frozen=True, kw_only=True)
class RecurrentNetwork:
    """A language model: embedding, one cell, output tied to the embedding.

    Attributes:
        cell: its operators are letters of ``ACTIVATIONS``; node 0 computes s_0.
        hidden: values of the state and of an embedding, H.
        vocabulary: words.
    """

    cell: Cell
    hidden: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Weights: the embedding, counted once, the output's biases, W, and W_ij of each edge."""
        return self.vocabulary * (self.hidden + 1) + self._cell_weights

    @property
    def macs_per_token(self) -> int:
        """Multiply-accumulates of all matrix products for one token, the output's included."""
        return self.vocabulary * self.hidden + self._cell_weights

    @property
    def score_flops(self) -> int:
        """Cost as AutoShrink's score has it: H^2 for each edge, and nothing else."""
        return len(self.cell.edges) * self.hidden**2

    def to_json(self) -> dict[str, str | int]:
        """Outline and counts."""
        return {
            "genotype": self.cell.genotype,
            "hidden": self.hidden,
            "vocabulary": self.vocabulary,
            "params": self.parameters,
            "macs_per_token": self.macs_per_token,
        }

    @property
    def _cell_weights(self) -> int:
        return (2 + len(self.cell.edges)) * 2 * self.hidden**2


def parse_rnn_cell(genotype: str) -> Cell:
    """The cell that a genotype stands for.

    Raises:
        GenotypeInvalid: a word is malformed, a node reads a later, dead or repeated one, or
            nothing reads node 0.
    """
    words = genotype.split(".")
    if len(words) >= MAX_NODES:
        raise GenotypeInvalid(genotype, f"at most {MAX_NODES - 1} nodes, got {len(words)}")
    alive = {0}
    sources = []
    for node, word in enumerate(words, start=1):
        if word[:1] not in ACTIVATIONS or not set(word[1:]) <= set(digits):
            raise GenotypeInvalid(genotype, f"{word!r} is not r, s, t or i followed by digits")
        reads = tuple(map(int, word[1:]))
        if list(reads) != sorted(set(reads)) or any(source >= node for source in reads):
            raise GenotypeInvalid(
                genotype, f"node {node} must read earlier nodes, each once, ascending"
            )
        if dead := sorted(set(reads) - alive):
            raise GenotypeInvalid(genotype, f"node {node} reads node {dead[0]}, which is dead")
        sources.append(reads)
        if reads:
            alive.add(node)
    if alive == {0}:
        raise GenotypeInvalid(genotype, "no node reads node 0")
    return Cell("".join(word[0] for word in words), tuple(sources))


@dataclass(frozen=True, kw_only=True)
class ShrinkRnnSpace:
    """Cells of ``nodes`` nodes in a language model of fixed size.

    Not a ``Space``: networks are sequences' and not images', so that ``decode`` gives no graph.

    Attributes:
        nodes: nodes of a cell, node 0 included; 6 in the paper, which makes 15 edges.
        hidden: values of the state and of an embedding; 100 in the paper's search.
        vocabulary: words.
    """

    name: ClassVar[str] = "shrinkrnn"
    nodes: int = 6
    hidden: int = 100
    vocabulary: int = 10_000

    def __post_init__(self) -> None:
        if not 2 <= self.nodes <= MAX_NODES:
            raise ValueError(f"a ShrinkRNN cell has 2 to {MAX_NODES} nodes, got {self.nodes}")
        if self.hidden < 1 or self.vocabulary < 1:
            raise ValueError(
                "hidden and vocabulary must be more than 0, "
                f"got {self.hidden} and {self.vocabulary}"
            )

    def random_operators(self, rng: np.random.Generator) -> str:
        """Activations for nodes 1, 2, ...: each drawn alone, all equally likely."""
        return "".join(rng.choice(list(ACTIVATIONS), size=self.nodes - 1))

    def complete(self, operators: str) -> str:
        """The genotype of the complete DAG, where AutoShrink begins."""
        sources = tuple(tuple(range(node)) for node in range(1, self.nodes))
        return Cell(operators, sources).genotype

    def sample(self, rng: np.random.Generator, operators: str | None = None) -> str:
        """A random genotype; every density of edges is equally likely.

        Args:
            rng: source of randomness.
            operators: activations of the nodes; drawn when None.
        """
        letters = operators or self.random_operators(rng)
        density = rng.uniform()
        alive = [0]
        sources: list[tuple[int, ...]] = []
        for node in range(1, self.nodes):
            reads = tuple(source for source in alive if rng.uniform() < density)
            sources.append(reads)
            if reads:
                alive.append(node)
        if alive == [0]:
            sources[0] = (0,)
        return Cell(letters, tuple(sources)).genotype

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one step away: an edge more or fewer, or another activation.

        Raises:
            GenotypeInvalid: the text is no genotype of this space.
        """
        cell = self.decode(genotype).cell
        dead = self.nodes - 1 - len(cell.sources)
        whole = Cell(cell.operators + "i" * dead, cell.sources + ((),) * dead)
        for _ in range(TRIES):
            changed = self._changed(whole, rng)
            if changed.leaves and changed.live != whole.live:
                return changed.genotype
        return genotype

    def _changed(self, cell: Cell, rng: np.random.Generator) -> Cell:
        """The cell with one thing changed, perhaps at a dead node."""
        node = int(rng.integers(1, self.nodes))
        source = int(rng.integers(node + 1))
        if source == node:
            others = [letter for letter in ACTIVATIONS if letter != cell.operators[node - 1]]
            letters = list(cell.operators)
            letters[node - 1] = str(rng.choice(others))
            return Cell("".join(letters), cell.sources)
        if source in cell.sources[node - 1]:
            return cell.without((source, node))
        if source and not cell.sources[source - 1]:
            return cell  # A dead node cannot be read.
        sources = list(cell.sources)
        sources[node - 1] = tuple(sorted((*sources[node - 1], source)))
        return Cell(cell.operators, tuple(sources))

    def decode(self, genotype: str) -> RecurrentNetwork:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has more nodes than the space.
        """
        cell = parse_rnn_cell(genotype)
        if len(cell.sources) >= self.nodes:
            raise GenotypeInvalid(
                genotype, f"the space has {self.nodes} nodes, the genotype {len(cell.sources) + 1}"
            )
        return RecurrentNetwork(cell=cell, hidden=self.hidden, vocabulary=self.vocabulary)
