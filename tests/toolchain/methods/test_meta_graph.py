from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from toolchain.methods.meta_graph import (
    EXPECTED_INPUTS,
    MetaGraph,
    meta_graph_from_json,
    propagated,
)
from toolchain.spaces.dag import Dag, DagNode, join, parse_dags


def random_graph(
    seed: int, operators: tuple[str, ...] = ("cscsc", "sccscsc"), max_inputs: int = 3
) -> MetaGraph:
    """Weights that differ from edge to edge, also below the diagonal, where there is no edge."""
    rng = np.random.default_rng(seed)
    blank = MetaGraph.blank(operators, max_inputs)
    return replace(blank, weights=tuple(rng.normal(size=one.shape) for one in blank.weights))


def test_a_blank_graph_expects_half_the_bound_of_inputs_of_each_node() -> None:
    probabilities = MetaGraph.blank(("c" * 29,), 5).probabilities(0)
    assert np.array_equal(probabilities, np.triu(probabilities, k=1))
    expected = [min(node, EXPECTED_INPUTS) / 2 for node in range(30)]
    assert probabilities.sum(0) == pytest.approx(expected)


def test_weights_are_log_odds() -> None:
    graph = random_graph(0)
    stage = graph.probabilities(1)
    for source, target in itertools.combinations(range(len(stage)), 2):
        bound = min(1, EXPECTED_INPUTS / target)
        share = stage[source, target] / bound
        assert math.log(share / (1 - share)) == pytest.approx(graph.weights[1][source, target])


def test_draws_meet_the_probabilities_of_the_edges() -> None:
    graph = replace(random_graph(1), max_inputs=9)
    rng = np.random.default_rng(0)
    draws = np.mean([graph.draw(1, rng) for _ in range(6000)], axis=0)
    assert draws == pytest.approx(graph.probabilities(1), abs=0.025)


def test_of_too_many_inputs_as_many_as_allowed_are_kept_each_as_likely() -> None:
    graph = MetaGraph(("cccc",), (np.full((5, 5), 50.0),), max_inputs=2)
    rng = np.random.default_rng(0)
    node = 3  # The bound leaves nodes 1 to 3 certain of their inputs.
    draws = np.array([graph.draw_inputs(0, node, rng) for _ in range(3000)])
    assert set(draws.sum(1)) == {2}
    assert draws.mean(0) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0, 0], abs=0.03)


def test_a_step_goes_with_the_credit_and_against_the_odds() -> None:
    graph = MetaGraph.blank(("ccs",), 3)
    mask = parse_dags("1c0.3s0,1")[0].mask(4)
    credit = np.array([0.0, 2.0, -1.0, 0.5])
    change = graph.learn(0, mask, credit, 0.1).weights[0] - graph.weights[0]
    odds = graph.probabilities(0)
    assert change[0, 1] == pytest.approx(0.1 * 2 * (1 - odds[0, 1]))
    assert change[0, 2] == pytest.approx(0.1 * -1 * (0 - odds[0, 2]))  # absent, and that was bad
    assert change[1, 3] == pytest.approx(0.1 * 0.5 * (1 - odds[1, 3]))
    assert not change[2].any()  # the input does not reach node 2: whoever reads it is no choice
    assert not np.tril(change).any()
    assert not graph.weights[0].any()


def test_learning_climbs_the_expected_score() -> None:
    """Over all networks of a small stage the mean step is the gradient, by finite differences."""
    graph = replace(random_graph(3, ("csc",)), max_inputs=3)
    # Node 3 may read at most all three others, so that edges are independent; the bound is 1.
    pairs = list(itertools.combinations(range(4), 2))
    masks = [
        np.array([[(i, j) in chosen for j in range(4)] for i in range(4)])
        for size in range(len(pairs) + 1)
        for chosen in map(set, itertools.combinations(pairs, size))
    ]
    worth = {
        join(graph.dags([mask])): float(np.random.default_rng(len(masks) + index).uniform())
        for index, mask in enumerate(masks)
    }

    def chance(of: MetaGraph, mask: np.ndarray) -> float:
        odds = of.probabilities(0)
        return math.prod(odds[pair] if mask[pair] else 1 - odds[pair] for pair in pairs)

    def expected_worth(of: MetaGraph) -> float:
        return sum(chance(of, mask) * worth[join(of.dags([mask]))] for mask in masks)

    step = np.zeros((4, 4))
    for mask in masks:
        credit = np.full(4, worth[join(graph.dags([mask]))])
        step += chance(graph, mask) * (
            graph.learn(0, mask, credit, 1.0).weights[0] - graph.weights[0]
        )
    gradient = np.zeros((4, 4))
    for pair in pairs:
        ends = []
        for sign in (1, -1):
            weights = graph.weights[0].copy()
            weights[pair] += sign * 1e-5
            ends.append(expected_worth(replace(graph, weights=(weights,))))
        gradient[pair] = (ends[0] - ends[1]) / 2e-5
    assert step == pytest.approx(gradient, abs=1e-8)
    assert np.abs(gradient).max() > 0.005


