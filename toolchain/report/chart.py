"""Small charts as SVG: axes, points, lines, limits.

A chart is as wide as the page lets it be, and its text keeps its size: positions are percentages
of the plot's area, symbols and letters are pixels, the axes' labels hang out over the edge into
margins that the style sheet leaves. So one drawing serves a phone and a desk. Colours are CSS
classes, which the style sheet sets for light and dark.

Everything is put together with ``Markup.format``, which escapes what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

TICKS = 5
"""Most intervals between ticks; as many as stand side by side on a phone."""

SYMBOLS = {
    "dot": Markup('<circle r="4"/>'),
    "cross": Markup('<path d="M-3.5-3.5 3.5 3.5M-3.5 3.5 3.5-3.5"/>'),
    "below": Markup('<path d="M-4.5-4H4.5L0 4Z"/>'),
    "star": Markup(
        '<path d="M0-8.5 2.2-2.9 8.1-2.6 3.5 1.1 5 6.9 0 3.6-5 6.9-3.5 1.1-8.1-2.6-2.2-2.9Z"/>'
    ),
    "line": Markup('<path d="M-7 0H7" fill="none"/>'),
}
"""Shapes around the origin, in pixels: what tells series apart besides their colour."""


class Tick(NamedTuple):
    """A place on an axis that is named."""

    value: float
    text: str


class Point(NamedTuple):
    """A point with what is shown when one rests on it; not drawn where it is not finite."""

    x: float
    y: float
    note: str = ""


class Series(NamedTuple):
    """Points that are told apart from others.

    Attributes:
        text: what they are, for the legend.
        style: their CSS class.
        symbol: name of their shape; ``line`` for none.
        points: in order.
        is_joined: whether a line leads from each to the next.
    """

    text: str
    style: str
    symbol: str
    points: Sequence[Point]
    is_joined: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear axis.

    Attributes:
        label: quantity and unit.
        low: value at the left or at the bottom; at the right or the top when reversed.
        high: value at the other end, more than ``low``.
        ticks: values that are named, each with a grid line.
        is_reversed: whether values fall to the right or to the top.
    """

    label: str
    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_reversed: bool = False

    def place(self, value: float) -> float:
        """Where a value is, in percent of the axis from its start; values beyond stop there."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return 100 * (1 - share if self.is_reversed else share)


def make_axis(
    label: str, values: Iterable[float], *, is_reversed: bool = False, is_whole: bool = False
) -> Axis:
    """An axis over the finite values among those given, from tick to tick.

    Args:
        label: quantity and unit.
        values: what must be on it; one value, or none, gives an axis too.
        is_reversed: whether values fall to the right.
        is_whole: whether ticks stand on whole numbers only.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 1.0 if is_whole or high == 0 else abs(high) / 10
        low, high = low - margin, high + margin
    step = tick_step((high - low) / TICKS)
    if is_whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple(
        Tick(index * step, f"{index * step:,.{decimals}f}") for index in range(first, last + 1)
    )
    return Axis(
        label=label,
        low=ticks[0].value,
        high=ticks[-1].value,
        ticks=ticks,
        is_reversed=is_reversed,
    )


def tick_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 ... and their decimal parts that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Series between two axes.

    Attributes:
        title: what the chart shows, for those who hear it.
        x: the horizontal axis.
        y: the vertical axis.
        series: what comes later is drawn over the others.
        x_limits: values of x with a line across the chart, named at its top.
        y_limits: values of y likewise, named at the right.
        height: of the area between the axes, in pixels.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    x_limits: Sequence[Tick] = ()
    y_limits: Sequence[Tick] = ()
    height: int = 300

    def svg(self) -> Markup:
        """The drawing."""
        marks = [
            self._x_axis(),
            self._y_axis(),
            *map(self._x_limit, self.x_limits),
            *map(self._y_limit, self.y_limits),
        ]
        for one in self.series:
            points = [point for point in one.points if math.isfinite(point.x + point.y)]
            if one.is_joined:
                marks.append(self._line(points, one.style))
            if one.symbol != "line":
                marks.append(self._points(points, one.style, one.symbol))
        return Markup('<svg class="chart" height="{}" role="img" aria-label="{}">{}</svg>').format(
            self.height, self.title, Markup().join(marks)
        )

    def with_legend(self) -> Markup:
        """The drawing under a list of what its series are."""
        items = (
            Markup(
                '<li><svg class="swatch" viewBox="-9 -9 18 18" aria-hidden="true">'
                '<g class="{} {}">{}</g></svg>{}</li>'
            ).format(
                "line" if one.symbol == "line" else "points",
                one.style,
                SYMBOLS[one.symbol],
                one.text,
            )
            for one in self.series
        )
        return Markup('<div class="panel"><ul class="legend">{}</ul>{}</div>').format(
            Markup().join(items), self.svg()
        )

    def _points(self, points: Sequence[Point], style: str, symbol: str) -> Markup:
        marks = (
            Markup('<svg x="{:.2f}%" y="{:.2f}%">{}<title>{}</title></svg>').format(
                self.x.place(point.x), self._down(point.y), SYMBOLS[symbol], point.note
            )
            for point in points
        )
        return Markup('<g class="points {}">{}</g>').format(style, Markup().join(marks))

    def _line(self, points: Sequence[Point], style: str) -> Markup:
        corners = " ".join(
            f"{self.x.place(point.x):.2f},{self._down(point.y):.2f}" for point in points
        )
        return Markup(
            '<svg viewBox="0 0 100 100" preserveAspectRatio="none">'
            '<polyline class="line {}" points="{}"/></svg>'
        ).format(style, corners)

    def _x_limit(self, limit: Tick) -> Markup:
        left = self.x.place(limit.value)
        anchor, shift = ("end", -5) if left > 50 else ("start", 5)
        return Markup(
            '<g class="limit"><line x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>'
            '<text x="{0:.2f}%" y="0" dx="{1}" dy="12" text-anchor="{2}">{3}</text></g>'
        ).format(left, shift, anchor, limit.text)

    def _y_limit(self, limit: Tick) -> Markup:
        top = self._down(limit.value)
        return Markup(
            '<g class="limit"><line x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>'
            '<text x="100%" y="{0:.2f}%" dy="{1}" text-anchor="end">{2}</text></g>'
        ).format(top, 14 if top < 12 else -5, limit.text)

    def _down(self, value: float) -> float:
        return 100 - self.y.place(value)

    def _x_axis(self) -> Markup:
        ticks = (
            Markup(
                '<line x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>'
                '<text x="{0:.2f}%" y="100%" dy="17" text-anchor="middle">{1}</text>'
            ).format(self.x.place(tick.value), tick.text)
            for tick in self.x.ticks
        )
        return Markup(
            '<g class="axis">{}<text class="label" x="50%" y="100%" dy="35" '
            'text-anchor="middle">{}</text></g>'
        ).format(Markup().join(ticks), self.x.label)

    def _y_axis(self) -> Markup:
        ticks = (
            Markup(
                '<line x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>'
                '<text x="0" y="{0:.2f}%" dx="-8" dy="4" text-anchor="end">{1}</text>'
            ).format(self._down(tick.value), tick.text)
            for tick in self.y.ticks
        )
        return Markup(
            '<g class="axis">{}<text class="label" x="0" y="0" dx="-44" dy="-14">{}</text></g>'
        ).format(Markup().join(ticks), self.y.label)
