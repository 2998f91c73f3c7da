from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import GenotypeInvalid
from toolchain.spaces.cell import MAX_NODES
from toolchain.spaces.recurrent_network import ACTIVATIONS
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace

RELEASED = "i0.s0.s01.t0123.i0123"
SPACE = ShrinkRnnSpace()
parse_rnn_cell = ShrinkRnnSpace(nodes=MAX_NODES).parse
GENOTYPES = st.builds(
    lambda nodes, seed: ShrinkRnnSpace(nodes=nodes).sample(np.random.default_rng(seed)),
    st.integers(2, MAX_NODES),
    st.integers(0, 2**32),
)


@given(GENOTYPES)
def test_a_cell_is_read_back_from_its_genotype(genotype: str) -> None:
    assert parse_rnn_cell(genotype).genotype == genotype


def test_the_released_cell_has_the_edges_of_its_published_mask() -> None:
    cell = parse_rnn_cell(RELEASED)
    mask = {0: (1, 2, 3, 4, 5), 1: (3, 4, 5), 2: (4, 5), 3: (4, 5)}
    assert set(cell.edges) == {(i, j) for i, targets in mask.items() for j in targets}
    assert cell.leaves == (4, 5)
    assert [ACTIVATIONS[letter] for letter in cell.operators] == [
        "identity", "sigmoid", "sigmoid", "tanh", "identity",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        ("", "'' is not r, s, t or i followed by digits"),
        ("c0", "'c0' is not r, s, t or i"),
        ("T0", "'T0' is not r"),
        ("t0..i1", "'' is not r"),
        ("t0\n.i0", r"'t0\\n' is not r"),
        ("t0.i-1", "'i-1' is not r"),
        ("t\N{ARABIC-INDIC DIGIT ZERO}", "is not r"),
        ("t1", "node 1 must read earlier"),
        ("t0.i2", "node 2 must read earlier nodes, each once, ascending"),
        ("t0.i10", "node 2 must read earlier nodes, each once, ascending"),
        ("t0.i00", "node 2 must read earlier nodes, each once"),
        ("t.s1", "node 2 reads node 1, which is dead"),
        ("t0.i.s12", "node 3 reads node 2, which is dead"),
        ("t", "no node reads node 0"),
        ("t.s.r", "no node reads node 0"),
        (".".join(["t0"] * MAX_NODES), "at most 9 nodes, got 10"),
    ],
)
def test_text_that_is_no_genotype_is_refused_in_one_line(genotype: str, reason: str) -> None:
    with pytest.raises(GenotypeInvalid, match=reason) as refused:
        parse_rnn_cell(genotype)
    assert "\n" not in str(refused.value)
    with pytest.raises(GenotypeInvalid, match="is no genotype of this space"):
        ShrinkRnnSpace(nodes=MAX_NODES).decode(genotype)


def test_a_cell_with_more_nodes_than_the_space_is_refused() -> None:
    small = ShrinkRnnSpace(nodes=4)
    with pytest.raises(GenotypeInvalid, match="the space has 4 nodes, the genotype 6"):
        small.decode(RELEASED)
    with pytest.raises(GenotypeInvalid, match="the space has 4 nodes, the genotype 6"):
        small.mutate(RELEASED, np.random.default_rng(0))


@given(st.text(alphabet="rsti0123456789.", max_size=24))
def test_any_text_is_a_cell_or_a_clear_refusal(text: str) -> None:
    try:
        cell = parse_rnn_cell(text)
    except GenotypeInvalid:
        return
    assert cell.genotype == text
    assert cell.leaves


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"nodes": 1}, "2 to 10 nodes, got 1"),
        ({"nodes": 11}, "2 to 10 nodes, got 11"),
        ({"hidden": 0}, "more than 0, got 0 and 10000"),
        ({"vocabulary": 0}, "more than 0, got 100 and 0"),
    ],
)
def test_an_impossible_outline_is_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ShrinkRnnSpace(**settings)


def test_the_complete_cell_has_15_edges_and_one_leaf() -> None:
    cell = parse_rnn_cell(SPACE.complete("rstir"))
    assert set(cell.edges) == {(i, j) for j in range(6) for i in range(j)}
    assert len(cell.edges) == 15
    assert cell.leaves == (5,)


def test_activations_are_drawn_alone_and_all_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = [SPACE.random_operators(rng) for _ in range(1000)]
    assert {len(operators) for operators in drawn} == {5}
    for node in range(5):
        counts = [[one[node] for one in drawn].count(letter) for letter in "rsti"]
        assert min(counts) > 200, counts
    assert len(set(drawn)) > 500


