from __future__ import annotations

import time
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.errors import GenotypeInvalid
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.layers import Add, Concat, Conv2d, Linear, MaxPool2d
from toolchain.spaces import swiftnet
from toolchain.spaces.dag import Dag, dag_of, join, parse_dags
from toolchain.spaces.space import space_kernels
from toolchain.spaces.swiftnet import SwiftNetSpace

SPACE = SwiftNetSpace()
SMALL = SwiftNetSpace(nodes=(8, 10, 12))
ONE_STAGE = SwiftNetSpace(nodes=(2,), widths=(8,), outputs=(12,), input_shape=(1, 28, 28))
STEMS = SwiftNetSpace(
    nodes=(5, 2, 7), stem_kernel=7, stem_stride=4, stem_width=0, stem_pool=2, widths=(16, 8, 12),
    outputs=(16, 8, 24), input_shape=(3, 96, 97), max_inputs=2,
)  # fmt: skip
WIDE = SwiftNetSpace(nodes=(12, 9), widths=(8, 12), outputs=(8, 20), max_inputs=11)
known_kernels = cache(space_kernels)
SPACES = {"30 nodes": SPACE, "8, 10, 12": SMALL, "2": ONE_STAGE, "stems": STEMS, "wide": WIDE}


def layers_of(graph: Graph, kind: type) -> dict[str, object]:
    return {node.name: node.layer for node in graph.nodes if isinstance(node.layer, kind)}


def edges_of(genotype: str) -> int:
    return sum(len(dag.edges) for dag in parse_dags(genotype))


def test_a_network_is_built_as_the_released_one() -> None:
    space = SwiftNetSpace(nodes=(6, 4), widths=(24, 48), outputs=(32, 96), stem_pool=2)
    graph = space.decode("1c0.2s1.3s0,1.5c1,2/3s0")
    reads = {node.name: node.inputs for node in graph.nodes}
    convolutions = layers_of(graph, Conv2d)
    assert convolutions["stem"] == Conv2d(channels=16, kernel=3, stride=2)
    assert convolutions["stem_dw"] == Conv2d(channels=16, kernel=3, depthwise=True)
    assert convolutions["stem_pw"] == Conv2d(channels=32)
    # Merges are concats in ascending order; a single source is passed through.
    assert reads["s1_n1"] == ("stem_pool",)
    assert reads["s1_n2_dw"] == ("s1_n1",)
    assert reads["s1_n3_in"] == ("stem_pool", "s1_n1")
    assert reads["s1_n3_dw"] == ("s1_n3_in",)
    assert convolutions["s1_n3_dw"] == Conv2d(channels=32 + 24, kernel=3, depthwise=True)
    assert convolutions["s1_n3"] == Conv2d(channels=24)
    # Leaves are concatenated, projected and added to the mapped input; the only ReLU comes last.
    assert reads["s1_leaves"] == ("s1_n3", "s1_n5")
    assert reads["s1_add"] == ("s1_projection", "s1_mapping")
    assert reads["s1_mapping"] == ("stem_pool",)
    assert convolutions["s1_projection"] == Conv2d(channels=32, activation="linear")
    assert convolutions["s1_mapping"] == Conv2d(channels=32, activation="linear")
    assert set(layers_of(graph, Add).values()) == {Add(activation="relu")}
    assert reads["s2_projection"] == ("s2_n3",)
    assert reads["s2_mapping"] == reads["s2_n3_dw"] == ("s1_pool",)
    assert set(layers_of(graph, MaxPool2d)) == {"stem_pool", "s1_pool"}
    assert set(layers_of(graph, Concat)) == {"s1_n3_in", "s1_n5_in", "s1_leaves"}
    assert layers_of(graph, Linear) == {"logits": Linear(features=10)}
    assert graph.shapes["s1_add"] == (32, 8, 8)
    assert graph.shapes["s2_add"] == (96, 4, 4)
    assert {name for name, one in convolutions.items() if one.activation == "linear"} == {  # type: ignore[attr-defined]
        "s1_projection", "s1_mapping", "s2_projection", "s2_mapping",
    }  # fmt: skip


def test_numbers_of_nodes_are_only_names() -> None:
    one, other = SPACE.decode("1c0.2s0,1/1s0/1c0"), SPACE.decode("7c0.29s0,7/3s0/29c0")
    assert plan(one) == plan(other)


