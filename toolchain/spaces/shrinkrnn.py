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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latency_tables.kernel import Kernel
from toolchain.count import Counts, count
from toolchain.kernels import Plan, plan
from toolchain.spaces.cell import (
    MAX_NODES,
    Cell,
    complete_cell,
    neighbor,
    parse_cell,
    random_cell,
)
from toolchain.spaces.recurrent_network import ACTIVATIONS, RecurrentNetwork
from toolchain.spaces.shrinkrnn_step import step_graph

LETTERS = tuple(ACTIVATIONS)

PERPLEXITY_WEIGHT = 0.25
WORTHLESS_PERPLEXITY = 200
"""AutoShrink's score is 0.25 (200 - perplexity) - (log10 of the cost)."""


@dataclass(frozen=True, kw_only=True)
class ShrinkRnnSpace:
    """Cells of ``nodes`` nodes in a language model of fixed size.

    Its networks read words, one at a time, and are no graphs of an image.

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
        return "".join(rng.choice(LETTERS, size=self.nodes - 1))

    def complete(self, operators: str) -> str:
        """The genotype of the complete DAG, where AutoShrink begins."""
        return complete_cell(operators).genotype

    def sample(self, rng: np.random.Generator, operators: str | None = None) -> str:
        """A random genotype; every density of edges is equally likely.

        Args:
            rng: source of randomness.
            operators: activations of the nodes; drawn when None.
        """
        return random_cell(operators or self.random_operators(rng), rng).genotype

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one step away: an edge more or fewer, or another activation.

        Raises:
            GenotypeInvalid: the text is no genotype of this space.
        """
        return neighbor(self.parse(genotype), LETTERS, self.nodes, rng).genotype

    def parse(self, genotype: str) -> Cell:
        """The cell of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has more nodes than the space.
        """
        return parse_cell(genotype, LETTERS, self.nodes)

    def decode(self, genotype: str) -> RecurrentNetwork:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or has more nodes than the space.
        """
        return RecurrentNetwork(
            cell=self.parse(genotype), hidden=self.hidden, vocabulary=self.vocabulary
        )

    def plan(self, genotype: str) -> Plan:
        """See Space: what one word takes."""
        return plan(step_graph(self.decode(genotype)))

    def kernels(self, genotype: str) -> tuple[Kernel, ...]:
        """See Space."""
        return self.plan(genotype).kernels

    def counts(self, genotype: str) -> Counts:
        """See Space: what one word takes."""
        return count(step_graph(self.decode(genotype)))

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run.

        A node's kernels depend on its activation and on how many nodes it reads, the output's on
        how many leaves the cell has.
        """
        for letter in LETTERS:
            operators = letter * (self.nodes - 1)
            yield self.complete(operators)
            for leaves in range(1, self.nodes):
                dead = self.nodes - 1 - leaves
                yield Cell(operators, ((0,),) * leaves + ((),) * dead).genotype

    def score(self, metric: float, decades: float) -> float:
        """See CellSpace: ten-fold cost is worth four of perplexity.

        Args:
            metric: the negative perplexity.
            decades: see CellSpace.
        """
        return PERPLEXITY_WEIGHT * (WORTHLESS_PERPLEXITY + metric) - decades

    def scored_cost(self, genotype: str) -> int:
        """See CellSpace: H^2 for each edge, and nothing else."""
        return self.decode(genotype).score_flops
