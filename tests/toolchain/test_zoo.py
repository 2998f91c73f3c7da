from __future__ import annotations

import re

import pytest

from toolchain.count import count
from toolchain.errors import NameUnknown
from toolchain.layers import Add, Conv2d
from toolchain.zoo import ZOO, make_network


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


def test_every_network_is_consistent() -> None:
    for name in ZOO:
        network = make_network(name)
        assert set(network.shapes) == {node.name for node in network.nodes}


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match=r"'shrinkcnn-c'.*shrinkcnn-a, shrinkcnn-b"):
        make_network("shrinkcnn-c")
