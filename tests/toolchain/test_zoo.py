from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from toolchain.count import count
from toolchain.errors import NameUnknown
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.layers import Add, Concat, Conv2d
from toolchain.spaces.dag import parse_dags
from toolchain.spaces.scalenet_published import (
    BOTTOM_UP_W32,
    P1,
    POSE_W32,
    POSE_W48,
    SCALENETS,
    SEGMENTATION_W32,
)
from toolchain.zoo import SWIFTNET_STAGES, ZOO, make_network

SWIFTNET = make_network("swiftnet-vww")


@pytest.mark.parametrize("name", ["shrinkcnn-a", "shrinkcnn-b"])
def test_shrinkcnn_counts_what_its_authors_state(name: str) -> None:
    network = make_network(name)
    counts = count(network)
    assert counts.params == 3_600_981
    assert counts.macs == 383_677_672
    assert network.name == name
    assert network.input_shape == (3, 224, 224)
    assert network.output_shape == (1001,)


# What torchvision's models of the same names have.
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("mobilenetv2", 3_504_872, 300_774_272), ("mobilenetv3-small", 2_542_856, 56_510_400)],
)
def test_mobilenets_have_the_parameters_that_are_published(
    name: str, params: int, macs: int
) -> None:
    network = make_network(name)
    counts = count(network)
    assert counts.params_with_norm == params
    assert counts.macs == macs
    assert network.input_shape == (3, 224, 224)
    assert network.output_shape == (1000,)


def test_shrinkcnn_b_is_a_with_swish_for_relu_but_in_the_depthwise_half_of_leaves() -> None:
    one, other = make_network("shrinkcnn-a"), make_network("shrinkcnn-b")
    swapped = []
    for ours, theirs in zip(one.nodes, other.nodes, strict=True):
        assert (ours.name, ours.inputs) == (theirs.name, theirs.inputs)
        if ours.layer != theirs.layer:
            assert isinstance(ours.layer, Conv2d)
            assert (ours.layer.activation, theirs.layer.activation) == ("relu", "swish")
            swapped.append(ours.name)
    kept = [
        node.name
        for node in other.nodes
        if isinstance(node.layer, Conv2d) and node.layer.activation == "relu"
    ]
    assert {"stem", "head", "s1c1_n1", "s1c1_n1_dw"} <= set(swapped)
    # Nodes 3 and 4 are the leaves; only node 3 is separable.
    assert kept
    assert all(re.fullmatch(r"s\dc\d_n3_dw", name) for name in kept)


def test_shrinkcnn_has_the_widths_and_repeats_of_the_paper() -> None:
    network = make_network("shrinkcnn-a")
    sums = [
        (node.name[:2], network.shapes[node.name])
        for node in network.nodes
        if isinstance(node.layer, Add)
    ]
    expected = zip((1, 3, 4, 6, 4), (24, 48, 88, 176, 360), (112, 56, 28, 14, 7), strict=True)
    assert sums == [
        (f"s{stage}", (channels, size, size))
        for stage, (cells, channels, size) in enumerate(expected, start=1)
        for _ in range(cells)
    ]


def test_swiftnet_counts_what_its_released_file_holds() -> None:
    counts = count(SWIFTNET)
    biases = 2  # of the classifier; batch norm is folded into the other 59 layers
    assert counts.params - biases == 213_656
    assert counts.macs == 56_156_504
    # At one byte a value: the stem's input and output, 224x224x3 and 56x56x16.
    assert counts.peak_memory_bytes == 4 * 200_704
    assert SWIFTNET.input_shape == (3, 224, 224)
    assert SWIFTNET.output_shape == (2,)


def test_swiftnet_has_the_operators_of_its_released_file() -> None:
    kinds = Counter(
        "depthwise" if isinstance(node.layer, Conv2d) and node.layer.depthwise else node.layer.kind
        for node in SWIFTNET.nodes
    )
    assert kinds == {
        "input": 1, "conv2d": 44, "depthwise": 15, "concat": 16, "max_pool2d": 3, "add": 3,
        "global_average_pool": 1, "linear": 1,
    }  # fmt: skip
    shapes = SWIFTNET.shapes
    stem = ("stem", "stem_dw", "stem_pw", "stem_pool")
    assert [shapes[name] for name in stem] == [
        (16, 56, 56), (16, 56, 56), (32, 56, 56), (32, 28, 28),
    ]  # fmt: skip
    stages = [(f"s{stage}_leaves", f"s{stage}_add") for stage in (1, 2, 3)]
    assert [(shapes[leaves], shapes[output]) for leaves, output in stages] == [
        ((160, 28, 28), (48, 28, 28)),
        ((288, 14, 14), (80, 14, 14)),
        ((512, 7, 7), (76, 7, 7)),
    ]
    linear = {
        node.name
        for node in SWIFTNET.nodes
        if isinstance(node.layer, Conv2d) and node.layer.activation == "linear"
    }
    assert linear == {
        f"s{stage}_{part}" for stage in (1, 2, 3) for part in ("projection", "mapping")
    }


