"""Numbers as people read them: few digits, a prefix, the unit after a space that never breaks."""

from __future__ import annotations

import math

SPACE = "\u00a0"
MISSING = "–"  # noqa: RUF001 - a dash, as in any table
SIGNIFICANT_DIGITS = 3


def plain(value: float) -> str:
    """Three significant digits without an exponent: ``0.312``, ``31.2``, ``1,234``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def between(low: float, high: float) -> str:
    """Both ends of an interval, with the digits that tell them apart: ``0.1356 to 0.1358``."""
    if low == high:
        return f"{plain(low)} to {plain(high)}"
    decimals = max(0, 1 - math.floor(math.log10(abs(high - low))))
    return f"{low:,.{decimals}f} to {high:,.{decimals}f}"


def milliseconds(value_ms: float | None) -> str:
    """A duration such as ``0.312 ms``."""
    return MISSING if value_ms is None else f"{plain(value_ms)}{SPACE}ms"


def count(value: float | None) -> str:
    """A large number with a prefix: ``3.60 M``, ``383.7 M``, ``412.0 k``; small ones in full."""
    if value is None:
        return MISSING
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            scaled = value / limit
            return f"{scaled:.{2 if abs(scaled) < 10 else 1}f}{SPACE}{prefix}"
    return f"{value:g}"


def size(value_bytes: float | None) -> str:
    """A size of a file or of memory: ``145.2 kB``, a kilobyte being 1,000 bytes."""
    if value_bytes is None:
        return MISSING
    text = count(value_bytes)
    return f"{text}B" if SPACE in text else f"{text}{SPACE}bytes"


def percent(share: float | None) -> str:
    """A share in [0, 1] as ``87.35%``."""
    return MISSING if share is None else f"{share:.2%}"


def change(share: float | None) -> str:
    """A relative difference with its sign: ``+1.4%``."""
    return MISSING if share is None else f"{share:+.1%}"


def duration(value_s: float) -> str:
    """A time in the units that a person would take: ``42 s``, ``12 min``, ``3.4 h``."""
    if value_s < 100:
        return f"{value_s:.0f}{SPACE}s"
    if value_s < 6000:
        return f"{value_s / 60:.0f}{SPACE}min"
    return f"{value_s / 3600:.1f}{SPACE}h"
