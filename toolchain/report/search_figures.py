"""The report's charts of a search: every network trained, and the walk to the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from toolchain.report.chart import Chart, Point, Series, Tick, make_axis
from toolchain.report.content import Content, Record
from toolchain.report.quantity import count, milliseconds

OUTLIER_FENCE = 3.0
"""Interquartile ranges below the lower quartile where one score would flatten all others."""


class Cost(NamedTuple):
    """What the networks are set against.

    Attributes:
        label: quantity and unit.
        of: reads it from a candidate.
        limits: what the budget allows; empty without one.
    """

    label: str
    of: Callable[[Record], float]
    limits: tuple[Tick, ...] = ()


def candidates_figure(content: Content) -> Markup:
    """The metric against predicted latency, or against MACs, of every network judged."""
    cost = _cost(content)
    floor = _floor([one["metric"] for one in content.candidates])
    scaled = [one for one in content.candidates if one["metric"] >= floor]
    weak = [one for one in content.candidates if one["metric"] < floor]
    admitted = [one for one in scaled if content.admits(one)]
    rejected = [one for one in scaled if not content.admits(one)]

    def series(text: str, style: str, symbol: str, members: Iterable[Record]) -> Series:
        points = [
            Point(cost.of(one), _drawn(one, content), describe(one, content)) for one in members
        ]
        return Series(text, style, symbol, points, is_joined=symbol == "line")

    best = [content.best] if content.best else []
    judged = "scored" if content.shares_weights else "trained"
    drawn = [
        series("the walk", "walk", "line", content.walk),
        series("over the budget", "second", "cross", rejected),
        series("within the budget" if content.budget else judged, "first", "dot", admitted),
        series("too weak for the scale", "weak", "below", weak),
        series("the answer", "best", "star", best),
    ]
    costs = [*map(cost.of, content.candidates), *(limit.value for limit in cost.limits)]
    return Chart(
        title=f"{content.kind.metric.title} against cost of the networks {judged}",
        x=make_axis(cost.label, costs),
        y=make_axis(_label(content), [_drawn(one, content) for one in scaled]),
        series=[one for one in drawn if one.points],
        x_limits=cost.limits,
        height=340,
    ).with_legend()


def trajectory_figure(content: Content) -> Markup:
    """Score, metric and cost of each step of the walk.

    Against the edges left where edges are dropped one by one, else against networks trained.
    """
    assert content.best is not None, "a walk has an answer"
    steps, cost = content.walk, _cost(content)
    is_reversed = content.is_walk_of_removals
    place, label = ("edges", "Edges left") if is_reversed else ("trained", "Networks trained")
    x = make_axis(label, [s[place] for s in steps], is_reversed=is_reversed, is_whole=True)

    def points(value: Callable[[Record], float], among: Iterable[Record] = steps) -> list[Point]:
        return [Point(step[place], value(step), describe(step, content)) for step in among]

    def drawn(
        label: str, value: Callable[[Record], float], *more: Series, limits: Sequence[Tick] = ()
    ) -> Markup:
        text = "network chosen" if content.is_walk_of_removals else "best chain"
        chosen = Series(text, "first", "dot", points(value), True)
        series = [chosen, *(one for one in more if one.points)]
        values = [point.y for one in series for point in one.points]
        y = make_axis(label, [*values, *(limit.value for limit in limits)])
        title = f"{label} along the walk"
        return Chart(title=title, x=x, y=y, series=series, y_limits=limits).with_legend()

    def metric(step: Record) -> float:
        return _drawn(step, content)

    means = points(lambda step: step["mean_score"])
    mean = Series("mean of the step", "second", "line", means, True)
    answers = [step for step in steps if step["genotype"] == content.best["genotype"]]
    answer = Series("the answer", "best", "star", points(metric, answers))
    return (
        drawn("Score", lambda step: step["score"], mean)
        + drawn(_label(content), metric, answer)
        + drawn(cost.label, cost.of, limits=cost.limits)
    )


def describe(candidate: Record, content: Content) -> str:
    """A candidate, or a step's choice, in a few lines."""
    metric = content.kind.metric
    value = metric.text(metric.value(candidate["metric"]))
    lines = [candidate["genotype"], f"{content.judged_by.lower()} {metric.name} {value}"]
    if candidate["p50_ms"] is not None:
        p95 = milliseconds(candidate["p95_ms"])
        lines.append(f"predicted {milliseconds(candidate['p50_ms'])}, {p95} at 95%")
    lines.append(f"{count(candidate['macs'])} MACs")
    if "edges" in candidate:
        step = f"at a step of {candidate['candidates']}"
        lines.append(f"{candidate['edges']} edges, {step}, {candidate['trained']} trained by then")
    return "\n".join(lines)


def _drawn(candidate: Record, content: Content) -> float:
    metric = content.kind.metric
    return metric.drawn(metric.value(float(candidate["metric"])))


def _label(content: Content) -> str:
    return f"{content.judged_by} {content.kind.metric.label}"


def _cost(content: Content) -> Cost:
    if not content.has_latency:
        return Cost("MACs, millions", lambda one: one["macs"] / 1e6)
    if content.budget is None:
        return Cost("Predicted latency, ms", lambda one: one["p50_ms"])
    label = f"Latency at {content.budget.confidence:.0%} confidence, ms"
    limit_ms = content.budget.limit_ms
    return Cost(label, content.limited_ms, (Tick(limit_ms, f"budget {milliseconds(limit_ms)}"),))


def _floor(scores: Sequence[float]) -> float:
    low, high = np.percentile(scores, (25, 75))
    return float(low - OUTLIER_FENCE * (high - low))
