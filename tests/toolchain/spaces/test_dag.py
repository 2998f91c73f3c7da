from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import GenotypeInvalid
from toolchain.spaces.dag import OPERATORS, Dag, DagNode, dag_of, join, parse_dags

RELEASED = "13c0.15s13.18c0.21c13,15.22c18.29s13,15"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """Operators and edges of up to 12 nodes, as many unreachable ones as there may be."""
    nodes = draw(st.integers(2, 12))
    edges = draw(st.lists(st.booleans(), min_size=nodes * nodes, max_size=nodes * nodes))
    letters = draw(st.text(alphabet=OPERATORS, min_size=nodes - 1, max_size=nodes - 1))
    return letters, np.triu(np.array(edges).reshape(nodes, nodes), k=1)


def reached_from_input(mask: np.ndarray) -> set[int]:
    """Nodes on a path from the input, found by a search from there."""
    reached, waiting = {0}, [0]
    while waiting:
        for target in map(int, np.nonzero(mask[waiting.pop()])[0]):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


@given(graphs())
def test_a_graph_is_what_the_input_reaches_of_the_edges(graph: tuple[str, np.ndarray]) -> None:
    operators, mask = graph
    dag = dag_of(operators, mask)
    reached = reached_from_input(mask)
    assert [node.number for node in dag.nodes] == sorted(reached - {0})
    assert all(node.operator == operators[node.number - 1] for node in dag.nodes)
    edges = {(int(i), int(j)) for i, j in np.argwhere(mask) if i in reached}
    assert set(dag.edges) == edges
    assert len(dag.edges) == len(edges)
    assert dag_of(operators, dag.mask(len(mask))) == dag
    readers = {source for source, _ in edges}
    assert dag.leaves == tuple(sorted(reached - readers - {0}))


@given(st.lists(graphs(), min_size=1, max_size=4))
def test_topologies_are_read_back_from_their_text(drawn: list[tuple[str, np.ndarray]]) -> None:
    dags = tuple(dag for dag in (dag_of(*one) for one in drawn) if dag.nodes)
    if dags:
        assert parse_dags(join(dags)) == dags


@given(graphs(), st.data())
def test_nodes_can_be_given_other_numbers(
    graph: tuple[str, np.ndarray], data: st.DataObject
) -> None:
    dag = dag_of(*graph)
    size = len(dag.nodes)
    numbers = data.draw(st.sets(st.integers(1, 30), min_size=size, max_size=size).map(sorted))
    moved = dag.at(numbers)
    assert [node.number for node in moved.nodes] == numbers
    assert moved.renumbered() == dag.renumbered()
    assert moved.at([node.number for node in dag.nodes]) == dag
    assert [node.number for node in dag.renumbered().nodes] == list(range(1, size + 1))


def test_words_name_a_number_an_operator_and_what_is_read() -> None:
    (dag,) = parse_dags(RELEASED)
    assert dag.nodes[3] == DagNode(21, "c", (13, 15))
    assert dag.leaves == (21, 22, 29)
    assert dag.edges == (
        (0, 13), (13, 15), (0, 18), (13, 21), (15, 21), (18, 22), (13, 29), (15, 29),
    )  # fmt: skip
    assert dag.renumbered().genotype == "1c0.2s1.3c0.4c1,2.5c3.6s1,2"
    assert np.argwhere(dag.mask(30)).tolist() == sorted(map(list, dag.edges))


MALFORMED = "is not a number, an operator and numbers, like 20c0,14"


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        ("", "stage 1: it is empty"),
        ("1c0/", "stage 2: it is empty"),
        ("1c0//1c0", "stage 2: it is empty; the smallest there is has one node, like 1c0"),
        ("1c0.", MALFORMED),
        ("c0", MALFORMED),
        ("1c", MALFORMED),
        ("1 c0", MALFORMED),
        ("1C0", MALFORMED),
        ("01c0", MALFORMED),
        ("1c00", MALFORMED),
        ("1c0,", MALFORMED),
        ("1c-1", MALFORMED),
        ("1c0\n", MALFORMED),
        ("1c\N{ARABIC-INDIC DIGIT ZERO}", MALFORMED),
        ("1" * 5000 + "c0", MALFORMED),
        ("1c0/1x0", "stage 2: unknown operator 'x'; known are c, s"),
        ("0c0", "node 0 is out of order"),
        ("2c0.1c0", "node 1 is out of order; numbers ascend, from 1"),
        ("1c0.1s0", "node 1 is out of order"),
        ("1c1", "node 1 reads 1, which makes a cycle; it can read earlier nodes only"),
        ("1c2.2c1", "node 1 reads 2, which makes a cycle"),
        ("1c0.2c0,3,1.3c0", "node 2 reads 3, which makes a cycle"),
        ("1c0.2c0,0", "node 2 must name what it reads once each, ascending"),
        ("1c0.2c1,0", "node 2 must name what it reads once each, ascending"),
        ("2c1", "node 2 reads 1, which the input does not reach"),
        ("1c0.4s0,3", "node 4 reads 3, which the input does not reach"),
    ],
)
def test_text_that_is_no_topology_is_refused(genotype: str, reason: str) -> None:
    with pytest.raises(GenotypeInvalid) as caught:
        parse_dags(genotype)
    assert reason in str(caught.value)


@given(st.text(alphabet="csx0123,./ ", max_size=16))
def test_any_text_is_read_back_or_refused(text: str) -> None:
    try:
        dags = parse_dags(text)
    except GenotypeInvalid:
        return
    assert join(dags) == text


def test_nothing_reached_is_an_empty_graph() -> None:
    mask = np.zeros((3, 3), dtype=np.bool_)
    mask[1, 2] = True
    assert dag_of("cs", mask) == Dag(())
    assert Dag(()).leaves == Dag(()).edges == ()
