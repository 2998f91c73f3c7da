"""A network as layers and edges: the source of the module, the counts, the kernels, the drawing.

Nodes stand in execution order; each names the nodes it reads. Text, one node a line::

    image = input(channels=3, height=32, width=32)
    stem = conv2d(image, channels=32, kernel=3)
    logits = linear(pool, features=10)

Only what differs from a layer's defaults is written. The first node is the input, the last one
the output.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from toolchain.layers import LAYERS, AnyLayer, Input, Shape


class Node(NamedTuple):
    """A layer in its place.

    Attributes:
        name: unique in the graph.
        layer: what it computes.
        inputs: names of the nodes it reads, in order.
    """

    name: str
    layer: AnyLayer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        name: what a person calls it.
        nodes: in execution order; the first is the input, the last one the output.
    """

    name: str
    nodes: tuple[Node, ...]

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output shape of every node, by name.

        Raises:
            ValueError: the first node, and it alone, is not an input; a name stands twice; a
                node reads one that is unknown or comes later; or a layer cannot take what it
                reads. The message names the node.
        """
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            if node.name in shapes:
                raise ValueError(f"graph {self.name}: two nodes are called {node.name!r}")
            if (len(shapes) == 0) != isinstance(node.layer, Input):
                raise ValueError(
                    f"graph {self.name}: the first node, and no other, must be the input; "
                    f"{node.name!r} is {node.layer.kind}"
                )
            try:
                inputs = tuple([shapes[name] for name in node.inputs])
            except KeyError as error:
                raise ValueError(
                    f"graph {self.name}: node {node.name!r} reads {error}, "
                    "which is not a node before it"
                ) from None
            try:
                shapes[node.name] = _output_shape(node.layer, inputs)
            except ValueError as error:
                raise ValueError(f"graph {self.name}, node {node.name!r}: {error}") from None
        return shapes

    @cached_property
    def needed(self) -> Set[str]:
        """Names of the nodes that the output depends on; exporters leave out the others."""
        needed = {self.nodes[-1].name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return needed

    @property
    def input_shape(self) -> Shape:
        """CHW of the image the network reads."""
        return self.shapes[self.nodes[0].name]

    @property
    def output_shape(self) -> Shape:
        """Shape of what the network computes."""
        return self.shapes[self.nodes[-1].name]

    def to_text(self) -> str:
        """One line for each node."""
        return "".join(f"{_node_text(node)}\n" for node in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``graph_from_json`` reads back."""
        nodes = [
            {
                "name": node.name,
                "layer": node.layer.kind,
                "inputs": list(node.inputs),
                **_settings(node.layer),
            }
            for node in self.nodes
        ]
        return {"name": self.name, "nodes": nodes}


class GraphBuilder:
    """Builds a graph node by node, in execution order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Node] = []

    def add(self, name: str, layer: AnyLayer, *inputs: str) -> str:
        """Append a node; returns its name, for the nodes that read it."""
        self._nodes.append(Node(name, layer, inputs))
        return name

    def graph(self) -> Graph:
        """The graph so far; the last node added is its output."""
        return Graph(self.name, tuple(self._nodes))


@lru_cache(maxsize=65536)
def _output_shape(layer: AnyLayer, inputs: tuple[Shape, ...]) -> Shape:
    """A layer's shape rule; cached, because a search meets the same few hundred again."""
    return layer.output_shape(*inputs)


def graph_from_json(data: Mapping[str, Any]) -> Graph:
    """The graph that ``Graph.to_json`` wrote, with its shapes checked.

    Raises:
        ValueError: a field is absent, a layer unknown or the graph inconsistent.
    """
    builder = GraphBuilder(str(_field(data, "name", "a graph")))
    for entry in _list_field(data, "nodes", "a graph"):
        name = str(_field(entry, "name", "a node"))
        settings = {
            key: value for key, value in entry.items() if key not in ("name", "layer", "inputs")
        }
        try:
            layer = _make_layer(str(_field(entry, "layer", "it")), settings)
            inputs = map(str, _list_field(entry, "inputs", "it"))
        except ValueError as error:
            raise ValueError(f"node {name!r}: {error}") from None
        builder.add(name, layer, *inputs)
    return _checked(builder.graph())


def graph_from_text(text: str, name: str) -> Graph:
    """The graph that ``Graph.to_text`` wrote, with its shapes checked.

    Raises:
        ValueError: a line cannot be read; the message holds its number.
    """
    builder = GraphBuilder(name)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                builder.add(*_parse_line(line))
            except (SyntaxError, ValueError) as error:
                raise ValueError(f"line {number} is no node: {line.strip()!r} ({error})") from None
    return _checked(builder.graph())


def _checked(graph: Graph) -> Graph:
    if not graph.nodes:
        raise ValueError(f"graph {graph.name} has no nodes")
    _ = graph.shapes
    return graph


def _make_layer(kind: str, settings: Mapping[str, Any]) -> AnyLayer:
    if kind not in LAYERS:
        raise ValueError(f"unknown layer {kind!r}; known are {', '.join(LAYERS)}")
    types = {field.name: field.type for field in fields(LAYERS[kind])}
    for name, value in settings.items():
        if name in types and type(value).__name__ != types[name]:
            raise ValueError(f"layer {kind}: {name} must be {types[name]}, got {value!r}")
    try:
        return LAYERS[kind](**settings)
    except TypeError as error:
        raise ValueError(f"layer {kind}: {error}") from None


def _settings(layer: AnyLayer) -> dict[str, Any]:
    """The fields of a layer that differ from their defaults."""
    values = {field.name: getattr(layer, field.name) for field in fields(layer)}
    return {
        field.name: values[field.name]
        for field in fields(layer)
        if values[field.name] != field.default
    }


def _node_text(node: Node) -> str:
    arguments = [*node.inputs, *(f"{key}={value}" for key, value in _settings(node.layer).items())]
    return f"{node.name} = {node.layer.kind}({', '.join(arguments)})"


def _parse_line(line: str) -> tuple[Any, ...]:
    match ast.parse(line.strip()).body:
        case [ast.Assign(targets=[target], value=ast.Call() as call)]:
            pass
        case _:
            raise ValueError("expected name = layer(inputs, setting=value)")
    settings = {
        keyword.arg or "": keyword.value.id
        if isinstance(keyword.value, ast.Name)
        else ast.literal_eval(keyword.value)
        for keyword in call.keywords
    }
    inputs = [ast.unparse(argument) for argument in call.args]
    layer = _make_layer(ast.unparse(call.func), settings)
    return (ast.unparse(target), layer, *inputs)


def _field(data: Mapping[str, Any], name: str, owner: str) -> Any:
    try:
        return data[name]
    except (KeyError, TypeError):
        raise ValueError(f"{owner} needs a field {name!r}") from None


def _list_field(data: Mapping[str, Any], name: str, owner: str) -> list[Any]:
    value = _field(data, name, owner)
    if not isinstance(value, list):
        raise ValueError(f"the field {name!r} of {owner} must be a list, got {value!r}")
    return value
