from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from latency_tables.kernel import parse_kernel
from toolchain.report.chart import Chart, Point, Series, Tick, make_axis
from toolchain.report.result_figures import kernel_rows, kernel_sums, kernel_text

HOSTILE = "<b>&\"'"
DOTS = Series("dots", "first", "dot", [Point(0, 0, "low"), Point(5, 20, "middle")])
CHART = Chart(
    title="a chart", x=make_axis("x", [0, 10]), y=make_axis("y", [0, 100]), series=[DOTS]
)


def marks(chart: Chart) -> dict[str, tuple[str, str]]:
    """Where the points are, by note, in percent from the left and from the top."""
    svg = ElementTree.fromstring(chart.svg())
    found = [(mark.find("title"), mark) for mark in svg.iter("svg") if mark is not svg]
    return {
        note.text or "": (mark.attrib["x"], mark.attrib["y"])
        for note, mark in found
        if note is not None
    }


def test_points_stand_where_their_values_are() -> None:
    assert marks(CHART) == {"low": ("0.00%", "100.00%"), "middle": ("50.00%", "80.00%")}


def test_a_reversed_axis_turns_the_points_round() -> None:
    chart = replace(CHART, x=make_axis("x", [0, 10], is_reversed=True))
    assert marks(chart)["low"] == ("100.00%", "100.00%")


@pytest.mark.parametrize("x", [math.nan, math.inf])
def test_a_point_that_is_not_finite_is_not_drawn(x: float) -> None:
    points = [Point(1, 1, "here"), Point(x, 1, "nowhere"), Point(2, 2, "there")]
    chart = replace(CHART, series=[Series("line", "first", "dot", points, is_joined=True)])
    assert set(marks(chart)) == {"here", "there"}
    line = ElementTree.fromstring(chart.svg()).find(".//polyline")
    assert line is not None
    assert line.attrib["points"] == "10.00,99.00 20.00,98.00"


def test_limits_cross_the_chart_at_their_values() -> None:
    chart = replace(CHART, x_limits=[Tick(4, "budget")], y_limits=[Tick(30, "floor")])
    across, along = ElementTree.fromstring(chart.svg()).findall(".//g[@class='limit']/line")
    assert across.attrib == {"x1": "40.00%", "x2": "40.00%", "y1": "0", "y2": "100%"}
    assert along.attrib == {"x1": "0", "x2": "100%", "y1": "70.00%", "y2": "70.00%"}


def test_texts_are_escaped() -> None:
    series = Series(HOSTILE, "first", "dot", [Point(1, 1, HOSTILE)])
    axis = replace(CHART.x, label=HOSTILE)
    chart = replace(CHART, title=HOSTILE, x=axis, series=[series], x_limits=[Tick(1, HOSTILE)])
    texts = list(ElementTree.fromstring(chart.with_legend()).itertext())
    assert texts.count(HOSTILE) == 4
    assert "<b>" not in chart.with_legend()


def test_the_dearest_kernel_has_the_longest_bar() -> None:
    kernels = [
        {"name": "cheap", "kernel": None, "measured_ms": 0.002, "predicted_ms": 0.001},
        {"name": "dear", "kernel": None, "measured_ms": 0.008, "predicted_ms": 0.006},
    ]
    dear, cheap = kernel_rows(kernels)
    assert (dear.label, dear.shares) == ("dear", (100, 75))
    assert (cheap.label, cheap.shares) == ("cheap", (25, 12.5))
    assert cheap.text.startswith("2.00 / 1.00")


def test_sums_of_the_kernels_shown_and_of_the_others_make_the_sum_of_all() -> None:
    kernels = [
        {"name": str(ms), "kernel": None, "measured_ms": ms, "predicted_ms": None}
        for ms in range(1, 31)
    ]
    above, others, together = kernel_sums(kernels)
    assert (above.measured_ms, others.measured_ms) == (sum(range(11, 31)), sum(range(1, 11)))
    assert together.measured_ms == above.measured_ms + others.measured_ms
    assert together.predicted_ms is None


def test_a_kernel_is_told_by_its_kind_window_stride_and_shapes() -> None:
    kernel = parse_kernel(
        "depthwise_conv2d 1x28x28x16 -> 1x14x14x16 "
        "kernel=3x3 padding=same stride=2x2 act=relu float32"
    )
    assert kernel_text(kernel) == "depthwise 3x3 /2, 28x28x16 → 14x14x16"
