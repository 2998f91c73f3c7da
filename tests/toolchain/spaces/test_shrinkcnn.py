from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import GenotypeInvalid
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.layers import Add, Concat, Conv2d, MaxPool2d
from toolchain.spaces.cell import MAX_NODES, Cell
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace, make_divisible
from toolchain.spaces.space import space_kernels

PAPER_CELL = "s0.s0.s01.c02"
parse_cell = ShrinkCnnSpace(nodes=MAX_NODES).parse
GENOTYPES = st.builds(
    lambda nodes, seed: ShrinkCnnSpace(nodes=nodes).sample(np.random.default_rng(seed)),
    st.integers(2, MAX_NODES),
    st.integers(0, 2**32),
)


def reached_from_input(cell: Cell) -> set[int]:
    """Nodes on a path from the input, found the other way round than the space does."""
    reached, waiting = {0}, [0]
    while waiting:
        node = waiting.pop()
        for source, target in cell.edges:
            if source == node and target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


@given(GENOTYPES)
def test_a_cell_is_read_back_from_its_genotype(genotype: str) -> None:
    assert parse_cell(genotype).genotype == genotype


def test_the_released_cell_is_understood() -> None:
    cell = parse_cell(PAPER_CELL)
    assert cell.operators == "sssc"
    assert cell.edges == ((0, 1), (0, 2), (0, 3), (1, 3), (0, 4), (2, 4))
    assert cell.leaves == (3, 4)


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        ("", "not s or c"),
        ("x0", "not s or c"),
        ("s0..c1", "not s or c"),
        ("S0", "not s or c"),
        ("s0.c-1", "not s or c"),
        ("s0 .c1", "not s or c"),
        ("s\N{ARABIC-INDIC DIGIT ZERO}", "not s or c"),
        ("s1", "node 1 must read earlier"),
        ("s0.c2", "node 2 must read earlier"),
        ("s2.c0", "node 1 must read earlier"),
        ("s0.c10", "node 2 must read earlier nodes, each once, ascending"),
        ("s0.c00", "node 2 must read earlier nodes, each once"),
        ("c.s1", "the input does not reach"),
        ("s0.c.s12", "the input does not reach"),
        ("c", "no node reads node 0, the input"),
        ("c.s.c", "no node reads node 0, the input"),
        (".".join(["s0"] * MAX_NODES), "at most 9 nodes, got 10"),
    ],
)
def test_text_that_is_no_genotype_is_refused(genotype: str, reason: str) -> None:
    with pytest.raises(GenotypeInvalid, match=reason):
        parse_cell(genotype)
    with pytest.raises(GenotypeInvalid, match="is no genotype of this space"):
        ShrinkCnnSpace(nodes=MAX_NODES).decode(genotype)


def test_a_cell_with_more_nodes_than_the_space_is_refused() -> None:
    with pytest.raises(GenotypeInvalid, match="the space has 4 nodes, the genotype 5"):
        ShrinkCnnSpace(nodes=4).decode(PAPER_CELL)


@given(st.text(alphabet="sc0123456789.", max_size=24))
def test_any_text_is_a_network_or_a_clear_refusal(text: str) -> None:
    try:
        graph = ShrinkCnnSpace(nodes=MAX_NODES).decode(text)
    except GenotypeInvalid:
        return
    assert parse_cell(text).genotype == text
    assert graph.output_shape == (10,)


@given(GENOTYPES, st.data())
def test_without_an_edge_go_it_and_what_only_it_reached(
    genotype: str, data: st.DataObject
) -> None:
    cell = parse_cell(genotype)
    edge = data.draw(st.sampled_from(cell.edges))
    smaller = cell.without(edge)
    assert edge not in smaller.edges
    assert set(smaller.edges) < set(cell.edges)
    assert smaller.operators == cell.operators
    bare = Cell(
        cell.operators,
        tuple(
            tuple(source for source in sources if (source, target) != edge)
            for target, sources in enumerate(cell.sources, start=1)
        ),
    )
    reached = reached_from_input(bare)
    assert set(smaller.edges) == {one for one in bare.edges if one[0] in reached}
    if smaller.leaves:
        assert parse_cell(smaller.genotype) == smaller


def test_an_orphaned_node_dies_with_its_readers_but_one_with_another_source_lives() -> None:
    chain = parse_cell("s0.c1.s2.c03")
    assert chain.without((0, 1)).genotype == "s.c.s.c0"
    assert chain.without((1, 2)).genotype == "s0.c.s.c0"
    assert chain.without((3, 4)).genotype == "s0.c1.s2.c0"
    assert parse_cell("s0").without((0, 1)).leaves == ()


