from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.count import count
from toolchain.errors import GenotypeInvalid, NameUnknown
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.layers import Add, Conv2d
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import PAPER, ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.spaces.scalenet_module import ScaleModule, join_modules, others, parse_modules
from toolchain.spaces.space import space_kernels

SPACE = ScaleNetSpace()
POSE = replace(SPACE, head="pose")
FULL = ScaleNetSpace(head="segmentation", classes=19, input_shape=(3, 64, 96), **PAPER)
TINY = ScaleNetSpace(width=4, stem_channels=8, input_shape=(1, 16, 32), modules=(2, 1))
SPACES = {
    "default": SPACE,
    "pose": POSE,
    "bottom-up": replace(SPACE, head="bottom-up"),
    "paper": FULL,
    "tiny": TINY,
    "two branches": replace(TINY, modules=(3,)),
    "one depth": replace(POSE, min_depth=2, max_depth=2),
}


def reads(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node.name: node.inputs for node in graph.nodes}


def mutants(space: ScaleNetSpace, steps: int) -> list[str]:
    rng = np.random.default_rng(0)
    walk = [space.sample(rng)]
    for _ in range(steps):
        walk.append(space.mutate(walk[-1], rng))
    return walk


@pytest.mark.parametrize("name", SPACES)
def test_samples_and_mutants_are_read_back_and_keep_the_outline(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    for genotype in [*(space.sample(rng) for _ in range(50)), *mutants(space, 50)]:
        modules = space.parse(genotype)
        assert join_modules(modules) == space.genotype(modules) == genotype
        assert tuple(len(module.branches) for module in modules) == space.branch_counts
        depths = {depth for module in modules for depth in module.depths}
        assert depths <= set(range(space.min_depth, space.max_depth + 1))
        graph = space.decode(genotype)
        assert graph.name == genotype
        assert graph.input_shape == space.input_shape


def test_heads_give_classes_labels_or_heatmaps() -> None:
    shapes = {head: replace(SPACE, head=head) for head in HEADS}
    found = {head: one.decode(one.smallest()).output_shape for head, one in shapes.items()}
    assert found == {
        "classification": (10,), "segmentation": (10, 16, 16), "pose": (10, 16, 16),
        "bottom-up": (30, 32, 32),
    }  # fmt: skip


def test_branches_halve_resolution_and_double_channels() -> None:
    graph = FULL.decode(FULL.smallest())
    last = [graph.shapes[f"s4m2_b{branch}_t1_add"] for branch in range(4)]
    assert last == [(32, 16, 24), (64, 8, 12), (128, 4, 6), (256, 2, 3)]
    assert graph.shapes["s1_n3_add"] == (256, 16, 24)


def test_a_branch_comes_from_the_last_one_before_it() -> None:
    links = reads(FULL.decode(FULL.smallest()))
    assert links["s2_b0_in"] == links["s2_b1_in"] == ("s1_n3_add",)
    assert links["s3_b2_in"] == ("s2m0_b1_t1_add",)
    assert links["s3m0_b0_t0_a"] == ("s2m0_b0_t1_add",)
    assert links["s4_b3_in"] == ("s3m3_b2_t1_add",)


def test_a_stem_as_wide_as_branch_0_is_branch_0() -> None:
    space = replace(SPACE, stem_channels=8)
    assert "s2_b0_in" not in reads(space.decode(space.smallest()))
    assert "s2_b0_in" in reads(SPACE.decode(SPACE.smallest()))


def test_fusions_are_between_the_maps_of_one_step() -> None:
    space = replace(SPACE, modules=(1, 1))
    graph = space.decode("20.0/60.0.2")
    links = reads(graph)
    layers = {node.name: node.layer for node in graph.nodes}
    # Module 0 fuses branch 1 into branch 0 after step 0; branch 1 ends there, branch 0 goes on.
    assert links["s2m0_t0_1to0"] == ("s2m0_b1_t0_add",)
    assert links["s2m0_t0_1to0_add"] == ("s2m0_b0_t0_add", "s2m0_t0_1to0_up")
    assert links["s2m0_b0_t1_a"] == ("s2m0_t0_1to0_add",)
    # Two edges are added one after the other, with one ReLU at the end.
    assert links["s3m0_t0_2to0_add"] == ("s3m0_t0_1to0_add", "s3m0_t0_2to0_up")
    assert layers["s3m0_t0_1to0_add"] == Add()
    assert layers["s3m0_t0_2to0_add"] == Add(activation="relu")
    # Branch 1 into branch 2 reads what branch 1 was before anything was fused.
    assert links["s3m0_t0_1to2_0"] == ("s3m0_b1_t0_add",)
    assert layers["s3m0_t0_1to2_0"] == Conv2d(channels=32, kernel=3, stride=2, activation="linear")


def test_an_edge_down_several_branches_keeps_its_channels_until_the_last_step() -> None:
    graph = FULL.decode(FULL.largest())
    layers = {node.name: node.layer for node in graph.nodes}
    chain = [layers[f"s4m0_t0_0to3_{index}"] for index in range(3)]
    assert [(one.channels, one.activation) for one in chain] == [
        (32, "relu"), (32, "relu"), (256, "linear"),
    ]  # fmt: skip
    assert graph.shapes["s4m0_t0_3to0"] == (32, 2, 3)
    assert graph.shapes["s4m0_t0_3to0_up"] == (32, 16, 24)


def test_a_branch_without_steps_left_still_feeds_others_as_it_is() -> None:
    space = replace(SPACE, modules=(1,))
    links = reads(space.decode("002.0"))
    assert links["s2m0_t2_1to0"] == ("s2m0_b1_t0_add",)


def forward(space: ScaleNetSpace, genotype: str, modules: list[ScaleModule]) -> torch.Tensor:
    """A network as the released code computes it, on the weights of the largest one."""
    torch.manual_seed(0)
    largest = GraphModule(space.decode(space.largest())).eval().layers

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(largest[f"{name}_b"](largest[f"{name}_a"](x)) + x)

    def edge(name: str, source: int, target: int, x: torch.Tensor) -> torch.Tensor:
        if source > target:
            scale = 2 ** (source - target)
            return torch.nn.functional.interpolate(
                largest[name](x), scale_factor=scale, mode="nearest"
            )
        for index in range(target - source):
            x = largest[f"{name}_{index}"](x)
        return x

    x = block("s1_n0", largest["stem1"](largest["stem0"](image_of(space))))
    xs = [largest["s2_b0_in"](x), largest["s2_b1_in"](x)]
    for name, module in zip(space.module_names, modules, strict=True):
        if len(module.branches) > len(xs):
            xs.append(largest[f"s{len(xs) + 1}_b{len(xs)}_in"](xs[-1]))
        for t in range(max(module.depths)):
            for b, depth in enumerate(module.depths):
                if t < depth:
                    xs[b] = block(f"{name}_b{b}_t{t}", xs[b])
            new = list(xs)
            for j, steps in enumerate(module.branches):
                for k in steps[t] if t < len(steps) else ():
                    new[j] = new[j] + edge(f"{name}_t{t}_{k}to{j}", k, j, xs[k])
            xs = [torch.relu(x) for x in new]
    return largest["heatmaps"](xs[0])


def image_of(space: ScaleNetSpace) -> torch.Tensor:
    return torch.randn(1, *space.input_shape, generator=torch.Generator().manual_seed(1))


def test_a_network_with_weights_of_the_largest_computes_what_the_released_code_does() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    weights = GraphModule(POSE.decode(POSE.largest())).state_dict()
    for genotype in (POSE.smallest(), POSE.largest(), *(POSE.sample(rng) for _ in range(10))):
        module = GraphModule(POSE.decode(genotype)).eval()
        own = module.state_dict()
        assert own.keys() <= weights.keys()
        module.load_state_dict({name: weights[name] for name in own})
        with torch.no_grad():
            expected = forward(POSE, genotype, list(parse_modules(genotype)))
            torch.testing.assert_close(module(image_of(POSE)), expected)


@pytest.mark.parametrize("name", SPACES)
def test_weights_have_the_names_and_shapes_of_the_largest_networks(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)

    def weighted(genotype: str) -> dict[str, tuple[object, ...]]:
        graph = space.decode(genotype)
        return {
            node.name: (node.layer, *(graph.shapes[name] for name in node.inputs))
            for node in graph.nodes
            if isinstance(node.layer, Conv2d)
        }

    known = weighted(space.largest())
    for genotype in [*(space.sample(rng) for _ in range(20)), *mutants(space, 20)]:
        assert weighted(genotype).items() <= known.items()


@pytest.mark.parametrize("name", SPACES)
def test_witnesses_run_every_kernel_that_a_random_network_or_a_mutant_can_run(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    kernels = space_kernels(space)
    for genotype in [*(space.sample(rng) for _ in range(100)), *mutants(space, 100)]:
        assert kernels.issuperset(plan(space.decode(genotype)).kernels)


@pytest.mark.parametrize("name", ["default", "paper"])
def test_no_network_is_smaller_than_the_smallest_or_larger_than_the_largest(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    least, most = (count(space.decode(one)) for one in (space.smallest(), space.largest()))
    for _ in range(50):
        counts = count(space.decode(space.sample(rng)))
        assert least.params <= counts.params <= most.params
        assert least.macs <= counts.macs <= most.macs


def test_samples_spread_over_costs_that_independent_draws_would_not_reach() -> None:
    rng = np.random.default_rng(0)

    def spread(genotypes: list[str]) -> float:
        return float(np.std([count(FULL.decode(one)).macs for one in genotypes]))

    independent = [FULL.sample_group(rng, (2, 3, 4, 5), 0.5) for _ in range(100)]
    assert spread([FULL.sample(rng) for _ in range(100)]) > 2.5 * spread(independent)


def test_a_group_has_its_depths_and_its_share_of_fusions() -> None:
    rng = np.random.default_rng(0)
    modules = [
        module for _ in range(60) for module in FULL.parse(FULL.sample_group(rng, (3, 4), 0.2))
    ]
    depths = [depth for module in modules for depth in module.depths]
    assert set(depths) == {3, 4}
    assert np.mean(depths) == pytest.approx(3.5, abs=0.05)
    possible = sum(
        depth * (len(module.branches) - 1) for module in modules for depth in module.depths
    )
    assert sum(module.fusions for module in modules) / possible == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("name", SPACES)
def test_mutants_differ_in_one_branch_by_a_fusion_or_a_block(name: str) -> None:
    space = SPACES[name]
    is_deeper = set()
    for before, after in pairwise(mutants(space, 300)):
        assert before != after
        pairs = zip(space.parse(before), space.parse(after), strict=True)
        ((one, other),) = [(a, b) for a, b in pairs if a != b]
        changed = [(a, b) for a, b in zip(one.branches, other.branches, strict=True) if a != b]
        ((old, new),) = changed
        is_deeper.add(len(new) - len(old))
        if len(old) == len(new):
            flips = [set(a) ^ set(b) for a, b in zip(old, new, strict=True) if a != b]
            assert [len(flip) for flip in flips] == [1]
    assert is_deeper == ({0} if space.min_depth == space.max_depth else {-1, 0, 1})


def test_a_head_that_reads_branch_0_fixes_the_last_step() -> None:
    assert POSE.smallest() == "0.0/0.0.0/6.0.0"
    assert POSE.regular(2) == "02.01/06.05.03/06.00.00"
    for genotype in mutants(POSE, 50):
        *_, last = POSE.parse(genotype)
        assert [steps[-1] for steps in last.branches] == [(1, 2), (), ()]
    with pytest.raises(GenotypeInvalid, match=r"reads branch 0 alone.*6\.0\.0, not 6\.1\.0"):
        POSE.decode("0.0/0.0.0/6.1.0")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_genotype_is_read_back(data: st.DataObject) -> None:
    modules = []
    for count_ in data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=5)):
        steps = [
            st.lists(st.sets(st.sampled_from(others(branch, count_))), min_size=1, max_size=6)
            for branch in range(count_)
        ]
        modules.append(
            ScaleModule(
                tuple(tuple(tuple(sorted(one)) for one in data.draw(branch)) for branch in steps)
            )
        )
    assert parse_modules(join_modules(modules)) == tuple(modules)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789abcdef/.- gx", max_size=30))
def test_any_text_is_a_genotype_or_refused(text: str) -> None:
    try:
        modules = parse_modules(text)
    except GenotypeInvalid:
        return
    assert join_modules(modules) == text


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        ("", "module 0 has 1 branches; a module has 2 to 4"),
        ("0.0.0.0.0", "module 0 has 5 branches"),
        ("0.0/0.0.0/0..0", "module 2, branch 1 has no steps"),
        ("0.0/0.0.0/0.0.g", "branch 2, step 0: 'g' is no sum of 1 .branch 0., 2 .branch 1."),
        ("1.0/0.0.0/0.0.0", "module 0, branch 0, step 0: '1' is no sum of 2 .branch 1."),
        ("0.0/0.08.0/0.0.0", "module 1, branch 1, step 1: '8'"),
        ("0.0/0.A.0/0.0.0", "module 1, branch 1, step 0: 'A'"),
        ("0.0/0.0.0", r"have \(2, 3\) branches, those of the space \(2, 3, 3\)"),
        ("0.0/0.0/0.0.0", r"have \(2, 2, 3\) branches"),
        ("00000.0/0.0.0/0.0.0", "module 0, branch 0 has depth 5; the space has 1 to 4"),
    ],
)
def test_what_is_no_genotype_is_refused_with_the_place(genotype: str, reason: str) -> None:
    with pytest.raises(GenotypeInvalid, match=reason):
        SPACE.decode(genotype)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modules": ()}, "one number, 1 or more"),
        ({"modules": (1, 0)}, "one number, 1 or more"),
        ({"modules": (1, 1, 1, 1)}, "one number, 1 or more"),
        ({"min_depth": 0}, "min_depth must be 1 or more"),
        ({"min_depth": 5}, "max_depth not less, got 5 and 4"),
        ({"width": 0}, "width and stem_channels must be 1 or more"),
        ({"stem_blocks": -1}, "0 or more"),
        ({"input_shape": (1, 28, 28)}, r"multiples of 16 for 3 branches, got \(1, 28, 28\); resi"),
        ({"input_shape": (3, 64)}, r"input_shape is \(channels, rows, columns\)"),
        ({"input_shape": (0, 64, 64)}, "channels must be at least 1"),
        ({"classes": 0}, "features must be at least 1"),
    ],
)
def test_an_outline_out_of_range_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(SPACE, **changes)


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match="'detection'; known are: bottom-up, classification"):
        replace(SPACE, head="detection")


def test_decoding_takes_few_milliseconds_even_for_the_paper() -> None:
    rng = np.random.default_rng(0)
    for space, limit_ms in ((SPACE, 1.0), (FULL, 4.0)):
        taken_ms = []
        for genotype in [space.sample(rng) for _ in range(100)]:
            start_ns = time.thread_time_ns()
            space.decode(genotype)
            taken_ms.append((time.thread_time_ns() - start_ns) / 1e6)
        assert float(np.median(taken_ms)) < limit_ms
