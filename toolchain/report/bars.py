"""Horizontal bars as SVG: rows of text with one bar for each series under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

BAR_HEIGHT = 7
BAR_PITCH = 9
LABEL_HEIGHT = 17
ROW_GAP = 10


class BarRow(NamedTuple):
    """Bars that belong together, one for each series, under a line of text."""

    label: str
    value_text: str
    note: str
    values: tuple[float, ...]


def bars(title: str, rows: Sequence[BarRow], series: Sequence[str]) -> Markup:
    """Horizontal bars from 0, all on one scale; label and values stand over them.

    Args:
        title: what the chart shows.
        rows: from top to bottom.
        series: CSS class of each of a row's values.
    """
    longest = max((value for row in rows for value in row.values), default=0) or 1
    row_height = LABEL_HEIGHT + BAR_PITCH * len(series) + ROW_GAP
    drawn = (_bar_row(row, index * row_height, series, longest) for index, row in enumerate(rows))
    return Markup('<svg class="bars" height="{}" role="img" aria-label="{}">{}</svg>').format(
        row_height * len(rows), title, Markup().join(drawn)
    )


def _bar_row(row: BarRow, top: int, series: Sequence[str], longest: float) -> Markup:
    rects = (
        Markup('<rect class="bar {}" x="0" y="{}" width="{:.2f}%" height="{}" rx="1.5"/>').format(
            name, top + LABEL_HEIGHT + BAR_PITCH * place, 100 * max(value, 0) / longest, BAR_HEIGHT
        )
        for place, (name, value) in enumerate(zip(series, row.values, strict=True))
    )
    return Markup(
        '<g><title>{}</title><text x="0" y="{}">{}</text>'
        '<text class="value" x="100%" y="{}" text-anchor="end">{}</text>{}</g>'
    ).format(row.note, top + 12, row.label, top + 12, row.value_text, Markup().join(rects))