def test_stems_can_lack_the_separable_convolution_and_the_pool() -> None:
    graph = STEMS.decode("1c0/1c0/1c0")
    names = [node.name for node in graph.nodes]
    assert names[:4] == ["image", "stem", "stem_pool", "s1_n1"]
    assert graph.shapes["stem"] == (16, 24, 25)
    assert graph.shapes["stem_pool"] == (16, 12, 13)
    assert "stem_pool" not in {node.name for node in SPACE.decode("1c0/1c0/1c0").nodes}


@pytest.mark.parametrize("name", SPACES)
def test_samples_are_read_back_and_keep_the_outline(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    for _ in range(200):
        genotype = space.sample(rng)
        dags = parse_dags(genotype)
        assert join(dags) == genotype
        for dag, nodes in zip(dags, space.nodes, strict=True):
            assert dag == dag.renumbered()
            assert 0 < len(dag.nodes) < nodes
            assert max(len(node.sources) for node in dag.nodes) <= space.max_inputs
        graph = space.decode(genotype)
        assert graph.name == genotype
        assert graph.output_shape == (space.classes,)


def test_samples_follow_the_generator_alone() -> None:
    draws = [
        [SPACE.sample(rng) for _ in range(50)] for rng in map(np.random.default_rng, (3, 3, 4))
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 50


def test_operators_are_half_and_half_or_as_given() -> None:
    rng = np.random.default_rng(0)
    drawn = [letters for _ in range(200) for letters in SPACE.shuffled_operators(rng)]
    assert {len(letters) for letters in drawn} == {29}
    # The slot that the input takes is of either kind equally often.
    separable = [letters.count("s") for letters in drawn]
    assert set(separable) == {14, 15}
    assert 240 < separable.count(14) < 360
    given_letters = ("c" * 29, "s" * 29, "c" * 29)
    for _ in range(20):
        dags = parse_dags(SPACE.sample(rng, given_letters))
        assert [{node.operator for node in dag.nodes} for dag in dags] == [{"c"}, {"s"}, {"c"}]


def test_the_sampler_has_the_statistics_of_the_released_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One draw, so that an empty topology becomes the single edge from node 0 to 1.
    monkeypatch.setattr(swiftnet, "TRIES", 1)
    space, rng = SwiftNetSpace(max_inputs=30), np.random.default_rng(0)
    masks = [space.sample_mask(30, rng) for _ in range(6000)]
    drawn = [mask for mask in masks if mask.sum() > 1 or not mask[0, 1]]
    assert 1 - len(drawn) / len(masks) == pytest.approx(0.04, abs=0.01)
    # The released one, 8.7 edges and 7.8 reachable nodes with node 0: between what ours has with
    # and without the empty ones, which count one node and no edge.
    edges = [int(mask.sum()) for mask in drawn]
    nodes = [1 + len(dag_of("c" * 29, mask).nodes) for mask in drawn]
    empty = len(masks) - len(drawn)
    assert sum(edges) / len(masks) - 0.2 < 8.7 < np.mean(edges) + 0.2
    assert (sum(nodes) + empty) / len(masks) - 0.2 < 7.8 < np.mean(nodes) + 0.2
    assert np.mean(edges) == pytest.approx(8.7, abs=0.4)
    assert np.mean(nodes) == pytest.approx(7.8, abs=0.3)
    # What is drawn is reached.
    assert all(
        len(dag_of("c" * 29, mask).edges) == count
        for mask, count in zip(drawn, edges, strict=True)
    )


def test_an_empty_topology_is_drawn_again() -> None:
    rng = np.random.default_rng(0)
    assert all(SPACE.sample_mask(2, rng).tolist() == [[False, True], [False, False]]
               for _ in range(50))  # fmt: skip


def test_a_genotype_is_named_by_operators_and_edges() -> None:
    space = SwiftNetSpace(nodes=(4, 3), widths=(8, 8), outputs=(8, 8))
    first, second = np.zeros((4, 4), dtype=np.bool_), np.zeros((3, 3), dtype=np.bool_)
    first[0, 2] = first[2, 3] = first[1, 3] = second[0, 1] = True
    assert space.genotype(("ccs", "sc"), [first, second]) == "1c0.2s1/1s0"
    second[0, 1] = False
    with pytest.raises(ValueError, match="no node that reads its input"):
        space.genotype(("ccs", "sc"), [first, second])


def assert_covered(space: SwiftNetSpace, genotypes: list[str]) -> None:
    for genotype in genotypes:
        unknown = set(plan(space.decode(genotype)).kernels) - known_kernels(space)
        assert not unknown, (genotype, min(kernel.key for kernel in unknown))


@pytest.mark.parametrize("name", SPACES)
def test_witnesses_run_every_kernel_that_a_random_network_can_run(name: str) -> None:
    rng = np.random.default_rng(0)
    assert_covered(SPACES[name], [SPACES[name].sample(rng) for _ in range(1500)])


@pytest.mark.parametrize("name", SPACES)
def test_witnesses_run_every_kernel_that_mutants_can_run(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    assert_covered(space, walk_of(space, space.sample(rng), 1500, rng))


@st.composite
def dense_genotypes(draw: st.DrawFn) -> str:
    """Of the space of 8, 10 and 12 nodes, every density alike: samples are sparse."""
    rng, density = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.floats(0.05, 1))
    dags = []
    for nodes in SMALL.nodes:
        mask = np.triu(rng.uniform(size=(nodes, nodes)) < density, k=1)
        for node in range(SMALL.max_inputs + 1, nodes):
            mask[rng.choice(node, node - SMALL.max_inputs, replace=False), node] = False
        mask[0, 1] = True
        letters = "".join(rng.choice(list("cs"), size=nodes - 1))
        dags.append(dag_of(letters, mask))
    return join(dags)


@settings(max_examples=500, deadline=None)
@given(dense_genotypes())
def test_witnesses_run_every_kernel_of_dense_networks(genotype: str) -> None:
    assert known_kernels(SMALL).issuperset(plan(SMALL.decode(genotype)).kernels)


def walk_of(
    space: SwiftNetSpace, genotype: str, steps: int, rng: np.random.Generator
) -> list[str]:
    walk = [genotype]
    for _ in range(steps):
        walk.append(space.mutate(walk[-1], rng))
    return walk


def changed_stages(before: str, after: str) -> list[tuple[Dag, Dag]]:
    pairs = zip(parse_dags(before), parse_dags(after), strict=True)
    return [(one, other) for one, other in pairs if one != other]


@pytest.mark.parametrize("name", SPACES)
def test_mutants_are_other_networks_of_the_space_that_differ_in_one_stage(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    for before, after in pairwise(walk_of(space, space.sample(rng), 500, rng)):
        space.decode(after)
        ((one, other),) = changed_stages(before, after)
        assert plan_edges(one) != plan_edges(other) or letters(one) != letters(other)


def plan_edges(dag: Dag) -> tuple[tuple[int, int], ...]:
    return dag.renumbered().edges


def letters(dag: Dag) -> str:
    return "".join(node.operator for node in dag.nodes)


def test_a_mutation_changes_one_operator_or_adds_or_removes_an_edge_all_alike_often() -> None:
    rng = np.random.default_rng(0)
    kinds = {"operator": 0, "fewer": 0, "more": 0, "moved": 0}
    for _ in range(1500):
        before = SMALL.sample(rng)
        after = SMALL.mutate(before, rng)
        ((one, other),) = changed_stages(before, after)
        difference = edges_of(after) - edges_of(before)
        if plan_edges(one) == plan_edges(other):
            kinds["operator"] += 1
            pairs = zip(letters(one), letters(other), strict=True)
            assert sum(a != b for a, b in pairs) == 1
        elif difference > 0:
            assert difference == 1
            kinds["more"] += 1
        else:
            kinds["fewer" if difference else "moved"] += 1
    assert all(350 < kinds[kind] < 650 for kind in ("operator", "fewer", "more"))
    # One that reads all it may has an input changed for another.
    assert kinds["moved"] < 50


def test_a_mutation_of_gaps_in_the_numbers_is_more_than_counting_them_anew() -> None:
    space, rng = SwiftNetSpace(nodes=(30,), widths=(8,), outputs=(8,)), np.random.default_rng(0)
    for _ in range(300):
        (before,), (after,) = (
            parse_dags(one) for one in ("14c0.17s0,14", space.mutate("14c0.17s0,14", rng))
        )
        assert before.renumbered() != after


def test_mutations_lead_from_the_smallest_network_to_large_ones_and_back() -> None:
    rng = np.random.default_rng(0)
    walk = walk_of(SPACE, "1c0/1c0/1c0", 3000, rng)
    sizes = [edges_of(one) for one in walk]
    assert max(sizes) > 20
    assert sizes.count(3) > 1
    live = [len(dag.nodes) for one in walk for dag in parse_dags(one)]
    assert max(live) >= 8


def test_a_space_of_two_nodes_has_two_networks() -> None:
    rng = np.random.default_rng(0)
    assert {ONE_STAGE.sample(rng) for _ in range(50)} == {"1c0", "1s0"}
    assert ONE_STAGE.mutate("1c0", rng) == "1s0"
    assert ONE_STAGE.mutate("1s0", rng) == "1c0"


def test_mutations_follow_the_generator_alone() -> None:
    walks = [walk_of(SPACE, "1c0/1c0/1c0", 50, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert walks[0] == walks[1] != walks[2]


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        ("1c0/1c0", "the space has 3 stages, the genotype 2"),
        ("1c0/1c0/1c0/1c0", "the space has 3 stages, the genotype 4"),
        ("1c0/10c0/1c0", "stage 2 of the space has nodes 0 to 9, the genotype a node 10"),
        (
            "1c0/1c0/1c0.2c0.3c0.4c0.5c0.6c0,1,2,3,4,5",
            "stage 3: a node reads 6 nodes, more than max_inputs of the space, 5",
        ),
        ("1c0//1c0", "stage 2: it is empty"),
        ("1c0/1c0/1c0.2c3.3c2", "stage 3: node 2 reads 3, which makes a cycle"),
        ("1c0/1c0/2c1", "stage 3: node 2 reads 1, which the input does not reach"),
        ("1c0/1p0/1c0", "stage 2: unknown operator 'p'; known are c, s"),
    ],
)
def test_text_that_is_no_genotype_is_refused(genotype: str, reason: str) -> None:
    with pytest.raises(GenotypeInvalid, match="is no genotype of this space") as caught:
        SMALL.decode(genotype)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"nodes": (30, 1, 30)}, "at least 2 nodes, got 1"),
        ({"nodes": (30, 30)}, "one number for each stage"),
        ({"nodes": (), "widths": (), "outputs": ()}, "one number for each stage"),
        ({"widths": (24, 48)}, "one number for each stage"),
        ({"max_inputs": 0}, "max_inputs must be 1 or more"),
        ({"channel_scale": 0.0}, "channel_scale more than 0"),
        ({"stem_width": -4}, "stem_width 0 or more"),
        ({"input_shape": (32, 32)}, "rows, columns"),
        ({"input_shape": (3, 0, 32)}, "input: height"),
        ({"widths": (24, 0, 96)}, "conv2d: channels"),
        ({"outputs": (32, 96, 0)}, "conv2d: channels"),
        ({"stem_channels": 0}, "conv2d: channels"),
        ({"stem_kernel": 0}, "conv2d: kernel"),
        ({"stem_stride": 0}, "conv2d: stride"),
        ({"stem_pool": 0}, "max_pool2d: kernel"),
        ({"pool": 0}, "max_pool2d: kernel"),
        ({"classes": 0}, "linear: features"),
    ],
)
def test_an_impossible_outline_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SwiftNetSpace(**fields)  # type: ignore[arg-type]


