"""Merge two tables of one target: the rows of both, without a calibration.

A kernel that both have keeps one row, the more certain one: that of more contexts, for a median's
variance falls with their number; of as many, the one whose contexts agree better; else the first
table's. Rows are not averaged: a row's quantiles are of the contexts that it was measured in, and
those of two rows together cannot be had from the rows alone. Tables do not tell when they were
taken, so that the newer row cannot be preferred.

Two profiles of one device in different states (hot and cold, say) must not meet in one table: if
the kernels in both differ too much on the whole, they are not merged.

A calibration is fitted to one table's rows. It holds for no other rows, so that a merged table has
none until it is fitted again, on the networks of both profiles.
"""

from __future__ import annotations

from collections.abc import Mapping

from latency_tables.errors import TablesDisagree
from latency_tables.foreign import require_own
from latency_tables.table import KernelLatency, LatencyTable

AGREEMENT = 0.05
"""Change of the sum of the shared kernels, as a fraction, beyond which tables do not merge."""

_WORST = ("disturbed", "drift")
"""Settings of which the larger value is the merged table's."""


def merge_tables(first: LatencyTable, second: LatencyTable) -> LatencyTable:
    """The rows of both tables, uncalibrated.

    Raises:
        TargetMismatch: they are of different targets; names every field that differs.
        TableForeign: one was imported from another tool.
        TablesDisagree: the sums of their shared kernels differ by more than 5%.
    """
    for table in (first, second):
        require_own(table, "merged")
    first.target.require_same(second.target)
    _require_agreement(first, second)
    rows = dict(first.rows)
    for kernel, row in second.rows.items():
        rows[kernel] = _more_certain(rows[kernel], row) if kernel in rows else row
    return LatencyTable(
        target=first.target, rows=rows, settings=_settings(first.settings, second.settings)
    )


def _require_agreement(first: LatencyTable, second: LatencyTable) -> None:
    """Compare the sums of the shared kernels, so that short ones count for what they are."""
    shared = [kernel for kernel in first if kernel in second]
    before_ms, after_ms = (
        sum(one[kernel].median_ms for kernel in shared) for one in (first, second)
    )
    if max(before_ms, after_ms) > (1 + AGREEMENT) * min(before_ms, after_ms):
        raise TablesDisagree(
            f"the {len(shared)} kernels in both tables take {before_ms:.3f} ms together in the "
            f"first, {after_ms:.3f} ms in the second, more than {AGREEMENT:.0%} apart: the device "
            "was in another state. See which table holds, with: pocketnas tables verify, and "
            "profile the other again"
        )


def _more_certain(first: KernelLatency, second: KernelLatency) -> KernelLatency:
    if first.contexts != second.contexts:
        return max(first, second, key=lambda row: row.contexts)
    return second if second.iqr_ms < first.iqr_ms else first


def _settings(
    first: Mapping[str, str | int | float], second: Mapping[str, str | int | float]
) -> dict[str, str | int | float]:
    """What is equal as it is; of noise the worse; of all else both, a line each."""
    merged: dict[str, str | int | float] = {}
    for name in sorted(first.keys() | second.keys()):
        values = [one[name] for one in (first, second) if name in one]
        if values[0] == values[-1]:
            merged[name] = values[0]
        elif name in _WORST:
            merged[name] = max(values)
        else:
            merged[name] = "\n".join(map(str, values))
    return merged