@given(GENOTYPES)
def test_leaves_are_the_live_nodes_that_nobody_reads(genotype: str) -> None:
    cell = parse_cell(genotype)
    read = {source for source, _ in cell.edges}
    live = reached_from_input(cell) - {0}
    assert set(cell.leaves) == live - read
    assert cell.leaves == tuple(sorted(cell.leaves)) != ()


def test_the_complete_cell_has_every_edge() -> None:
    cell = parse_cell(ShrinkCnnSpace().complete("scscscs"))
    assert len(cell.edges) == 28
    assert set(cell.edges) == {(i, j) for j in range(8) for i in range(j)}
    assert cell.leaves == (7,)


def test_operators_are_half_and_half_over_all_slots_the_inputs_included() -> None:
    rng = np.random.default_rng(0)
    drawn = [ShrinkCnnSpace(nodes=8).random_operators(rng) for _ in range(400)]
    assert {len(operators) for operators in drawn} == {7}
    # The slot that the input takes is of either kind equally often.
    convolutions = [operators.count("s") for operators in drawn]
    assert set(convolutions) == {3, 4}
    assert 150 < convolutions.count(3) < 250
    assert len(set(drawn)) > 40


def test_samples_are_of_every_density_and_follow_the_seed() -> None:
    space = ShrinkCnnSpace()

    def draw(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return [space.sample(rng) for _ in range(500)]

    assert draw(0) == draw(0) != draw(1)
    edges = [len(parse_cell(genotype).edges) for genotype in draw(0)]
    assert min(edges) == 1
    assert max(edges) == 28
    assert len(set(edges)) >= 25
    fixed = space.sample(np.random.default_rng(0), "sscccss")
    assert parse_cell(fixed).operators == "sscccss"


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 4), (2, 4), (5, 4), (7, 8), (16, 16), (22, 24), (18, 16), (26, 24)]
)
def test_widths_are_multiples_of_four_halves_to_the_even_one(value: int, expected: int) -> None:
    assert make_divisible(value) == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"nodes": 1}, "2 to 10 nodes, got 1"),
        ({"nodes": 11}, "2 to 10 nodes, got 11"),
        ({"scales": (1.0, 2.0)}, "one number for each stage"),
        ({"scales": (), "replicate": (), "pools": ()}, "one number for each stage"),
        ({"replicate": (1, 0, 1)}, "more than 0"),
        ({"pools": (0, 2, 2)}, "more than 0"),
        ({"scales": (1.0, -2.0, 4.0)}, "more than 0"),
        ({"base_width": 0}, "more than 0"),
        ({"channel_scale": 0.0}, "more than 0"),
        ({"input_shape": (3, 32)}, "rows, columns"),
        ({"input_shape": (0, 32, 32)}, "input: channels"),
        ({"classes": 0}, "linear: features"),
        ({"stem_channels": 0}, "conv2d: channels"),
        ({"stem_stride": 0}, "conv2d: stride"),
        ({"head_channels": -1}, "conv2d: channels"),
        ({"activation": "gelu"}, "unknown activation 'gelu'"),
    ],
)
def test_an_impossible_outline_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ShrinkCnnSpace(**settings)


def layers_of(graph: Graph, kind: type) -> dict[str, object]:
    return {node.name: node.layer for node in graph.nodes if isinstance(node.layer, kind)}


def test_a_network_is_built_as_the_paper_says() -> None:
    graph = ShrinkCnnSpace(nodes=5, activation="swish").decode(PAPER_CELL)
    reads = {node.name: node.inputs for node in graph.nodes}
    assert reads["s2c1_n0"] == ("s1c1_add",)
    # Merges are concats in ascending order; a single source is passed through.
    assert reads["s2c1_n3_in"] == ("s2c1_n0", "s2c1_n1")
    assert reads["s2c1_n1_dw"] == ("s2c1_n0",)
    assert reads["s2c1_out"] == ("s2c1_n3", "s2c1_n4")
    # The residual is taken before pooling.
    assert reads["s2c1_skip"] == ("s1c1_add",)
    assert reads["s2c1_add"] == ("s2c1_out", "s2c1_skip")
    convolutions = layers_of(graph, Conv2d)
    assert convolutions["s2c1_skip"] == Conv2d(channels=64, stride=2, activation="linear")
    activations = {
        name[5:]: conv.activation for name, conv in convolutions.items() if "s1" in name
    }
    assert activations == {
        "n1_dw": "swish", "n1": "swish", "n2_dw": "swish", "n2": "swish",
        "n3_dw": "relu", "n3": "linear", "n4": "linear",
        # The stem has the 32 channels of two leaves of 16: the skip needs no projection.
    }  # fmt: skip
    assert set(layers_of(graph, MaxPool2d)) == {"s2c1_n0", "s3c1_n0"}
    assert all(add.activation == "linear" for add in layers_of(graph, Add).values())
    assert len(layers_of(graph, Concat)) == 3 * 3
    assert graph.shapes["s3c1_add"] == (128, 8, 8)