def test_credit_flows_in_equal_parts_to_what_a_node_reads() -> None:
    #     0 -> 1 -> 3, 0 -> 2 -> 3, 2 -> 4
    dag = Dag(
        (
            DagNode(1, "c", (0,)), DagNode(2, "s", (0,)), DagNode(3, "c", (1, 2)),
            DagNode(4, "c", (2,)),
        )
    )  # fmt: skip
    of_3 = propagated(dag, 6, {3: 1.0}, 0.5)
    assert of_3 == pytest.approx([0.25, 0.25, 0.25, 1, 0, 0])
    both = propagated(dag, 6, {3: 1.0, 4: -2.0}, 0.5)
    assert both == pytest.approx([0.5 * 0.25 + 0.5 * (0.25 - 1), 0.25, 0.25 - 1, 1, -2, 0])
    assert propagated(dag, 6, {3: 1.0}, 0) == pytest.approx([0, 0, 0, 1, 0, 0])
    whole = propagated(dag, 6, {3: 1.0}, 1.0)
    assert whole[0] == pytest.approx(1.0)  # nothing is lost on the way to the input


def test_credit_of_a_node_that_the_move_left_dead_stays_with_it() -> None:
    dag = parse_dags("1c0.2s1")[0]
    assert propagated(dag, 5, {4: 3.0}, 0.5) == pytest.approx([0, 0, 0, 0, 3])


def test_json_brings_back_the_graph() -> None:
    graph = replace(random_graph(5), answer=parse_dags("2s0.4s0,2/1s0.7c1"))
    text = json.dumps(graph.to_json())
    back = meta_graph_from_json(json.loads(text))
    assert (back.operators, back.max_inputs, back.answer) == (
        graph.operators, graph.max_inputs, graph.answer,
    )  # fmt: skip
    for before, after in zip(graph.weights, back.weights, strict=True):
        assert after == pytest.approx(before, abs=1e-6)
    assert json.dumps(back.to_json()) == text
    assert meta_graph_from_json(random_graph(5).to_json()).answer == ()


def within_edges(most: int):  # type: ignore[no-untyped-def]
    return lambda dags: sum(len(dag.edges) for dag in dags) <= most


def edges_of(dags: tuple[Dag, ...]) -> set[tuple[int, tuple[int, int]]]:
    return {(stage, edge) for stage, dag in enumerate(dags) for edge in dag.edges}


@pytest.mark.parametrize("answer", ["", "2s0.4s0,2/1s0.3s1.7c1,3"])
@pytest.mark.parametrize("seed", range(4))
def test_members_fill_their_budgets_and_keep_every_stage(seed: int, answer: str) -> None:
    graph = random_graph(seed)
    if answer:
        graph = replace(graph, answer=parse_dags(answer))
    whole = len(edges_of(graph.prune(lambda dags: True)))
    family = {most: graph.prune(within_edges(most)) for most in range(whole, 1, -1)}
    for most, dags in family.items():
        assert all(dag.nodes for dag in dags)
        assert max(len(node.sources) for dag in dags for node in dag.nodes) <= 3
        assert 0.8 * most - 1 <= len(edges_of(dags)) <= most
    assert len({join(dags) for dags in family.values()}) > 8


def test_an_edge_comes_back_where_a_later_one_took_much_with_it() -> None:
    weights = np.full((6, 6), -9.0)
    weights[0, 1], weights[1, 2], weights[2, 3], weights[0, 4], weights[0, 5] = 4, 3, 3.5, 1, 5
    graph = MetaGraph(("c" * 5,), (np.triu(weights, k=1),), 1)
    kept = graph.prune(lambda dags: len(dags[0].nodes) <= 3)
    assert kept[0].genotype == "1c0.4c0.5c0"


def test_stages_shrink_at_the_same_pace_whatever_their_weights() -> None:
    small, large = (np.triu(np.arange(81.0).reshape(9, 9), k=1) * scale for scale in (0.01, 1.0))
    graph = MetaGraph(("c" * 8, "c" * 8), (small, large), 3)
    first, second = graph.prune(within_edges(20))
    assert len(first.edges) == len(second.edges)


def test_a_budget_that_admits_everything_keeps_the_strongest_inputs_of_all_nodes() -> None:
    graph = random_graph(2)
    found = graph.prune(lambda dags: True)
    for stage, dag in enumerate(found):
        assert [node.number for node in dag.nodes] == list(
            range(1, len(graph.operators[stage]) + 1)
        )
        for node in dag.nodes:
            order = np.argsort(-graph.weights[stage][: node.number, node.number])
            assert set(node.sources) == set(order[:3].tolist())


def test_a_budget_that_admits_nothing_leaves_one_node_in_each_stage() -> None:
    found = random_graph(2).prune(lambda dags: False)
    assert [len(dag.edges) for dag in found] == [1, 1]


def test_weak_edges_go_before_strong_ones_wherever_their_nodes_stand() -> None:
    """Order is by what was learned: the bound on inputs makes late nodes' edges improbable."""
    weights = np.triu(np.full((9, 9), -1.0), k=1)
    weights[0, 8] = weights[0, 7] = 0.5
    graph = MetaGraph(("c" * 8,), (weights,), 3)
    assert graph.probabilities(0)[0, 8] < graph.probabilities(0)[0, 1]
    assert graph.prune(within_edges(2))[0].genotype == "7c0.8c0"


def test_the_answers_edges_go_last() -> None:
    graph = replace(random_graph(6), answer=parse_dags("2s0.4s0,2.5c4/1s0.3c1.7c1,3"))
    kept = graph.prune(within_edges(8))
    assert edges_of(kept) == edges_of(graph.answer)
