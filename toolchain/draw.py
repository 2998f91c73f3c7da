"""Draw a graph as SVG: layers from top to bottom, edges as curves, details as tooltips.

The layout is layered (Sugiyama et al., IEEE Trans. SMC 11(2), 1981): a node stands one row below
its lowest input, and an output that is read further down has a lane of its own through the rows
between, so that no edge runs behind a box. Within a row, boxes and lanes are ordered by the mean
place of what leads to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from toolchain.graph import Graph, Node
from toolchain.layers import Conv2d, ConvTranspose2d, Linear, Shape, Upsample

BOX_WIDTH = 118
BOX_HEIGHT = 30
LANE_WIDTH = 8
GAP_X = 16
GAP_Y = 26
MARGIN = 12

COLORS = {
    "input": "#647087",
    "conv2d": "#2f73b0",
    "conv_transpose2d": "#2f73b0",
    "depthwise": "#1d7b70",
    "max_pool2d": "#8a6a4b",
    "global_average_pool": "#8a6a4b",
    "upsample": "#8a6a4b",
    "linear": "#7b5ea7",
    "add": "#b9553a",
    "multiply": "#a3476f",
    "concat": "#9a6512",
    "embedding": "#647087",
    "vector": "#647087",
    "pick": "#8a6a4b",
    "stack": "#9a6512",
    "subtract": "#b9553a",
    "scale": "#a3476f",
}


class Slot(NamedTuple):
    """A place in a row: a node's box or, in the rows below it, the lane of its output."""

    name: str
    row: int


class Place(NamedTuple):
    """Centre of a slot, in pixels."""

    x: float
    y: float


def draw_svg(graph: Graph) -> str:
    """The graph as an SVG element, ready to stand in an HTML page or a file of its own."""
    boxes = _boxes(graph)
    above = _above(graph, boxes)
    places = _places(above, boxes)
    width = max(places[slot].x + _width(slot, boxes) / 2 for slot in places) + MARGIN
    height = max(place.y for place in places.values()) + BOX_HEIGHT / 2 + MARGIN
    links = [
        _link(places[source], places[slot])
        for slot, sources in above.items()
        for source in sources
    ]
    lanes = [_lane(places[slot]) for slot in places if slot not in boxes.values()]
    drawn = [_box(node, places[boxes[node.name]], graph.shapes) for node in graph.nodes]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img" font-family="sans-serif">',
            f"<title>{escape(graph.name)}: {len(graph.nodes)} layers</title>",
            '<g fill="none" stroke="#8a8f98" stroke-width="1.2">',
            *links,
            *lanes,
            "</g>",
            *drawn,
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
    if isinstance(layer, ConvTranspose2d):
        return f"{layer.kernel}x{layer.kernel} x{layer.stride} → {layer.channels}"
    if isinstance(layer, Upsample):
        return f"{layer.interpolation} x{layer.factor}"
    if isinstance(layer, Linear):
        return f"dense → {layer.features}"
    return layer.kind.replace("_", " ").replace("2d", "").replace("average", "avg")


def _boxes(graph: Graph) -> dict[str, Slot]:
    """The slot of each node's box."""
    boxes: dict[str, Slot] = {}
    for node in graph.nodes:
        row = 1 + max((boxes[name].row for name in node.inputs), default=-1)
        boxes[node.name] = Slot(node.name, row)
    return boxes


def _above(graph: Graph, boxes: Mapping[str, Slot]) -> dict[Slot, list[Slot]]:
    """Every slot, row by row, with the slots of the row above that lead to it."""
    above: dict[Slot, list[Slot]] = {}
    for node in graph.nodes:
        box = boxes[node.name]
        above[box] = [Slot(name, box.row - 1) for name in node.inputs]
        for name in node.inputs:
            for row in range(boxes[name].row + 1, box.row):
                above[Slot(name, row)] = [Slot(name, row - 1)]
    return dict(sorted(above.items(), key=lambda item: item[0].row))


def _places(
    above: Mapping[Slot, Sequence[Slot]], boxes: Mapping[str, Slot]
) -> Mapping[Slot, Place]:
    """Rows centred over one another."""
    rows = [list(row) for _, row in groupby(above, key=lambda slot: slot.row)]
    widths = [sum(_width(slot, boxes) + GAP_X for slot in row) - GAP_X for row in rows]
    places: dict[Slot, Place] = {}
    for row, width in zip(rows, widths, strict=True):
        y = MARGIN + BOX_HEIGHT / 2 + row[0].row * (BOX_HEIGHT + GAP_Y)
        left = MARGIN + (max(widths) - width) / 2
        for slot in sorted(row, key=lambda slot: _mean_x(places, above[slot])):
            places[slot] = Place(left + _width(slot, boxes) / 2, y)
            left += _width(slot, boxes) + GAP_X
    return places


def _width(slot: Slot, boxes: Mapping[str, Slot]) -> int:
    return BOX_WIDTH if boxes[slot.name] == slot else LANE_WIDTH


def _mean_x(places: Mapping[Slot, Place], slots: Sequence[Slot]) -> float:
    return sum(places[slot].x for slot in slots) / max(len(slots), 1)


def _link(source: Place, target: Place) -> str:
    """A curve from one row to the next."""
    start, end = source.y + BOX_HEIGHT / 2, target.y - BOX_HEIGHT / 2
    middle = (start + end) / 2
    return (
        f'<path d="M{source.x:.0f} {start:.0f} C{source.x:.0f} {middle:.0f} '
        f'{target.x:.0f} {middle:.0f} {target.x:.0f} {end:.0f}"/>'
    )


def _lane(place: Place) -> str:
    """A straight way through a row."""
    return f'<path d="M{place.x:.0f} {place.y - BOX_HEIGHT / 2:.0f} v{BOX_HEIGHT}"/>'


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
        f'<text x="{place.x:.0f}" y="{place.y + 10:.0f}" text-anchor="middle" font-size="9" '
        f'fill="#fff">{escape(node.name)} · {shape}</text></g>'
    )
