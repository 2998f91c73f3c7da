from __future__ import annotations

import re
from collections import Counter

import pytest

from toolchain.count import count
from toolchain.errors import NameUnknown
from toolchain.kernels import plan
from toolchain.layers import Add, Concat, Conv2d
from toolchain.spaces.dag import parse_dags
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


def test_every_network_is_consistent() -> None:
    for name in ZOO:
        network = make_network(name)
        assert set(network.shapes) == {node.name for node in network.nodes}


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match=r"'shrinkcnn-c'.*shrinkcnn-a, shrinkcnn-b"):
        make_network("shrinkcnn-c")
