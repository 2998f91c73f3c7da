"""The report's charts of a search: every network trained, and the walk to the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What the networks are set against: a quantity's name and how to read it."""

    label: str
    of: Callable[[Record], float]


def candidates_figure(content: Content) -> Markup:
    """Accuracy against predicted latency, or against MACs, of every network trained."""
    cost = _cost(content)
    limits_ms = [content.budget.limit_ms] if content.budget else []
    floor = _floor([one["metric"] for one in content.candidates])
    scaled = [one for one in content.candidates if one["metric"] >= floor]
    plot = Plot(
        title="Accuracy against cost of the networks trained",
        x=make_axis(cost.label, [*map(cost.of, content.candidates), *limits_ms]),
        y=make_axis("Proxy accuracy, %", [100 * one["metric"] for one in scaled]),
        height=340,
    )
    marks = [
        plot.vertical(limit, f"budget {milliseconds(limit)}", "budget") for limit in limits_ms
    ]
    entries = []
    if walk := _walk(content):
        marks.append(plot.line([(cost.of(one), 100 * one["metric"]) for one in walk], "walk"))
        entries.append(LegendEntry("line", "walk", "the walk"))
    for entry, members in _groups(content, floor):
        if members:
            points = [Point(cost.of(one), 100 * one["metric"], describe(one)) for one in members]
            marks.append(plot.points(points, entry.symbol, entry.series))
            entries.append(entry)
    return legend(entries) + plot.svg(*marks)


def trajectory_figure(content: Content) -> Markup:
    """Score, accuracy and cost of each step of the walk, against the edges left in the cell."""
    assert content.search is not None, "drawn for a finished search"
    steps: Sequence[Record] = content.search["trajectory"]
    edges = make_axis(
        "Edges left", [step["edges"] for step in steps], is_reversed=True, is_whole=True
    )
    has_latency = all(step["p50_ms"] is not None for step in steps)

    def points(value: Callable[[Record], float]) -> list[Point]:
        return [Point(step["edges"], value(step), describe(step)) for step in steps]

    def plot(label: str, series: Sequence[Series], *more: float) -> Plot:
        values = [point.y for one in series for point in one.points]
        return Plot(title=f"{label} along the walk", x=edges, y=make_axis(label, [*values, *more]))

    scores = (
        Series(CHOSEN, points(lambda step: step["score"])),
        Series(
            LegendEntry("line", "second", "mean of the step"),
            points(lambda step: step["mean_score"]),
        ),
    )
    best_text = "best within the budget" if content.budget else "best so far"
    accuracies = (
        Series(CHOSEN, points(lambda step: 100 * step["metric"])),
        Series(LegendEntry("line", "second", best_text), _best_so_far(steps)),
    )
    if has_latency:
        costs = (Series(CHOSEN, points(lambda step: step["p50_ms"])),)
        limits_ms = [content.budget.limit_ms] if content.budget else []
        cost_plot = plot("Predicted latency, ms", costs, *limits_ms)
        rules = [
            cost_plot.horizontal(limit, f"budget {milliseconds(limit)}", "budget")
            for limit in limits_ms
        ]
    else:
        costs = (Series(CHOSEN, points(lambda step: step["macs"] / 1e6)),)
        cost_plot, rules = plot("MACs, millions", costs), []
    return (
        panel(plot("Score", scores), scores)
        + panel(plot("Proxy accuracy, %", accuracies), accuracies)
        + panel(cost_plot, costs, *rules)
    )


def describe(candidate: Record) -> str:
    """A candidate, or a step's choice, in a few lines."""
    lines = [candidate["genotype"], f"proxy accuracy {percent(candidate['metric'])}"]
    if candidate["p50_ms"] is not None:
        worst_ms = candidate.get("p95_ms")
        bound = f", {milliseconds(worst_ms)} at 95%" if worst_ms else ""
        lines.append(f"predicted {milliseconds(candidate['p50_ms'])}{bound}")
    lines.append(f"{count(candidate['macs'])} MACs")
    if "edges" in candidate:
        lines.append(f"{candidate['edges']} edges, best of {candidate['candidates']}")
    return "\n".join(lines)


def _cost(content: Content) -> Cost:
    if not content.has_latency:
        return Cost("MACs, millions", lambda one: one["macs"] / 1e6)
    if content.budget is None:
        return Cost("Predicted latency, ms", lambda one: one["p50_ms"])
    return Cost(
        f"Predicted latency at {content.budget.confidence:.0%} confidence, ms", content.limited_ms
    )


def _groups(content: Content, floor: float) -> Sequence[tuple[LegendEntry, list[Record]]]:
    """The candidates by what is said of them; what comes later is drawn over the others."""
    admitted = "within the budget" if content.budget else "trained"
    scaled = [one for one in content.candidates if one["metric"] >= floor]
    return (
        (
            LegendEntry("cross", "rejected", "over the budget"),
            [one for one in scaled if not content.admits(one)],
        ),
        (
            LegendEntry("dot", "admitted", admitted),
            [one for one in scaled if content.admits(one)],
        ),
        (
            LegendEntry("below", "weak", "too weak for the scale"),
            [one for one in content.candidates if one["metric"] < floor],
        ),
        (LegendEntry("star", "best", "the answer"), [content.best] if content.best else []),
    )


def _walk(content: Content) -> list[Record]:
    """The candidates that the walk chose; a step itself does not hold all of their costs."""
    known = {one["genotype"]: one for one in content.candidates}
    steps = content.search["trajectory"] if content.search else []
    return [known[step["genotype"]] for step in steps if step["genotype"] in known]


def _best_so_far(steps: Sequence[Record]) -> list[Point]:
    """The best accuracy among the steps within the budget, from the first of these on."""
    points: list[Point] = []
    best = 0.0
    for step in steps:
        if step["within_budget"]:
            best = max(best, 100 * step["metric"])
        if best:
            points.append(Point(step["edges"], best, f"{best:.2f}%"))
    return points


def _floor(accuracies: Sequence[float]) -> float:
    low, high = np.percentile(accuracies, (25, 75))
    return float(low - OUTLIER_FENCE * (high - low))
