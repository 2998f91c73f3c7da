"""A DAG of operators over numbered nodes, as text: the topology of one SwiftNet stage.

Node 0 is the stage's input. A word stands for one live node: its number, its operator (``c`` 1x1
convolution, ``s`` separable 3x3) and the nodes it reads, separated by commas. Words are separated
by dots, in ascending order of their numbers: ``14c0.17c14.20c0,14``. Nodes that nothing leads to
are left out, so that a topology has one text only. Stages are separated by slashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolchain.errors import GenotypeInvalid

Mask = npt.NDArray[np.bool_]
"""[nodes, nodes]; element [i, j] is the edge from node i to node j, i < j."""

OPERATORS = ("c", "s")
"""1x1 convolution, separable 3x3 convolution."""

_NUMBER = "(?:0|[1-9][0-9]{0,3})"
_WORD = re.compile(f"({_NUMBER})([a-z])({_NUMBER}(?:,{_NUMBER})*)")


class DagNode(NamedTuple):
    """A live node.

    Attributes:
        number: from 1.
        operator: its letter.
        sources: numbers of the nodes it reads, ascending.
    """

    number: int
    operator: str
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Dag:
    """The live nodes of a stage, by their numbers."""

    nodes: tuple[DagNode, ...]

    @property
    def genotype(self) -> str:
        """The topology as text."""
        return ".".join(
            f"{number}{operator}{','.join(map(str, sources))}"
            for number, operator, sources in self.nodes
        )

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Nodes that nobody reads; their concat is what the stage projects."""
        read = {source for node in self.nodes for source in node.sources}
        return tuple(node.number for node in self.nodes if node.number not in read)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All edges (from, to), by target then source."""
        return tuple((source, node.number) for node in self.nodes for source in node.sources)

    def renumbered(self) -> Dag:
        """The same topology with nodes counted from 1 without gaps."""
        return self.at(range(1, len(self.nodes) + 1))

    def at(self, numbers: Sequence[int]) -> Dag:
        """The same topology with its nodes at other numbers, ascending."""
        moved = {0: 0} | {node.number: to for node, to in zip(self.nodes, numbers, strict=True)}
        return Dag(
            tuple(
                DagNode(moved[number], operator, tuple(moved[source] for source in sources))
                for number, operator, sources in self.nodes
            )
        )

    def mask(self, nodes: int) -> Mask:
        """The edges in a matrix of so many nodes."""
        mask = np.zeros((nodes, nodes), dtype=np.bool_)
        for source, target in self.edges:
            mask[source, target] = True
        return mask


def dag_of(operators: str, mask: Mask) -> Dag:
    """What the input reaches of a matrix of edges.

    Args:
        operators: letters of nodes 1, 2, ...
        mask: the edges; those from nodes that the input does not reach do not count.
    """
    alive = np.zeros(len(mask), dtype=np.bool_)
    alive[0] = True
    nodes = []
    for number, operator in enumerate(operators, start=1):
        (sources,) = np.nonzero(mask[:number, number] & alive[:number])
        if len(sources):
            alive[number] = True
            nodes.append(DagNode(number, operator, tuple(map(int, sources))))
    return Dag(tuple(nodes))


def join(dags: Sequence[Dag]) -> str:
    """The genotype of several stages."""
    return "/".join(dag.genotype for dag in dags)


def parse_dags(genotype: str) -> tuple[Dag, ...]:
    """The stages that a genotype stands for.

    Raises:
        GenotypeInvalid: a stage is empty; a word is malformed, its operator unknown, its number
            out of order; or a node reads itself or a later one (a cycle), one that the input
            does not reach, or one twice.
    """
    return tuple(
        _parse_stage(genotype, number, text)
        for number, text in enumerate(genotype.split("/"), start=1)
    )


def parse_word(word: str) -> DagNode | None:
    """The node that a word stands for, its numbers as they are; None if it is no word."""
    match = _WORD.fullmatch(word)
    if match is None:
        return None
    return DagNode(int(match[1]), match[2], tuple(map(int, match[3].split(","))))


def _parse_stage(genotype: str, stage: int, text: str) -> Dag:
    def invalid(reason: str) -> GenotypeInvalid:
        return GenotypeInvalid(genotype, f"stage {stage}: {reason}")

    if not text:
        raise invalid("it is empty; the smallest there is has one node, like 1c0")
    alive = {0}
    nodes: list[DagNode] = []
    for word in text.split("."):
        node = parse_word(word)
        if node is None:
            raise invalid(f"{word!r} is not a number, an operator and numbers, like 20c0,14")
        number, operator, sources = node
        if operator not in OPERATORS:
            raise invalid(f"unknown operator {operator!r}; known are {', '.join(OPERATORS)}")
        if number <= (nodes[-1].number if nodes else 0):
            raise invalid(f"node {number} is out of order; numbers ascend, from 1")
        if max(sources) >= number:
            raise invalid(
                f"node {number} reads {max(sources)}, which makes a cycle; it can read earlier "
                "nodes only"
            )
        if list(sources) != sorted(set(sources)):
            raise invalid(f"node {number} must name what it reads once each, ascending")
        unknown = sorted(set(sources) - alive)
        if unknown:
            raise invalid(f"node {number} reads {unknown[0]}, which the input does not reach")
        alive.add(number)
        nodes.append(node)
    return Dag(tuple(nodes))
