"""Draw a graph as SVG: layers from top to bottom, edges as curves, details as tooltips.

The layout is layered (Sugiyama et al., IEEE Trans. SMC 11(2), 1981): a node stands one row below
its lowest input, and within a row nodes are ordered by the mean place of what they read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from toolchain.graph import Graph, Node
from toolchain.layers import Conv2d, Linear, Shape

BOX_WIDTH = 118
BOX_HEIGHT = 30
GAP_X = 16
GAP_Y = 26
MARGIN = 12

COLORS = {
    "input": "#8d99ae",
    "conv2d": "#3a86c8",
    "depthwise": "#2a9d8f",
    "max_pool2d": "#b08968",
    "global_average_pool": "#b08968",
    "linear": "#7b5ea7",
    "add": "#e07a5f",
    "concat": "#e9a23b",
}


class Place(NamedTuple):
    """Centre of a node's box, in pixels."""

    x: float
    y: float


def draw_svg(graph: Graph) -> str:
    """The graph as an SVG element, ready to stand in an HTML page or a file of its own."""
    rows = _rows(graph)
    places = _places(graph, rows)
    width = 2 * MARGIN + max(len(row) for row in rows) * (BOX_WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + len(rows) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    edges = [
        _edge(places[source], places[node.name]) for node in graph.nodes for source in node.inputs
    ]
    boxes = [_box(node, places[node.name], graph.shapes) for node in graph.nodes]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="sans-serif">',
            f"<title>{escape(graph.name)}: {len(graph.nodes)} layers</title>",
            '<g fill="none" stroke="#8a8f98" stroke-width="1.2">',
            *edges,
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


def describe(node: Node) -> str:
    """A layer in few characters, such as ``3x3 /2 -> 32`` for a convolution."""
    layer = node.layer
    if isinstance(layer, Conv2d):
        step = f" /{layer.stride}" if layer.stride > 1 else ""
        kind = "dw " if layer.depthwise else ""
        return f"{kind}{layer.kernel}x{layer.kernel}{step} → {layer.channels}"
    if isinstance(layer, Linear):
        return f"dense → {layer.features}"
    return layer.kind.replace("_", " ").replace("2d", "").replace("average", "avg")


def _rows(graph: Graph) -> list[list[str]]:
    depth: dict[str, int] = {}
    for node in graph.nodes:
        depth[node.name] = 1 + max((depth[name] for name in node.inputs), default=-1)
    rows: dict[int, list[str]] = defaultdict(list)
    for name, row in depth.items():
        rows[row].append(name)
    return [rows[row] for row in sorted(rows)]


def _places(graph: Graph, rows: Sequence[list[str]]) -> Mapping[str, Place]:
    reads = {node.name: node.inputs for node in graph.nodes}
    widest = max(len(row) for row in rows) * (BOX_WIDTH + GAP_X) - GAP_X
    places: dict[str, Place] = {}
    for index, row in enumerate(rows):
        ordered = sorted(row, key=lambda name: _mean_x(places, reads[name]))
        start = MARGIN + (widest - len(row) * (BOX_WIDTH + GAP_X) + GAP_X) / 2 + BOX_WIDTH / 2
        y = MARGIN + BOX_HEIGHT / 2 + index * (BOX_HEIGHT + GAP_Y)
        for column, name in enumerate(ordered):
            places[name] = Place(start + column * (BOX_WIDTH + GAP_X), y)
    return places


def _mean_x(places: Mapping[str, Place], names: Sequence[str]) -> float:
    return sum(places[name].x for name in names) / max(len(names), 1)


def _edge(source: Place, target: Place) -> str:
    start = source.y + BOX_HEIGHT / 2
    end = target.y - BOX_HEIGHT / 2
    bend = max((end - start) / 2, GAP_Y / 2)
    # An edge over several rows swings aside, so that it does not run behind the boxes between.
    rows_crossed = round((target.y - source.y) / (BOX_HEIGHT + GAP_Y)) - 1
    side = rows_crossed * 14 * (1 if target.x >= source.x else -1)
    return (
        f'<path d="M{source.x:.0f} {start:.0f} C{source.x + side:.0f} {start + bend:.0f} '
        f'{target.x + side:.0f} {end - bend:.0f} {target.x:.0f} {end:.0f}"/>'
    )


def _box(node: Node, place: Place, shapes: Mapping[str, Shape]) -> str:
    layer = node.layer
    is_depthwise = isinstance(layer, Conv2d) and layer.depthwise
    color = COLORS["depthwise" if is_depthwise else layer.kind]
    shape = "x".join(map(str, shapes[node.name]))
    macs = layer.macs(*(shapes[name] for name in node.inputs))
    detail = f"{node.name}: {layer} gives {shape}, {macs:,} MACs"
    left, top = place.x - BOX_WIDTH / 2, place.y - BOX_HEIGHT / 2
    return (
        f"<g><title>{escape(detail)}</title>"
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{color}"/>'
        f'<text x="{place.x:.0f}" y="{place.y - 2:.0f}" text-anchor="middle" font-size="11" '
        f'fill="#fff">{escape(describe(node))}</text>'
        f'<text x="{place.x:.0f}" y="{place.y + 10:.0f}" text-anchor="middle" font-size="8.5" '
        f'fill="#fff" opacity="0.85">{escape(node.name)} · {shape}</text></g>'
    )
