"""What changed between two tables: by kernel family, and the kernels that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from heapq import nlargest
from typing import Any

import numpy as np

from latency_tables.kernel import Kernel
from latency_tables.table import LatencyTable


@dataclass(frozen=True, kw_only=True)
class FamilyDifference:
    """What changed among the kernels of one kind.

    Attributes:
        kind: of the kernels; ``all`` for every kind together.
        shared: kernels that both tables have.
        only_before: kernels that the second table lacks.
        only_after: kernels that the first table lacks.
        ratio: median over shared kernels of the second latency over the first; None without any.
            Kernels that read 0 ms in a table, shorter than its clock's tick, have no ratio.
        ratio_low: 25th percentile of the same.
        ratio_high: 75th percentile.
    """

    kind: str
    shared: int
    only_before: int
    only_after: int
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None

    def __str__(self) -> str:
        counts = f"{self.kind:<20}{self.shared:>7}{self.only_before:>7}{self.only_after:>7}"
        if self.ratio is None:
            return f"{counts}      -"
        return f"{counts}  {self.ratio:.3f}  {self.ratio_low:.3f} to {self.ratio_high:.3f}"


@dataclass(frozen=True, kw_only=True)
class KernelChange:
    """One kernel in both tables.

    Attributes:
        kernel: which one.
        before_ms: its latency in the first table.
        after_ms: its latency in the second.
    """

    kernel: Kernel
    before_ms: float
    after_ms: float

    def __str__(self) -> str:
        return f"{self.before_ms:.4f} -> {self.after_ms:.4f} ms  {self.kernel}"


@dataclass(frozen=True, kw_only=True)
class TableDifference:
    """What changed from one table to another.

    Attributes:
        targets: fields of the target that differ, in words; empty for the same target.
        total: every kind together.
        families: by kind, in the order of the alphabet.
        largest: the changes of most milliseconds, largest first.
    """

    targets: tuple[str, ...]
    total: FamilyDifference
    families: tuple[FamilyDifference, ...]
    largest: tuple[KernelChange, ...]

    def summary(self) -> str:
        """A table of the families, what differs in the target, the largest changes."""
        lines = [f"other target: {field}" for field in self.targets] or ["same target"]
        lines.append(f"{'kind':<20} shared  first second  ratio  quartiles")
        lines += [str(family) for family in (*self.families, self.total)]
        if self.largest:
            lines += ["largest changes:", *(f"  {change}" for change in self.largest)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        changes = [{**asdict(one), "kernel": one.kernel.key} for one in self.largest]
        return {
            "targets": list(self.targets),
            "total": asdict(self.total),
            "families": [asdict(family) for family in self.families],
            "largest": changes,
        }


def compare_tables(
    before: LatencyTable, after: LatencyTable, *, largest: int = 10
) -> TableDifference:
    """What changed from one table to another, of the same target or not.

    Args:
        before: the first table.
        after: the second.
        largest: how many of the largest changes to name.
    """
    kernels = list(dict.fromkeys([*before, *after]))
    kinds = sorted({kernel.kind for kernel in kernels})
    changes = [
        KernelChange(
            kernel=kernel,
            before_ms=before[kernel].median_ms,
            after_ms=after[kernel].median_ms,
        )
        for kernel in before
        if kernel in after
    ]
    changed = [change for change in changes if change.before_ms != change.after_ms]
    return TableDifference(
        targets=before.target.differences(after.target),
        total=_family("all", kernels, before, after),
        families=tuple(
            _family(kind, [one for one in kernels if one.kind == kind], before, after)
            for kind in kinds
        ),
        largest=tuple(
            nlargest(largest, changed, key=lambda one: abs(one.after_ms - one.before_ms))
        ),
    )


def _family(
    kind: str, kernels: Sequence[Kernel], before: LatencyTable, after: LatencyTable
) -> FamilyDifference:
    shared = [kernel for kernel in kernels if kernel in before and kernel in after]
    latencies = [(before[kernel].median_ms, after[kernel].median_ms) for kernel in shared]
    ratios = [second / first for first, second in latencies if min(first, second) > 0]
    low, middle, high = np.percentile(ratios, (25, 50, 75)) if ratios else (None, None, None)
    return FamilyDifference(
        kind=kind,
        shared=len(shared),
        only_before=sum(kernel not in after for kernel in kernels),
        only_after=sum(kernel not in before for kernel in kernels),
        ratio=None if middle is None else float(middle),
        ratio_low=None if low is None else float(low),
        ratio_high=None if high is None else float(high),
    )
