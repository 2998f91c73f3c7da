"""The report's drawing of a meta-graph: for each stage which edges are worth having.

A stage is a matrix, row by row where an edge starts and column by column where it ends; the
letters are the nodes' operators. Its cells are squares at any width, so that the drawing scales
with its text, unlike the charts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from toolchain.methods.meta_graph import Array, MetaGraph
from toolchain.spaces.dag import Dag

CELL = 10
"""Side of a cell, in units of the drawing."""

LARGEST_CELL_PX = 22
MEANINGS = {"c": "1x1 convolution", "s": "separable 3x3"}
SWATCHES = (
    ("more", "worth more than at first"),
    ("less", "worth less"),
    ("answer", "edge of the search's answer"),
    ("kept", "edge that this budget keeps"),
)


class Stage(NamedTuple):
    """What is drawn of one stage.

    Attributes:
        number: from 1.
        operators: letters of nodes 1, 2, ...
        weights: log-odds, [nodes, nodes].
        probabilities: of the same edges.
        strongest: largest weight of any stage, either way; more than 0.
        answer: edges of the search's answer.
        kept: edges that the budget keeps.
    """

    number: int
    operators: str
    weights: Array
    probabilities: Array
    strongest: float
    answer: frozenset[tuple[int, int]]
    kept: frozenset[tuple[int, int]]


def meta_graph_figure(meta_graph: MetaGraph, kept: tuple[Dag, ...]) -> Markup:
    """All stages, under a list of what the marks are.

    Args:
        meta_graph: what a search has learned.
        kept: the member of its family that the run is about; empty when it is about the search.
    """
    strongest = max(float(np.abs(weights).max()) for weights in meta_graph.weights) or 1.0
    panels = [
        _panel(
            Stage(
                number=index + 1,
                operators=operators,
                weights=meta_graph.weights[index],
                probabilities=meta_graph.probabilities(index),
                strongest=strongest,
                answer=_edges(meta_graph.answer, index),
                kept=_edges(kept, index),
            )
        )
        for index, operators in enumerate(meta_graph.operators)
    ]
    marks = [one for one in SWATCHES if one[0] != "kept" or kept]
    return Markup('<ul class="legend">{}</ul><div class="stages">{}</div>').format(
        Markup().join(_swatch(*mark) for mark in marks), Markup().join(panels)
    )


def _edges(dags: tuple[Dag, ...], stage: int) -> frozenset[tuple[int, int]]:
    return frozenset(dags[stage].edges if dags else ())


def _swatch(style: str, text: str) -> Markup:
    if style in ("more", "less"):
        cell = Markup('<rect class="{}" x="2" y="2" width="14" height="14"/>').format(style)
    else:
        cell = _mark(style, 9, 9, 14)
    return Markup(
        '<li><svg class="swatch meta" viewBox="0 0 18 18" aria-hidden="true">{}</svg>{}</li>'
    ).format(cell, text)


def _panel(stage: Stage) -> Markup:
    size = len(stage.weights)
    cells = [_cell(stage, source, target) for target in range(1, size) for source in range(target)]
    names = ["in", *stage.operators]
    places = [(CELL * (node + 0.5), CELL / 2, names[node]) for node in range(1, size)]
    places += [(CELL / 2, CELL * (node + 1.5), names[node]) for node in range(size - 1)]
    labels = [
        Markup('<text x="{:g}" y="{:g}" dy="2">{}</text>').format(*place) for place in places
    ]
    outlines = [_mark("answer", *_centre(*edge), CELL - 1) for edge in sorted(stage.answer)]
    dots = [_mark("kept", *_centre(*edge), CELL) for edge in sorted(stage.kept)]
    title = f"Edges of stage {stage.number}: {len(stage.answer)} in the answer" + (
        f", {len(stage.kept)} kept by the budget" if stage.kept else ""
    )
    return Markup(
        '<div><h3>Stage {}</h3><svg class="meta" viewBox="0 0 {side} {side}" role="img" '
        'aria-label="{}" style="max-width: {}px">{}</svg></div>'
    ).format(
        stage.number,
        title,
        LARGEST_CELL_PX * size,
        Markup().join([_ground(size), *labels, *cells, *outlines, *dots]),
        side=CELL * size,
    )


def _cell(stage: Stage, source: int, target: int) -> Markup:
    weight = float(stage.weights[source, target])
    operator = stage.operators[target - 1]
    note = (
        f"edge {source} to {target} ({MEANINGS.get(operator, operator)}): weight {weight:+.2f}, "
        f"probability {stage.probabilities[source, target]:.2f}"
    )
    left, top = _corner(source, target)
    return Markup(
        '<rect class="{}" x="{:g}" y="{:g}" width="9" height="9" fill-opacity="{:.2f}">'
        "<title>{}</title></rect>"
    ).format("more" if weight > 0 else "less", left, top, abs(weight) / stage.strongest, note)


def _ground(size: int) -> Markup:
    """What all cells stand on."""
    corners = [_corner(source, target) for target in range(1, size) for source in range(target)]
    squares = "".join(f"M{left:g} {top:g}h9v9h-9Z" for left, top in corners)
    return Markup('<path class="ground" d="{}"/>').format(squares)


def _mark(style: str, x: float, y: float, side: float) -> Markup:
    """Outline of an answer's edge, or dot of one that is kept."""
    if style == "kept":
        return Markup('<circle class="kept" cx="{:g}" cy="{:g}" r="{:g}"/>').format(x, y, side / 4)
    return Markup('<rect class="answer" x="{:g}" y="{:g}" width="{:g}" height="{:g}"/>').format(
        x - side / 2, y - side / 2, side, side
    )


def _centre(source: int, target: int) -> tuple[float, float]:
    """Centre of an edge's cell: letters stand in the first row and the first column."""
    return CELL * (target + 0.5), CELL * (source + 1.5)


def _corner(source: int, target: int) -> tuple[float, float]:
    x, y = _centre(source, target)
    return x - 4.5, y - 4.5