def test_swiftnet_has_the_topologies_of_its_released_file() -> None:
    dags = parse_dags("/".join(SWIFTNET_STAGES))
    assert [(len(dag.nodes), len(dag.edges)) for dag in dags] == [(13, 24), (12, 18), (11, 13)]
    assert [dag.leaves for dag in dags] == [
        (25, 26, 27, 28, 29), (20, 21, 22, 25, 27, 29), (20, 21, 22, 23, 24, 25, 27, 29),
    ]  # fmt: skip
    widths = {
        name[:2]: shape[0]
        for name, shape in SWIFTNET.shapes.items()
        if re.fullmatch(r"s\d_n\d+", name)
    }
    assert widths == {"s1": 32, "s2": 48, "s3": 64}


def test_swiftnets_concats_of_six_and_eight_become_trees() -> None:
    wide = [
        len(node.inputs) for node in SWIFTNET.nodes
        if isinstance(node.layer, Concat) and len(node.inputs) > 5
    ]  # fmt: skip
    assert wide == [6, 8]
    concats = [step.inputs for step in plan(SWIFTNET).steps if step.kernel.kind == "concat"]
    # One merge, of nodes 13 and 15 of stage 2, has two readers and is computed once.
    assert len(concats) >= 15 + 1 + 1
    assert max(map(len, concats)) == 5


def shown(network: Graph, unit: float, digits: int) -> tuple[float, float]:
    """Millions of parameters with norm, and MACs in a unit, as published."""
    counts = count(network)
    return round(counts.params_with_norm / 1e6, digits), round(counts.macs / unit, digits)


# ScaleNAS, tables 1 and 2, and the HRNets beside them; they divide MACs by 2**30.
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("scalenet-s1", 25.3, 265.5),
        ("scalenet-s2", 28.5, 309.5),
        ("scalenet-p1", 28.5, 6.9),
        ("scalenet-p2", 35.6, 8.0),
        ("hrnet-w48", 65.9, 696.2),  # printed as 65.8: 65.859, or 65.774 without norm
        ("hrnet-w32-pose", 28.5, 7.1),
        ("hrnet-w48-pose", 63.6, 14.6),
    ],
)
def test_scalenets_and_hrnets_count_what_is_published(
    name: str, params: float, macs: float
) -> None:
    assert shown(make_network(name), 2**30, 1) == (params, macs)


def test_published_figures_at_other_inputs_are_counted_too() -> None:
    at_384 = replace(POSE_W48, input_shape=(3, 384, 288))
    assert shown(at_384.decode(at_384.regular(4)), 2**30, 1) == (63.6, 32.9)
    at_256 = replace(POSE_W32, input_shape=(3, 256, 256))
    assert shown(at_256.decode(P1), 2**30, 1) == (28.5, 9.3)


# Counted from the outline by hand (two ways); no paper prints them.
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("scalenet-w32-smallest", 13.857, 200.707),
        ("scalenet-w32-largest", 47.850, 469.762),
        ("scalenet-w48-smallest", 30.584, 390.826),
        ("scalenet-w48-largest", 106.995, 996.199),
        ("hrnet-w32", 29.547, 336.418),
    ],
)
def test_the_ends_of_the_scalenet_space_are_known(name: str, params: float, macs: float) -> None:
    found = shown(make_network(name), 2**30, 3)
    assert found == pytest.approx((params, macs), abs=0.001)


def test_higherhrnets_count_what_is_published() -> None:
    # By 10**9, the transposed convolution by the pixels that it gives.
    assert shown(make_network("higherhrnet-w32"), 1e9, 1) == (28.6, 47.9)
    assert shown(BOTTOM_UP_W32.decode(P1), 1e9, 1) == (28.6, 46.9)
    wide = replace(BOTTOM_UP_W32, width=48, input_shape=(3, 640, 640))
    assert shown(wide.decode(wide.regular(4)), 1e9, 1) == (63.8, 154.3)


@pytest.mark.parametrize(
    ("name", "blocks", "fusions"),
    [
        ("scalenet-s1", 72, 95),
        ("scalenet-s2", 87, 127),
        ("scalenet-p1", 95, 130),
        ("scalenet-p2", 111, 165),
        ("scalenet-w32-largest", 134, 310),
        ("hrnet-w48", 108, 62),
        ("hrnet-w48-pose", 108, 53),
    ],
)
def test_scalenets_have_the_blocks_and_fusions_that_are_published(
    name: str, blocks: int, fusions: int
) -> None:
    modules = SCALENETS[name].space.parse(SCALENETS[name].genotype)
    stage_1 = SEGMENTATION_W32.stem_blocks
    assert stage_1 + sum(sum(module.depths) for module in modules) == blocks
    assert sum(module.fusions for module in modules) == fusions


# ScaleNAS, appendix: depths of the modules in order, branches as digits.
@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("scalenet-s1", "34 323 222 222 232 2223 2333 3434"),
        ("scalenet-s2", "34 344 343 222 333 3333 4343 3434"),
        ("scalenet-p1", "34 334 443 443 443 3433 3444 3433"),
        ("scalenet-p2", "55 334 443 554 444 4545 3444 4544"),
    ],
)
def test_scalenets_have_the_depths_that_were_found(name: str, depths: str) -> None:
    modules = SCALENETS[name].space.parse(SCALENETS[name].genotype)
    assert " ".join("".join(map(str, module.depths)) for module in modules) == depths


def test_every_network_is_consistent() -> None:
    for name in ZOO:
        network = make_network(name)
        assert set(network.shapes) == {node.name for node in network.nodes}


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match=r"'shrinkcnn-c'.*shrinkcnn-a, shrinkcnn-b"):
        make_network("shrinkcnn-c")
