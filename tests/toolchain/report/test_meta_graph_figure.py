from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from toolchain.methods.meta_graph import MetaGraph
from toolchain.report.content import read_content
from toolchain.report.meta_graph_figure import meta_graph_figure
from toolchain.run_dir import RunDirectory
from toolchain.spaces.dag import join, parse_dags

Element = ElementTree.Element
ANSWER = parse_dags("1c0.3s0,1/2s0")


def graph() -> MetaGraph:
    rng = np.random.default_rng(0)
    blank = MetaGraph.blank(("csss", "cs"), 3)
    weights = tuple(np.triu(rng.normal(size=one.shape), k=1) for one in blank.weights)
    return replace(blank, weights=weights, answer=ANSWER)


def stages(meta_graph: MetaGraph, kept: str = "") -> list[Element]:
    figure = meta_graph_figure(meta_graph, parse_dags(kept) if kept else ())
    page = ElementTree.fromstring(f"<div>{figure}</div>")
    return [svg for svg in page.iter("svg") if svg.get("role") == "img"]


def place(mark: Element) -> tuple[float, float]:
    """Centre of a mark."""
    if mark.tag == "circle":
        return float(mark.attrib["cx"]), float(mark.attrib["cy"])
    side = float(mark.attrib["width"])
    return float(mark.attrib["x"]) + side / 2, float(mark.attrib["y"]) + side / 2


def cells(stage: Element) -> dict[tuple[int, int], Element]:
    """By edge, as the notes name it."""
    found = {}
    for cell in stage.iter("rect"):
        note = cell.findtext("title")
        if note is not None:
            edge = re.match(r"edge (\d+) to (\d+) ", note)
            assert edge is not None
            found[int(edge[1]), int(edge[2])] = cell
    return found


def test_every_edge_is_a_cell_that_shows_its_weight() -> None:
    meta_graph = graph()
    strongest = max(np.abs(weights).max() for weights in meta_graph.weights)
    for index, stage in enumerate(stages(meta_graph)):
        weights, found = meta_graph.weights[index], cells(stage)
        size = len(weights)
        assert set(found) == {(i, j) for j in range(size) for i in range(j)}
        for edge, cell in found.items():
            assert cell.attrib["class"] == ("more" if weights[edge] > 0 else "less")
            opacity = float(cell.attrib["fill-opacity"])
            assert opacity == pytest.approx(abs(weights[edge]) / strongest, abs=0.006)
            note = cell.findtext("title") or ""
            assert f"weight {weights[edge]:+.2f}" in note
            assert f"probability {meta_graph.probabilities(index)[edge]:.2f}" in note
            operator = meta_graph.operators[index][edge[1] - 1]
            assert ("separable 3x3" if operator == "s" else "1x1 convolution") in note


def test_rows_are_sources_and_columns_are_targets_under_their_operators() -> None:
    (stage, _) = stages(graph())
    found = cells(stage)
    columns = {target: place(found[0, target])[0] for target in range(1, 5)}
    rows = {source: place(found[source, 4])[1] for source in range(4)}
    assert sorted(columns.values()) == list(columns.values())
    assert sorted(rows.values()) == list(rows.values())
    for (source, target), cell in found.items():
        assert place(cell) == (columns[target], rows[source])
    letters = {
        (float(one.attrib["x"]), float(one.attrib["y"])): one.text for one in stage.iter("text")
    }
    assert [letters[x, 5.0] for x in columns.values()] == list("csss")
    assert [letters[5.0, y] for y in rows.values()] == ["in", *"css"]


def test_the_answer_is_outlined_and_what_a_budget_keeps_is_dotted() -> None:
    kept = "1c0.3s1/2s0"
    for index, stage in enumerate(stages(graph(), kept)):
        found = cells(stage)
        outlined = {place(one) for one in stage.iter("rect") if one.get("class") == "answer"}
        assert outlined == {place(found[edge]) for edge in ANSWER[index].edges}
        dotted = {place(one) for one in stage.iter("circle")}
        assert dotted == {place(found[edge]) for edge in parse_dags(kept)[index].edges}
        edges = len(parse_dags(kept)[index].edges)
        assert f"{edges} kept by the budget" in stage.attrib["aria-label"]


def test_a_graph_that_knows_nothing_is_drawn_without_colour() -> None:
    for stage in stages(MetaGraph.blank(("cs", "sc"), 3)):
        assert {cell.attrib["fill-opacity"] for cell in cells(stage).values()} == {"0.00"}
        assert not [one for one in stage.iter("rect") if one.get("class") == "answer"]


def test_a_runs_figure_is_drawn_from_its_search(gram_run: RunDirectory) -> None:
    content = read_content(gram_run)
    assert content.meta_graph is not None
    assert content.kept == ()
    assert content.best is not None
    answer = content.meta_graph.answer
    assert join([dag.renumbered() for dag in answer]) == content.best["genotype"]
    outlines = str(meta_graph_figure(content.meta_graph, ())).count('<rect class="answer"') - 1
    assert outlines == sum(len(dag.edges) for dag in answer)


def test_a_member_shows_its_own_edges(member: RunDirectory) -> None:
    content = read_content(member)
    assert content.best is not None
    assert join([dag.renumbered() for dag in content.kept]) == content.best["genotype"]
    assert content.meta_graph is not None
    figure = str(meta_graph_figure(content.meta_graph, content.kept))
    assert figure.count("<circle") - 1 == sum(len(dag.edges) for dag in content.kept)
