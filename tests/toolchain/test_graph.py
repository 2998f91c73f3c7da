from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.graph import Graph, GraphBuilder, Node, graph_from_json, graph_from_text
from toolchain.layers import (
    Add,
    Concat,
    Conv2d,
    GlobalAveragePool,
    Input,
    Linear,
    MaxPool2d,
)
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.zoo import ZOO, make_network

IMAGE = Node("image", Input(channels=3, height=8, width=8), ())
TEXT = """
image = input(channels=3, height=8, width=8)
stem = conv2d(image, channels=8, kernel=3, stride=2, activation=swish)
more = conv2d(stem, channels=8, kernel=3, depthwise=True, bias=True, norm=False)
sum = add(stem, more, activation=relu)
pool = global_average_pool(sum)
logits = linear(pool, features=10)
"""


def shrunk_graphs() -> list[Graph]:
    rng = np.random.default_rng(0)
    space = ShrinkCnnSpace(activation="swish")
    return [space.decode(space.sample(rng)) for _ in range(100)]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Chains with branches of any layer, all settings drawn."""
    size = draw(st.integers(1, 9))
    builder = GraphBuilder("drawn")
    names = [builder.add("image", Input(channels=4, height=size, width=size))]
    for index in range(draw(st.integers(1, 8))):
        activation = draw(st.sampled_from(["linear", "relu", "relu6", "swish", "sigmoid"]))
        one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        layers: list[tuple[Any, ...]] = [
            (Conv2d(channels=4, kernel=3, bias=True, activation=activation), one),
            (Conv2d(channels=4, kernel=5, depthwise=True, norm=False), one),
            (Add(activation=activation), one, other),
            (MaxPool2d(kernel=3, stride=1), one),
        ]
        names.append(builder.add(f"n{index}", *draw(st.sampled_from(layers))))
    builder.add("all", Concat(), names[-1], names[0])
    builder.add("pool", GlobalAveragePool(), "all")
    builder.add("logits", Linear(features=3, bias=draw(st.booleans())), "pool")
    return builder.graph()


def assert_round_trips(graph: Graph) -> None:
    assert graph_from_json(json.loads(json.dumps(graph.to_json()))) == graph
    assert graph_from_text(graph.to_text(), graph.name) == graph


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo_are_read_back_from_json_and_text(name: str) -> None:
    assert_round_trips(make_network(name))


def test_networks_of_the_space_are_read_back_from_json_and_text() -> None:
    for graph in shrunk_graphs():
        assert_round_trips(graph)


@given(graphs())
def test_any_graph_is_read_back_from_json_and_text(graph: Graph) -> None:
    assert_round_trips(graph)


def test_text_holds_only_what_differs_from_the_defaults() -> None:
    graph = graph_from_text(TEXT, "small")
    assert graph.to_text() == TEXT.lstrip()
    assert graph.input_shape == (3, 8, 8)
    assert graph.shapes["sum"] == (8, 4, 4)
    assert graph.output_shape == (10,)


CONV = Conv2d(channels=4)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([Node("stem", CONV, ("image",))], "'stem' is conv2d"),
        ([IMAGE, Node("a", CONV, ("image",)), Node("late", IMAGE.layer, ())], "'late' is input"),
        ([IMAGE, Node("a", CONV, ("b",)), Node("b", CONV, ("a",))], "'a' reads 'b'"),
        ([IMAGE, Node("a", CONV, ("a",))], "'a' reads 'a'"),
        ([IMAGE, Node("a", CONV, ("nowhere",))], "'a' reads 'nowhere'"),
        ([IMAGE, Node("a", CONV, ("image",)), Node("a", CONV, ("a",))], "two nodes .* 'a'"),
        ([IMAGE, Node("a", CONV, ())], "node 'a': conv2d takes 1 input"),
        ([IMAGE, Node("a", CONV, ("image",)), Node("b", Add(), ("a", "image"))], "node 'b': add"),
        ([IMAGE, Node("fc", Linear(features=3), ("image",))], "node 'fc': .*pool first"),
    ],
)
def test_an_inconsistent_graph_is_refused_with_the_nodes_name(
    nodes: list[Node], reason: str
) -> None:
    graph = Graph("wrong", tuple(nodes))
    with pytest.raises(ValueError, match=rf"graph wrong.*{reason}"):
        _ = graph.shapes
    with pytest.raises(ValueError, match=reason):
        graph_from_json(graph.to_json())
    with pytest.raises(ValueError, match=reason):
        graph_from_text(graph.to_text(), "wrong")


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda data: data.pop("name"), "a graph needs a field 'name'"),
        (lambda data: data.pop("nodes"), "a graph needs a field 'nodes'"),
        (lambda data: data.update(nodes=[]), "has no nodes"),
        (lambda data: data.update(nodes=7), "'nodes' of a graph must be a list, got 7"),
        (lambda data: data["nodes"].append("x"), "a node needs a field 'name'"),
        (lambda data: data["nodes"][1].pop("name"), "a node needs a field 'name'"),
        (lambda data: data["nodes"][1].pop("layer"), "node 'stem': .*field 'layer'"),
        (lambda data: data["nodes"][1].pop("inputs"), "node 'stem': .*field 'inputs'"),
        (lambda data: data["nodes"][1].update(inputs="image"), "node 'stem': .*must be a list"),
        (lambda data: data["nodes"][1].update(layer="conv9d"), "node 'stem': .*unknown layer"),
        (lambda data: data["nodes"][1].update(layer=["conv2d"]), "node 'stem': .*unknown layer"),
        (lambda data: data["nodes"][1].update(dilation=2), "node 'stem': .*dilation"),
        (lambda data: data["nodes"][1].pop("channels"), "node 'stem': .*channels"),
        (
            lambda data: data["nodes"][1].update(channels="8"),
            "node 'stem': .*channels must be int",
        ),
        (
            lambda data: data["nodes"][1].update(channels=8.5),
            "node 'stem': .*channels must be int",
        ),
        (lambda data: data["nodes"][1].update(stride=0), "node 'stem': .*at least 1"),
        (lambda data: data["nodes"][2].update(norm="no"), "node 'more': .*norm must be bool"),
        (lambda data: data["nodes"][1].update(activation="gelu"), "node 'stem': .*'gelu'"),
    ],
)
def test_json_that_is_no_graph_is_refused_with_the_nodes_name(edit: Edit, reason: str) -> None:
    data = graph_from_text(TEXT, "small").to_json()
    edit(data)
    with pytest.raises(ValueError, match=reason):
        graph_from_json(data)


@pytest.mark.parametrize("data", [[], "graph", 3, None])
def test_json_of_another_kind_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="a graph needs a field 'name'"):
        graph_from_json(data)


@pytest.mark.parametrize(
    "line",
    [
        "stem",
        "stem =",
        "# a comment",
        "stem = 3",
        "stem = conv2d(image, channels=4); other = conv2d(stem, channels=4)",
        "stem = other = conv2d(image, channels=4)",
        "stem = conv9d(image)",
        "stem = conv2d(image, channels=four())",
        "stem = conv2d(image, channels=4.0)",
        "stem = conv2d(image, channels=4, **more)",
        "stem = conv2d(image, depth=4)",
        "stem = conv2d(image, channels=4, activation=gelu)",
        "import os",
    ],
)
def test_a_line_that_is_no_node_is_refused_with_its_number(line: str) -> None:
    text = f"image = input(channels=3, height=8, width=8)\n\n{line}\n"
    with pytest.raises(ValueError, match="line 3 is no node"):
        graph_from_text(text, "wrong")


def test_text_without_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        graph_from_text("\n\n", "empty")


STEP = """
word = embedding(words=30, features=4)
state = vector(features=4)
both = concat(word, state)
gate = linear(both, features=4, bias=False, activation=sigmoid, flatten=False)
again = linear(both, features=4, activation=tanh, flatten=False, weights=gate)
apart = subtract(again, state)
next = multiply(gate, apart)
half = scale(next, divisor=2)
logits = linear(half, features=30, flatten=False, weights=word)
return logits, next
"""


def test_several_inputs_come_first_and_several_outputs_are_named_last() -> None:
    graph = graph_from_text(STEP, "step")
    assert_round_trips(graph)
    assert graph.to_text() == STEP.lstrip()
    assert [node.name for node in graph.inputs] == ["word", "state"]
    assert graph.outputs == ("logits", "next")
    assert (graph.input_shape, graph.output_shape) == ((4,), (30,))


def test_a_graph_without_named_outputs_says_nothing_of_them() -> None:
    graph = graph_from_text(TEXT, "small")
    assert graph.outputs == ("logits",)
    assert graph.to_json().keys() == {"name", "nodes"}


def test_outputs_that_others_read_are_needed_and_what_no_output_reads_is_not() -> None:
    graph = graph_from_text(STEP.replace("return logits, next", "return next"), "step")
    assert graph.needed == {"word", "state", "both", "gate", "again", "apart", "next"}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("return logits, next", "return logits, nowhere", "returns 'nowhere', which is no node"),
        (
            "return logits, next",
            "return logits, next\nmore = scale(next, divisor=2)",
            "line 11 is",
        ),
        ("return logits, next", "return 3", "line 10 is no node: .*expected return name"),
        (
            "weights=gate",
            "weights=logits",
            "'again': weights are of 'logits', .*not a node before",
        ),
        ("weights=gate", "weights=again", "weights are of 'again'"),
        ("weights=gate", "weights=both", "'both' has no matrix of its own"),
        ("weights=word", "weights=again", "'again' has no matrix of its own"),
        ("weights=word", "weights=gate", "a matrix of 30x4, that of 'gate' is 4x8"),
    ],
)
def test_wrong_outputs_and_wrong_sharing_are_refused(old: str, new: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        graph_from_text(STEP.strip().replace(old, new), "step")


def test_json_with_outputs_that_are_no_list_is_refused() -> None:
    data = {**graph_from_text(STEP, "step").to_json(), "returns": "logits"}
    with pytest.raises(ValueError, match="'returns' of a graph must be a list"):
        graph_from_json(data)


def test_the_output_needs_what_leads_to_it_and_nothing_else() -> None:
    graph = graph_from_text(
        "image = input(channels=4, height=4, width=4)\n"
        "a = conv2d(image, channels=4)\n"
        "dead = conv2d(a, channels=4)\n"
        "deader = add(dead, image)\n"
        "b = add(a, image)\n",
        "small",
    )
    assert graph.needed == {"image", "a", "b"}
