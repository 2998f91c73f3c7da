"""A network as layers and edges: the source of the module, the counts, the kernels, the drawing.

Nodes stand in execution order; each names the nodes it reads. Text, one node a line::

    image = input(channels=3, height=32, width=32)
    stem = conv2d(image, channels=32, kernel=3)
    logits = linear(pool, features=10)

Only what differs from a layer's defaults is written. The inputs come first. The output is the last
node, unless a last line names others, or several: ``return logits, state``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any, NamedTuple

from toolchain.layers import LAYERS, AnyLayer, Embedding, Linear, Shape, Source


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
        nodes: in execution order, the inputs first.
        returns: names of the nodes that are outputs; only the last one is when empty.
    """

    name: str
    nodes: tuple[Node, ...]
    returns: tuple[str, ...] = ()

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output shape of every node, by name.

        Raises:
            ValueError: no input comes first, or one comes after other nodes; a name stands twice;
                a node reads one, or uses the weights of one, that is unknown or comes later; a
                layer cannot take what it reads; or an output is no node. The message names the
                node.
        """
        shapes: dict[str, Shape] = {}
        sources = len(self.inputs)
        for index, node in enumerate(self.nodes):
            if node.name in shapes:
                raise ValueError(f"graph {self.name}: two nodes are called {node.name!r}")
            if isinstance(node.layer, Source) != (index < max(sources, 1)):
                raise ValueError(
                    f"graph {self.name}: the first nodes, and no others, must be inputs; "
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
                self._check_shared_weights(node, inputs, shapes)
            except ValueError as error:
                raise ValueError(f"graph {self.name}, node {node.name!r}: {error}") from None
        for name in self.returns:
            if name not in shapes:
                raise ValueError(f"graph {self.name} returns {name!r}, which is no node of it")
        return shapes

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that read what the caller gives."""
        return tuple(takewhile(lambda node: isinstance(node.layer, Source), self.nodes))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the nodes whose values the caller gets."""
        return self.returns or (self.nodes[-1].name,)

    @cached_property
    def needed(self) -> Set[str]:
        """Names of the nodes that an output depends on; exporters leave out the others."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return needed

    @property
    def input_shape(self) -> Shape:
        """Shape of the first input: CHW of the image, in networks that read one."""
        return self.shapes[self.nodes[0].name]

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output."""
        return self.shapes[self.outputs[0]]

    def _check_shared_weights(
        self, node: Node, inputs: tuple[Shape, ...], shapes: Mapping[str, Shape]
    ) -> None:
        if not isinstance(node.layer, Linear) or not node.layer.weights:
            return
        owner = self._by_name.get(node.layer.weights)
        if owner is None or owner.name not in shapes or owner.name == node.name:
            raise ValueError(
                f"weights are of {node.layer.weights!r}, which is not a node before it"
            )
        match owner.layer:
            case Embedding():
                matrix = (owner.layer.words, owner.layer.features)
            case Linear(weights=""):
                matrix = (owner.layer.features, shapes[owner.inputs[0]][0])
            case _:
                raise ValueError(f"{owner.name!r} has no matrix of its own to share")
        if matrix != (node.layer.features, inputs[0][0]):
            raise ValueError(
                f"it needs a matrix of {node.layer.features}x{inputs[0][0]}, that of "
                f"{owner.name!r} is {matrix[0]}x{matrix[1]}"
            )

    @cached_property
    def _by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    def to_text(self) -> str:
        """One line for each node, and one for the outputs where they are named."""
        lines = [_node_text(node) for node in self.nodes]
        if self.returns:
            lines.append(f"return {', '.join(self.returns)}")
        return "".join(f"{line}\n" for line in lines)

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
        named: dict[str, Any] = {"returns": list(self.returns)} if self.returns else {}
        return {"name": self.name, "nodes": nodes, **named}


class GraphBuilder:
    """Builds a graph node by node, in execution order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Node] = []

    def add(self, name: str, layer: AnyLayer, *inputs: str) -> str:
        """Append a node; returns its name, for the nodes that read it."""
        self._nodes.append(Node(name, layer, inputs))
        return name

    def graph(self, *returns: str) -> Graph:
        """The graph so far.

        Args:
            returns: its outputs; the last node added is the only one when none is named.
        """
        return Graph(self.name, tuple(self._nodes), returns)


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
    returns = _list_field(data, "returns", "a graph") if "returns" in data else []
    return _checked(builder.graph(*map(str, returns)))


def graph_from_text(text: str, name: str) -> Graph:
    """The graph that ``Graph.to_text`` wrote, with its shapes checked.

    Raises:
        ValueError: a line cannot be read; the message holds its number.
    """
    builder = GraphBuilder(name)
    returns: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            if returns:
                raise ValueError("nothing may follow the outputs")
            if line.split()[0] == "return":
                returns = _parse_returns(line)
            else:
                builder.add(*_parse_line(line))
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"line {number} is no node: {line.strip()!r} ({error})") from None
    return _checked(builder.graph(*returns))


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


def _parse_returns(line: str) -> tuple[str, ...]:
    match ast.parse(line.strip()).body:
        case [ast.Return(value=ast.Name(id=name))]:
            return (name,)
        case [ast.Return(value=ast.Tuple(elts=names))]:
            return tuple(map(ast.unparse, names))
    raise ValueError("expected return name, name")


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
