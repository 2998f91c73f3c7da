"""A cell: a DAG of a few nodes, as AutoShrink's spaces have it, and its text.

Source: AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020,
arXiv 1911.09251.

The text has one word for each node after node 0, words separated by dots: a letter, which is the
node's operator, and the nodes that it reads, as digits. A node that reads nothing is dead. What
the letters mean is the space's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from string import digits

import numpy as np

from toolchain.errors import GenotypeInvalid

TRIES = 100
"""Draws for a mutation that changes something and leaves a network."""

MAX_NODES = 10
"""Nodes are named by one digit."""

Sources = tuple[tuple[int, ...], ...]
"""Nodes that nodes 1, 2, ... read."""


@dataclass(frozen=True)
class Cell:
    """A DAG of operators. Node 0 is the input; node i reads ``sources[i - 1]``.

    Attributes:
        operators: operator letter of nodes 1, 2, ...
        sources: nodes that each of them reads, ascending; () when the node is dead.
    """

    operators: str
    sources: Sources

    @property
    def genotype(self) -> str:
        """The cell as text."""
        return ".".join(
            operator + "".join(map(str, sources))
            for operator, sources in zip(self.operators, self.sources, strict=True)
        )

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All edges (from, to), by target then source."""
        return tuple(
            (source, target)
            for target, sources in enumerate(self.sources, start=1)
            for source in sources
        )

    @property
    def live(self) -> tuple[tuple[int, str, tuple[int, ...]], ...]:
        """What the cell computes: number, operator and sources of each live node."""
        nodes = zip(self.operators, self.sources, strict=True)
        return tuple(
            (number, operator, sources)
            for number, (operator, sources) in enumerate(nodes, start=1)
            if sources
        )

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Live nodes that nobody reads; they make the cell's output."""
        read = {source for sources in self.sources for source in sources}
        return tuple(
            node
            for node, sources in enumerate(self.sources, start=1)
            if sources and node not in read
        )

    def without(self, edge: tuple[int, int]) -> Cell:
        """The cell with one edge removed, and with it every edge the input no longer reaches."""
        kept = tuple(
            tuple(source for source in sources if (source, target) != edge)
            for target, sources in enumerate(self.sources, start=1)
        )
        return Cell(self.operators, reachable(kept))


def parse_cell(genotype: str, letters: Sequence[str], nodes: int = MAX_NODES) -> Cell:
    """The cell that a genotype stands for.

    Args:
        genotype: the text.
        letters: operators that there are.
        nodes: most nodes, node 0 included.

    Raises:
        GenotypeInvalid: a word is malformed, a node reads a later, dead or repeated one, nothing
            reads node 0, or there are more nodes.
    """
    words = genotype.split(".")
    if len(words) >= MAX_NODES:
        raise GenotypeInvalid(genotype, f"at most {MAX_NODES - 1} nodes, got {len(words)}")
    for word in words:
        if word[:1] not in letters or not set(word[1:]) <= set(digits):
            known = f"{', '.join(letters[:-1])} or {letters[-1]}"
            raise GenotypeInvalid(genotype, f"{word!r} is not {known} followed by digits")
    sources = tuple(tuple(map(int, word[1:])) for word in words)
    for node, reads in enumerate(sources, start=1):
        if list(reads) != sorted(set(reads)) or any(source >= node for source in reads):
            raise GenotypeInvalid(
                genotype, f"node {node} must read earlier nodes, each once, ascending"
            )
        for source in reads:
            if source and not sources[source - 1]:
                raise GenotypeInvalid(
                    genotype,
                    f"node {node} reads node {source}, which is dead: the input does not reach it",
                )
    cell = Cell("".join(word[0] for word in words), sources)
    if not cell.leaves:
        raise GenotypeInvalid(genotype, "no node reads node 0, the input")
    if len(words) >= nodes:
        raise GenotypeInvalid(
            genotype, f"the space has {nodes} nodes, the genotype {len(words) + 1}"
        )
    return cell


def complete_cell(operators: str) -> Cell:
    """The complete DAG: every node reads all before it."""
    return Cell(operators, tuple(tuple(range(node)) for node in range(1, len(operators) + 1)))


def random_cell(operators: str, rng: np.random.Generator) -> Cell:
    """A random DAG; every density of edges is equally likely."""
    density = rng.uniform()
    sources = tuple(
        tuple(source for source in range(node) if rng.uniform() < density)
        for node in range(1, len(operators) + 1)
    )
    cell = Cell(operators, reachable(sources))
    if not cell.leaves:
        return Cell(operators, ((0,), *([()] * (len(operators) - 1))))
    return cell


def neighbor(cell: Cell, letters: Sequence[str], nodes: int, rng: np.random.Generator) -> Cell:
    """A cell one random step away: an edge more or fewer, or another operator.

    Args:
        cell: where to start.
        letters: operators that there are, at least two.
        nodes: of the space, node 0 included; those that the cell leaves out are dead.
        rng: source of randomness.

    Returns:
        The cell itself where no such step was found.
    """
    dead = nodes - 1 - len(cell.sources)
    whole = Cell(cell.operators + letters[0] * dead, cell.sources + ((),) * dead)
    for _ in range(TRIES):
        node = int(rng.integers(1, nodes))
        source = int(rng.integers(node + 1))
        operators, sources = list(whole.operators), list(whole.sources)
        if source == node:
            others = [letter for letter in letters if letter != operators[node - 1]]
            operators[node - 1] = others[int(rng.integers(len(others)))]
        else:
            sources[node - 1] = tuple(sorted({*sources[node - 1]} ^ {source}))
        changed = Cell("".join(operators), reachable(tuple(sources)))
        if changed.leaves and changed.live != cell.live:
            return changed
    return cell


def reachable(sources: Sources) -> Sources:
    """The edges whose source the input reaches."""
    alive = {0}
    kept = []
    for node, reads in enumerate(sources, start=1):
        live = tuple(source for source in reads if source in alive)
        kept.append(live)
        if live:
            alive.add(node)
    return tuple(kept)