def test_a_dead_node_leaves_no_layer() -> None:
    space = ShrinkCnnSpace(nodes=4)
    names = {node.name for node in space.decode("s0.c.c1").nodes}
    assert "s1c1_n1" in names
    assert not [name for name in names if "_n2" in name]
    assert plan(space.decode("s0.c")).kernels == plan(space.decode("s0.s.c")).kernels


OUTLINES = [
    ShrinkCnnSpace(nodes=nodes, input_shape=(3, 16, 16), **settings)
    for nodes, settings in [
        (4, {}),
        (5, {"replicate": (2, 1, 3), "pools": (2, 1, 2)}),
        (6, {"pools": (2, 1, 3), "head_channels": 48}),
        (7, {"activation": "swish", "replicate": (1, 2, 1), "pools": (1, 1, 1)}),
        (8, {}),
        (8, {"stem_channels": 16, "base_width": 8, "activation": "relu6", "stem_stride": 2}),
    ]
]


@pytest.mark.parametrize("space", OUTLINES, ids=lambda space: f"{space.nodes}-{space.activation}")
def test_witnesses_run_every_kernel_that_a_random_network_can_run(space: ShrinkCnnSpace) -> None:
    known = space_kernels(space)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        genotype = space.sample(rng)
        unknown = set(plan(space.decode(genotype)).kernels) - known
        assert not unknown, (genotype, min(kernel.key for kernel in unknown))


@pytest.mark.parametrize("space", OUTLINES, ids=lambda space: f"{space.nodes}-{space.activation}")
def test_mutants_are_other_networks_of_the_space(space: ShrinkCnnSpace) -> None:
    known = space_kernels(space)
    rng = np.random.default_rng(0)
    before = space.sample(rng)
    for _ in range(1000):
        after = space.mutate(before, rng)
        assert parse_cell(before).live != parse_cell(after).live
        assert known.issuperset(plan(space.decode(after)).kernels)
        before = after


def test_a_mutation_is_of_one_operator_or_of_one_edge_and_what_hangs_on_it() -> None:
    space, rng = ShrinkCnnSpace(), np.random.default_rng(0)
    kinds = {"operator": 0, "more": 0, "fewer": 0}
    for _ in range(1500):
        before = parse_cell(space.sample(rng))
        after = parse_cell(space.mutate(before.genotype, rng))
        gone = set(before.edges) - set(after.edges)
        new = set(after.edges) - set(before.edges)
        if before.edges == after.edges:
            pairs = zip(before.operators, after.operators, strict=True)
            assert sum(one != other for one, other in pairs) == 1
            kinds["operator"] += 1
        elif new:
            assert len(new) == 1
            assert not gone
            kinds["more"] += 1
        else:
            assert any(before.without(edge).sources == after.sources for edge in gone)
            kinds["fewer"] += 1
    assert min(kinds.values()) > 150


def test_mutations_reach_every_cell_of_a_small_space() -> None:
    space, rng = ShrinkCnnSpace(nodes=3), np.random.default_rng(0)
    genotype, seen = "s0", set()
    for _ in range(2000):
        genotype = space.mutate(genotype, rng)
        seen.add(parse_cell(genotype).live)
    # One live node, either; or two, the second with any of three sets of inputs.
    assert len(seen) == 2 * 2 + 4 * 3


def test_mutations_follow_the_generator_alone() -> None:
    draws = [
        [ShrinkCnnSpace().mutate(PAPER_CELL, rng) for _ in range(50)]
        for rng in map(np.random.default_rng, (3, 3, 4))
    ]
    assert draws[0] == draws[1] != draws[2]