def test_samples_are_of_every_density_and_follow_the_seed() -> None:
    def draw(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return [SPACE.sample(rng) for _ in range(400)]

    assert draw(0) == draw(0) != draw(1)
    edges = {len(parse_rnn_cell(genotype).edges) for genotype in draw(0)}
    assert edges == set(range(1, 16))
    fixed = SPACE.sample(np.random.default_rng(0), "ttttt")
    assert parse_rnn_cell(fixed).operators == "ttttt"


@given(GENOTYPES, st.integers(0, 2**32))
def test_a_mutation_is_a_valid_neighbor(genotype: str, seed: int) -> None:
    nodes = len(genotype.split(".")) + 1
    before = parse_rnn_cell(genotype)
    after = parse_rnn_cell(
        ShrinkRnnSpace(nodes=nodes).mutate(genotype, np.random.default_rng(seed))
    )
    assert after.live != before.live
    gained = set(after.edges) - set(before.edges)
    changed = [
        (old, new)
        for old, new in zip(before.operators, after.operators, strict=True)
        if old != new
    ]
    assert len(gained) + len(changed) <= 1
    if gained or changed:
        assert set(before.edges) <= set(after.edges)
    else:
        # One edge went, and with it only what nothing else reaches.
        lost = set(before.edges) - set(after.edges)
        assert any(before.without(edge) == after for edge in lost)


def test_mutations_reach_every_kind_of_neighbor_and_nodes_that_the_text_leaves_out() -> None:
    rng = np.random.default_rng(0)
    reached = {SPACE.mutate("t0.i1", rng) for _ in range(500)}
    assert reached >= {"s0.i1.r.r.r", "t0.r1.r.r.r", "t0.i01.r.r.r", "t0.i1.r0.r.r", "t0.i.r.r.r"}
    for genotype in reached:
        SPACE.decode(genotype)


@given(GENOTYPES, st.data())
def test_removing_an_edge_leaves_a_cell_or_nothing(genotype: str, data: st.DataObject) -> None:
    cell = parse_rnn_cell(genotype)
    edge = data.draw(st.sampled_from(cell.edges))
    smaller = cell.without(edge)
    assert set(smaller.edges) <= set(cell.edges) - {edge}
    assert smaller.operators == cell.operators
    if smaller.leaves:
        assert parse_rnn_cell(smaller.genotype) == smaller
    else:
        assert smaller.edges == ()


def test_what_only_the_removed_edge_reached_goes_with_it() -> None:
    chain = parse_rnn_cell("t0.i1.s2.r03")
    assert chain.without((0, 1)).genotype == "t.i.s.r0"
    assert chain.without((1, 2)).genotype == "t0.i.s.r0"
    assert chain.without((3, 4)).genotype == "t0.i1.s2.r0"


def test_a_greedy_walk_from_the_complete_cell_ends_at_few_edges() -> None:
    rng = np.random.default_rng(189)
    cell = parse_rnn_cell(SPACE.complete(SPACE.random_operators(rng)))
    lengths = [len(cell.edges)]
    while len(cell.edges) > 4:
        shrunk = [cell.without(edge) for edge in cell.edges]
        cell = parse_rnn_cell(rng.choice([one.genotype for one in shrunk if one.leaves]))
        lengths.append(len(cell.edges))
    assert lengths[0] == 15
    assert all(after < before for before, after in pairwise(lengths))


def test_counts_follow_the_formula() -> None:
    network = ShrinkRnnSpace(hidden=7, vocabulary=50).decode("t0.i01")
    embedding, output_bias, recurrent, edges = 50 * 7, 50, 14 * 14, 3 * 7 * 14
    assert network.parameters == embedding + output_bias + recurrent + edges
    # The embedding is looked up; its product with the state is the output.
    assert network.macs_per_token == 50 * 7 + recurrent + edges
    assert network.score_flops == 3 * 7 * 7


def test_an_edge_less_is_worth_what_the_paper_s_score_says() -> None:
    full = SPACE.decode(SPACE.complete("ttttt"))
    small = SPACE.decode("t0.t0.t0.t0")
    scores = [-(math.log10(network.score_flops) - 6) for network in (full, small)]
    assert scores == pytest.approx([0.824, 1.398], abs=0.001)


def test_a_dead_node_costs_nothing() -> None:
    with_dead, without = SPACE.decode("t0.i.s01"), SPACE.decode("t0.s01")
    assert with_dead.parameters == without.parameters
    assert with_dead.macs_per_token == without.macs_per_token


def test_the_counts_of_a_genotype_are_those_of_its_network() -> None:
    space = ShrinkRnnSpace(hidden=7, vocabulary=50)
    counts, network = space.counts("t0.i01"), space.decode("t0.i01")
    assert counts.params == counts.params_with_norm == network.parameters
    assert counts.macs == network.macs_per_token
    # The output reads a state of 7 and gives a score for each of 50 words.
    assert counts.peak_memory_bytes == 4 * 57


def test_a_score_is_a_quarter_of_the_perplexity_saved_less_the_powers_of_ten_of_the_cost() -> None:
    assert SPACE.score(-120.0, 0.5) == pytest.approx(0.25 * 80 - 0.5)
    # Ten-fold cost is worth four of perplexity.
    assert SPACE.score(-116.0, 1.5) == pytest.approx(SPACE.score(-120.0, 0.5))
    assert SPACE.scored_cost("t0.i01") == 3 * 100**2


def test_witnesses_have_every_activation_with_every_number_of_inputs_and_of_leaves() -> None:
    cells = [parse_rnn_cell(one) for one in SPACE.witnesses()]
    inputs = {(letter, len(reads)) for cell in cells for _, letter, reads in cell.live}
    assert inputs == {(letter, count) for letter in ACTIVATIONS for count in range(1, 6)}
    assert {(cell.operators[0], len(cell.leaves)) for cell in cells} == {
        (letter, count) for letter in ACTIVATIONS for count in range(1, 6)
    }
    rng = np.random.default_rng(0)
    smallest = min(SPACE.counts(one).macs for one in SPACE.witnesses())
    assert all(SPACE.counts(SPACE.sample(rng)).macs >= smallest for _ in range(200))
