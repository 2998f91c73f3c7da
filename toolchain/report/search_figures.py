"""The report's charts of a search: every network trained, and the walk to the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from toolchain.report.chart import LegendEntry, Plot, Point, Series, legend, make_axis, panel
from toolchain.report.content import Content, Record
from toolchain.report.quantity import count, milliseconds, percent

OUTLIER_FENCE = 3.0
"""Interquartile ranges below the lower quartile where one accuracy would flatten all others."""

CHOSEN = LegendEntry("dot", "first", "network chosen")


class Cost(NamedTuple):
    """What the networks are set against.

    Attributes:
        label: quantity and unit.
        of: reads it from a candidate.
        limits: what the budget allows; empty without one.
    """

    label: str
    of: Callable[[Record], float]
    limits: tuple[float, ...] = ()


def candidates_figure(content: Content) -> Markup:
    """Accuracy against predicted latency, or against MACs, of every network trained."""
    cost = _cost(content)
    floor = _floor([one["metric"] for one in content.candidates])
    scaled = [one["metric"] for one in content.candidates if one["metric"] >= floor]
    plot = Plot(
        title="Accuracy against cost of the networks trained",
        x=make_axis(cost.label, [*map(cost.of, content.candidates), *cost.limits]),
        y=make_axis("Proxy accuracy, %", [100 * metric for metric in scaled]),
        height=340,
    )

    def points(members: Iterable[Record]) -> list[Point]:
        return [Point(cost.of(one), 100 * one["metric"], describe(one)) for one in members]

    marks = [plot.vertical(limit, f"budget {milliseconds(limit)}") for limit in cost.limits]
    entries = []
    if content.walk:
        marks.append(plot.line(points(content.walk), "walk"))
        entries.append(LegendEntry("line", "walk", "the walk"))
    for entry, members in _groups(content, floor):
        if members:
            marks.append(plot.points(points(members), entry.symbol, entry.series))
            entries.append(entry)
    return legend(entries) + plot.svg(*marks)


def trajectory_figure(content: Content) -> Markup:
    """Score, accuracy and cost of each step of the walk, against the edges left in the cell."""
    steps, cost = content.walk, _cost(content)
    edges = make_axis(
        "Edges left", [step["edges"] for step in steps], is_reversed=True, is_whole=True
    )

    def points(value: Callable[[Record], float]) -> list[Point]:
        return [Point(step["edges"], value(step), describe(step)) for step in steps]

    def drawn(label: str, *series: Series, limits: Iterable[float] = ()) -> Markup:
        values = [point.y for one in series for point in one.points]
        axis = make_axis(label, [*values, *limits])
        plot = Plot(title=f"{label} along the walk", x=edges, y=axis)
        rules = [plot.horizontal(limit, f"budget {milliseconds(limit)}") for limit in limits]
        return panel(plot, series, *rules)

    mean = LegendEntry("line", "second", "mean of the step")
    best = LegendEntry("line", "second", "best in budget" if content.budget else "best so far")
    return (
        drawn(
            "Score",
            Series(CHOSEN, points(lambda step: step["score"])),
            Series(mean, points(lambda step: step["mean_score"])),
        )
        + drawn(
            "Proxy accuracy, %",
            Series(CHOSEN, points(lambda step: 100 * step["metric"])),
            Series(best, _best_so_far(steps)),
        )
        + drawn(cost.label, Series(CHOSEN, points(cost.of)), limits=cost.limits)
    )


def describe(candidate: Record) -> str:
    """A candidate, or a step's choice, in a few lines."""
    lines = [candidate["genotype"], f"proxy accuracy {percent(candidate['metric'])}"]
    if candidate["p50_ms"] is not None:
        p95 = milliseconds(candidate["p95_ms"])
        lines.append(f"predicted {milliseconds(candidate['p50_ms'])}, {p95} at 95%")
    lines.append(f"{count(candidate['macs'])} MACs")
    if "edges" in candidate:
        lines.append(f"{candidate['edges']} edges, best of {candidate['candidates']}")
    return "\n".join(lines)


def _cost(content: Content) -> Cost:
    if not content.has_latency:
        return Cost("MACs, millions", lambda one: one["macs"] / 1e6)
    if content.budget is None:
        return Cost("Predicted latency, ms", lambda one: one["p50_ms"])
    label = f"Latency at {content.budget.confidence:.0%} confidence, ms"
    return Cost(label, content.limited_ms, (content.budget.limit_ms,))


def _groups(content: Content, floor: float) -> Sequence[tuple[LegendEntry, list[Record]]]:
    """The candidates by what is said of them; what comes later is drawn over the others."""
    rejected: list[Record] = []
    admitted: list[Record] = []
    weak: list[Record] = []
    for one in content.candidates:
        group = weak if one["metric"] < floor else admitted if content.admits(one) else rejected
        group.append(one)
    admitted_text = "within the budget" if content.budget else "trained"
    return (
        (LegendEntry("cross", "rejected", "over the budget"), rejected),
        (LegendEntry("dot", "admitted", admitted_text), admitted),
        (LegendEntry("below", "weak", "too weak for the scale"), weak),
        (LegendEntry("star", "best", "the answer"), [content.best] if content.best else []),
    )


def _best_so_far(steps: Sequence[Record]) -> list[Point]:
    """The best accuracy among the steps within the budget, from the first of these on."""
    points: list[Point] = []
    best = 0.0
    for step in steps:
        if step["within_budget"]:
            best = max(best, step["metric"])
        if best:
            points.append(Point(step["edges"], 100 * best, percent(best)))
    return points


def _floor(accuracies: Sequence[float]) -> float:
    low, high = np.percentile(accuracies, (25, 75))
    return float(low - OUTLIER_FENCE * (high - low))
