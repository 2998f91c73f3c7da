"""The meta-graph: what a search has learned about every edge of every stage's complete DAG.

Source: GRAM, arXiv 1906.08305. That there are weights on the edges of the complete DAG, that
they start at zero, the adaptive sampler and the pruning of weak edges survive in the abstract
and in the authors' released code. Everything else is a reconstruction: weights as log-odds, the
bound on the expected number of inputs, the score-function update, and credit that flows upstream
as the meaning of "graph propagation".
"""

from __future__ import annotations

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
        """Remove edges, the weakest first, until the network is within a budget.

        Source: "structure-level pruning" of the abstract; order and stop are our choice: edges of
        the search's answer go last. The order is the same for all budgets, so that a member of
        the family has no edge that a larger one lacks. A node that loses all its inputs goes;
        every stage keeps at least one node.

        Args:
            is_within: whether a network keeps the budget.

        Returns:
            The first network that does; the smallest on the way where none does.
        """
        masks = [self._strongest(stage) for stage in range(len(self.weights))]
        dags = self.dags(masks)
        if is_within(dags):
            return dags
        for stage, source, target in self._weakest_first():
            if not masks[stage][source, target]:
                continue
            masks[stage][source, target] = False
            pruned = self.dags(masks)
            if not pruned[stage].nodes:
                masks[stage][source, target] = True
            elif pruned != dags:
                dags = pruned
                if is_within(dags):
                    break
        return dags

    def _strongest(self, stage: int) -> Mask:
        """The complete DAG, but for the weakest inputs of nodes that have too many."""
        mask = np.triu(np.ones_like(self.weights[stage], dtype=np.bool_), k=1)
        for node in range(self.max_inputs + 1, len(mask)):
            weakest = np.argsort(self._strengths(stage)[:node, node], kind="stable")
            mask[weakest[: node - self.max_inputs], node] = False
        return mask

    def _weakest_first(self) -> Iterator[tuple[int, int, int]]:
        """(stage, source, target) of all edges; of equals the latest first."""
        edges = [
            (self._strengths(stage)[source, target], -target, -source, stage)
            for stage, weights in enumerate(self.weights)
            for target in range(1, len(weights))
            for source in range(target)
        ]
        for _, target, source, stage in sorted(edges):
            yield stage, -source, -target

    def _strengths(self, stage: int) -> Array:
        """Weights, with the answer's edges above all others; [nodes, nodes].

        Not probabilities: their bound says how many inputs a node should have, nothing of worth.
        """
        weights = self.weights[stage]
        if not self.answer:
            return weights
        margin = float(np.ptp(weights)) + 1
        return weights + margin * self.answer[stage].mask(len(weights))

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