def test_a_scale_goes_on_widths_and_outputs_in_multiples_of_four() -> None:
    graph = SwiftNetSpace(channel_scale=0.6).decode("1c0.2s1/1c0/1c0")
    channels = {name: shape[0] for name, shape in graph.shapes.items()}
    assert (channels["stem"], channels["stem_pw"]) == (16, 32)
    assert (channels["s1_n1"], channels["s2_n1"], channels["s3_n1"]) == (16, 28, 56)
    assert (channels["s1_add"], channels["s2_add"], channels["s3_add"]) == (20, 56, 76)
    # Without a scale, widths are as given, multiples of four or not.
    odd = SwiftNetSpace(widths=(7, 9, 11), outputs=(5, 6, 75)).decode("1c0/1c0/1c0")
    assert [odd.shapes[f"s{stage}_n1"][0] for stage in (1, 2, 3)] == [7, 9, 11]


def test_a_genotype_is_decoded_in_under_a_millisecond() -> None:
    rng = np.random.default_rng(0)
    taken_ms = []
    for genotype in [SPACE.sample(rng) for _ in range(300)]:
        start_ns = time.thread_time_ns()
        SPACE.decode(genotype)
        taken_ms.append((time.thread_time_ns() - start_ns) / 1e6)
    assert np.median(taken_ms) < 0.5
    assert np.percentile(taken_ms, 95) < 1
