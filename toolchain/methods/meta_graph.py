"""The meta-graph: what a search has learned about every edge of every stage's complete DAG.

Source: GRAM, arXiv 1906.08305. That there are weights on the edges of the complete DAG, that
they start at zero, the adaptive sampler and the pruning of weak edges survive in the abstract
and in the authors' released code. Everything else is a reconstruction: weights as log-odds, the
bound on the expected number of inputs, the score-function update, and credit that flows upstream
as the meaning of "graph propagation".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.spaces.dag import Dag, Mask, dag_of, join, parse_dags

Array = npt.NDArray[np.float64]

EXPECTED_INPUTS = 3.0
"""Bound on the expected inputs of a node at even odds, doubled: without it the last nodes of a
30-node graph would read fifteen others each."""


@dataclass(frozen=True, eq=False)
class MetaGraph:
    """Weights of all edges.

    Attributes:
        operators: letters of nodes 1, 2, ... for each stage; fixed for a search.
        weights: for each stage [nodes, nodes]; element [i, j] is the log-odds of the edge from
            node i to node j, i < j.
        max_inputs: most nodes that a node reads.
        answer: the best network found, at its nodes' numbers here; empty while searching.
    """

    operators: tuple[str, ...]
    weights: tuple[Array, ...]
    max_inputs: int
    answer: tuple[Dag, ...] = ()

    @classmethod
    def blank(cls, operators: tuple[str, ...], max_inputs: int) -> MetaGraph:
        """A meta-graph that knows nothing: all weights 0."""
        sizes = [len(letters) + 1 for letters in operators]
        return cls(operators, tuple(np.zeros((size, size)) for size in sizes), max_inputs)

    def probabilities(self, stage: int) -> Array:
        """Probability of each edge of a stage, [nodes, nodes]; 0 where there can be none."""
        weights = self.weights[stage]
        nodes = np.arange(len(weights))
        bound = np.minimum(1.0, EXPECTED_INPUTS / np.maximum(nodes, 1))
        odds = 1 / (1 + np.exp(-weights))
        return np.triu(odds * bound, k=1)

    def draw_inputs(self, stage: int, node: int, rng: np.random.Generator) -> Mask:
        """Random inputs of one node, [nodes]: independent edges, at most ``max_inputs``."""
        drawn = rng.uniform(size=len(self.weights[stage])) < self.probabilities(stage)[:, node]
        (chosen,) = np.nonzero(drawn)
        if len(chosen) > self.max_inputs:
            drawn[rng.choice(chosen, len(chosen) - self.max_inputs, replace=False)] = False
        return drawn

    def draw(self, stage: int, rng: np.random.Generator) -> Mask:
        """Random edges of a stage: the authors' policy ``adaptive``, ancestral sampling."""
        size = len(self.weights[stage])
        columns = [self.draw_inputs(stage, node, rng) for node in range(1, size)]
        return np.column_stack([np.zeros(size, dtype=np.bool_), *columns])

    def learn(self, stage: int, mask: Mask, credit: Array, rate: float) -> MetaGraph:
        """Weights after a network was evaluated: each edge goes with its node's credit.

        The gradient of the log-probability of the inputs that a node has, times its credit (the
        score-function estimator). Edges from nodes that the input does not reach were no choice.

        Args:
            stage: from 0.
            mask: the network's edges in that stage.
            credit: how much better than expected it did, for each node's inputs; [nodes].
            rate: step size.
        """
        alive = np.array([True, *_alive(dag_of(self.operators[stage], mask), len(mask))])
        surprise = np.triu(mask - self.probabilities(stage), k=1)
        weights = list(self.weights)
        weights[stage] = weights[stage] + rate * credit[None, :] * surprise * alive[:, None]
        return replace(self, weights=tuple(weights))

    def dags(self, masks: Sequence[Mask]) -> tuple[Dag, ...]:
        """What the input reaches, for each stage."""
        return tuple(dag_of(*one) for one in zip(self.operators, masks, strict=True))

    def prune(self, is_within: Callable[[tuple[Dag, ...]], bool]) -> tuple[Dag, ...]:
        """Remove edges, the weakest first, until the network is within a budget, then fill it.

        Source: "structure-level pruning" of the abstract; order, stop and filling are our choice.
        All stages lose edges at the same pace; those of the search's answer go last. A node that
        loses all its inputs goes; every stage keeps at least one node. Where one edge took much
        with it, the last removed edges that fit the budget come back.

        Args:
            is_within: whether a network keeps the budget.

        Returns:
            The network; the smallest on the way where none is within the budget.
        """
        masks = [self._strongest(stage) for stage in range(len(self.weights))]
        dags = self.dags(masks)
        removed: list[tuple[int, int, int]] = []
        for edge in self._weakest_first():
            if is_within(dags):
                break
            changed = self._with(masks, edge, present=False)
            if changed is None:
                continue
            removed.append(edge)
            masks, dags = changed
        else:
            return dags
        for edge in reversed(removed):
            changed = self._with(masks, edge, present=True)
            if changed is not None and changed[1] != dags and is_within(changed[1]):
                masks, dags = changed
        return dags

    def _with(
        self, masks: list[Mask], edge: tuple[int, int, int], *, present: bool
    ) -> tuple[list[Mask], tuple[Dag, ...]] | None:
        """Masks and network with an edge set or removed; None when it is so, or a stage dies."""
        stage, source, target = edge
        if masks[stage][source, target] == present:
            return None
        changed = [mask.copy() if place == stage else mask for place, mask in enumerate(masks)]
        changed[stage][source, target] = present
        dags = self.dags(changed)
        return (changed, dags) if dags[stage].nodes else None

    def _strongest(self, stage: int) -> Mask:
        """The complete DAG, but for the weakest inputs of nodes that have too many."""
        mask = np.triu(np.ones_like(self.weights[stage], dtype=np.bool_), k=1)
        for node in range(self.max_inputs + 1, len(mask)):
            weakest = np.argsort(self._strengths(stage)[:node, node], kind="stable")
            mask[weakest[: node - self.max_inputs], node] = False
        return mask

    def _weakest_first(self) -> Iterator[tuple[int, int, int]]:
        """(stage, source, target) of all edges."""
        edges = [
            (self._strengths(stage)[source, target], stage, source, target)
            for stage, weights in enumerate(self.weights)
            for target in range(1, len(weights))
            for source in range(target)
        ]
        for _, *edge in sorted(edges):
            yield edge[0], edge[1], edge[2]

    def _strengths(self, stage: int) -> Array:
        """Ranks of the edges' weights in [0, 1), in [1, 2) for the answer's; [nodes, nodes].

        Ranks, because stages are of different sizes and learned from different moves. Not
        probabilities: their bound says how many inputs a node should have, nothing of worth. Of
        equals the later edge is the weaker.
        """
        weights = self.weights[stage]
        is_kept = self.answer[stage].mask(len(weights)) if self.answer else weights > math.inf
        strengths = np.zeros_like(weights)
        for in_answer in (False, True):
            edges = [
                (weights[source, target], -target, -source)
                for target in range(1, len(weights))
                for source in range(target)
                if is_kept[source, target] == in_answer
            ]
            for place, (_, target, source) in enumerate(sorted(edges)):
                strengths[-source, -target] = in_answer + place / len(edges)
        return strengths

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``meta_graph_from_json`` reads back."""
        return {
            "operators": list(self.operators),
            "weights": [np.round(weights, 6).tolist() for weights in self.weights],
            "max_inputs": self.max_inputs,
            "answer": join(self.answer),
        }


def meta_graph_from_json(data: Mapping[str, Any]) -> MetaGraph:
    """The meta-graph that ``MetaGraph.to_json`` wrote."""
    return MetaGraph(
        tuple(data["operators"]),
        tuple(np.array(weights, dtype=np.float64) for weights in data["weights"]),
        data["max_inputs"],
        parse_dags(data["answer"]) if data["answer"] else (),
    )


def propagated(dag: Dag, nodes: int, start: Mapping[int, float], share: float) -> Array:
    """Credit of each node's inputs when some nodes have credit of their own, [nodes].

    A node passes a share of its credit on to the nodes it reads, in equal parts, and they to
    theirs: whoever feeds a good node did well.

    Args:
        dag: the live nodes.
        nodes: size of the result.
        start: credit by node number.
        share: of the credit that is passed on, in [0, 1]; 0 turns propagation off.
    """
    credit = np.zeros(nodes)
    for number, own in start.items():
        credit[number] += own
    for node in reversed(dag.nodes):
        for source in node.sources:
            credit[source] += share * credit[node.number] / len(node.sources)
    return credit


def _alive(dag: Dag, nodes: int) -> Iterator[bool]:
    live = {node.number for node in dag.nodes}
    return (number in live for number in range(1, nodes))
