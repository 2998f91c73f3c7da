from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from toolchain.draw import COLORS, describe, draw_svg
from toolchain.graph import Graph, GraphBuilder, Node
from toolchain.layers import LAYERS, AnyLayer, Conv2d, ConvTranspose2d, Input, Linear, Upsample
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.zoo import make_network

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def complete_and_random() -> list[Graph]:
    space = ShrinkCnnSpace()
    rng = np.random.default_rng(0)
    genotypes = [space.complete("scscscs"), *(space.sample(rng) for _ in range(20))]
    return [space.decode(genotype) for genotype in genotypes]


def boxes_of(svg: ElementTree.Element) -> list[Box]:
    return [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in svg.iter(f"{SVG}rect")
    ]


def test_every_layer_is_a_box_inside_the_picture_and_no_two_overlap() -> None:
    for graph in [*complete_and_random(), make_network("shrinkcnn-b")]:
        svg = ElementTree.fromstring(draw_svg(graph))
        width, height = (float(svg.attrib[name]) for name in ("width", "height"))
        boxes = boxes_of(svg)
        assert len(boxes) == len(graph.nodes)
        assert all(x >= 0 and y >= 0 for x, y, _, _ in boxes)
        assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
        for (x1, y1, w1, h1), (x2, y2, w2, h2) in combinations(boxes, 2):
            apart = x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
            assert apart, graph.name


def test_a_layer_stands_below_what_it_reads() -> None:
    for graph in complete_and_random():
        boxes = boxes_of(ElementTree.fromstring(draw_svg(graph)))
        top = {node.name: box[1] for node, box in zip(graph.nodes, boxes, strict=True)}
        assert all(top[name] < top[node.name] for node in graph.nodes for name in node.inputs)


def test_an_edge_leads_to_every_input_of_a_layer() -> None:
    for graph in complete_and_random():
        svg = ElementTree.fromstring(draw_svg(graph))
        ends = [re.findall(r"[\d.]+", path.attrib["d"])[-2:] for path in svg.iter(f"{SVG}path")]
        for node, (x, y, width, _) in zip(graph.nodes, boxes_of(svg), strict=True):
            arriving = [
                end
                for end in ends
                if len(end) == 2
                and abs(float(end[0]) - x - width / 2) <= 1
                and abs(float(end[1]) - y) <= 1
            ]
            assert len(arriving) == len(node.inputs), (graph.name, node.name)


def test_names_are_escaped() -> None:
    graph = GraphBuilder("a<b & c")
    graph.add("<image>", Input(channels=1, height=2, width=2))
    graph.add('"x"&', Conv2d(channels=2), "<image>")
    text = draw_svg(graph.graph())
    titles = [title.text for title in ElementTree.fromstring(text).iter(f"{SVG}title")]
    assert titles[0] == "a<b & c: 2 layers"
    assert titles[2].startswith('"x"&: Conv2d')


def test_a_tooltip_tells_shape_and_cost() -> None:
    text = draw_svg(make_network("shrinkcnn-a"))
    assert "gives 1001, 1,281,280 MACs" in text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2d(channels=32, kernel=3, stride=2), "3x3 /2 → 32"),
        (Conv2d(channels=32, kernel=5, depthwise=True), "dw 5x5 → 32"),
        (ConvTranspose2d(channels=32), "4x4 x2 → 32"),
        (Upsample(factor=4), "nearest x4"),
        (Linear(features=10), "dense → 10"),
    ],
)
def test_a_layer_is_described_in_few_characters(layer: AnyLayer, text: str) -> None:
    assert describe(Node("x", layer, ("y",))) == text


def test_every_layer_has_a_colour_on_which_white_text_can_be_read() -> None:
    assert set(LAYERS) <= set(COLORS)
    for name, color in COLORS.items():
        channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        luminance = linear @ (0.2126, 0.7152, 0.0722)
        # WCAG 2.2, success criterion 1.4.3.
        assert 1.05 / (luminance + 0.05) >= 4.5, name


def test_the_drawing_depends_on_the_graph_alone() -> None:
    graph = complete_and_random()[0]
    assert draw_svg(graph) == draw_svg(replace(graph))
