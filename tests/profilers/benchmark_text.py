"""Writes statistics and tables as the families of benchmark_model write them."""

from __future__ import annotations

from collections.abc import Sequence

from profilers.operator_rows import OperatorRow
from profilers.run_statistics import RunStatistics

FAMILIES = ("v0", "v1", "v2", "v3", "v4", "v5")
RUNS = 40
"""Inferences that a table of v5, which tells the calls of all, is written for."""

# Kind, start, first, average, two percentages, KB, calls; each after a tab.
_WIDTHS = {
    "v0": (24, 9, 9, 9, 8, 8, 10, 9),
    "v1": (24, 17, 9, 9, 8, 8, 10, 9),
    "v2": (24, 17, 9, 9, 8, 8, 10, 9),
    "v3": (40, 9, 9, 8, 8, 10, 9),
    "v4": (40, 9, 9, 8, 8, 10, 9),
}
_TITLES = (
    "[node type]",
    "[start]",
    "[first]",
    "[avg ms]",
    "[%]",
    "[cdf%]",
    "[mem KB]",
    "[times called]",
)


def statistics_line(statistics: RunStatistics) -> str:
    """The line of one phase; percentiles where they are given."""

    def us(ms: float | None) -> str:
        assert ms is not None
        return f"{ms * 1000:.0f}"

    if statistics.count == 1:
        line = f"count=1 curr={us(statistics.mean_ms)}"
    else:
        line = (
            f"count={statistics.count} first={us(statistics.first_ms)} "
            f"curr={us(statistics.min_ms)} min={us(statistics.min_ms)} "
            f"max={us(statistics.max_ms)} avg={statistics.mean_ms * 1000:g} "
            f"std={us(statistics.std_ms)}"
        )
    if statistics.median_ms is not None:
        line += (
            f" p5={us(statistics.p5_ms)} median={us(statistics.median_ms)} "
            f"p95={us(statistics.p95_ms)}"
        )
    return line


def table(
    family: str, rows: Sequence[OperatorRow], title: str = "Run Order", *, total_ms: float = 0.0
) -> str:
    """One table with its banner."""
    total_ms = total_ms or sum(row.ms for row in rows) or 1.0
    bars = "=" * (69 if family == "v5" else 30)
    lines = [f"{bars} {title} {bars}", _line(family, _TITLES, "[Name]")]
    before_ms = sum_ms = 0.0
    for row in rows:
        sum_ms += row.ms
        times = (before_ms, row.mean_ms * 1.02, row.mean_ms)
        shares = (f"{100 * ms / total_ms:.3f}%" for ms in (row.ms, sum_ms))
        calls = row.calls * RUNS if family == "v5" else row.calls
        kind = f"Delegate/{row.kind}" if family == "v5" and row.is_delegated else row.kind
        columns = (kind, *(f"{ms:.3f}" for ms in times), *shares, "0.000", f"{calls:.0f}")
        lines.append(_line(family, columns, row.name))
        before_ms = sum_ms
    return "\n".join(lines) + "\n\n"


def _line(family: str, columns: Sequence[str], name: str) -> str:
    if family == "v5":
        widths = (60, 11, 11, 11, 11, 11, 11, 15)
        return "".join(map(str.rjust, columns, widths)) + f"   {name}"
    if family in ("v3", "v4"):
        columns = (columns[0], *columns[2:])
    fields = map(str.rjust, columns, _WIDTHS[family])
    return "".join(f"\t{field}" for field in fields) + f"\t{name}"


def csv_table(rows: Sequence[OperatorRow], *, start: bool, mark: str) -> str:
    """A table of a CSV file; old builds write a start column and spaces after commas."""
    head = ["node type", *(["start"] if start else []), "first", "avg_ms", "%", "cdf%", "mem KB"]
    lines = [f"{'=' * 30} Run Order {'=' * 30}", mark.join([*head, "times called", "name"])]
    for row in rows:
        mean = f"{row.mean_ms:.6g}"
        columns = [row.kind, *(["1.5"] if start else []), mean, mean, "3.25%", "7e-05%", "0"]
        name = row.name if start else row.name.replace(",", "\t")
        lines.append(mark.join([*columns, f"{row.calls:.0f}", name]))
    return "\n".join(lines) + "\n\n"
