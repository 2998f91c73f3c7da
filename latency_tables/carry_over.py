"""A new device's table from another device's and a few minutes of measuring.

Kernels measured on both devices tell how much faster or slower the new one is, kernel family by
kernel family. Rows that only the other device's table has are multiplied by that factor and marked
as carried over; rows that were measured stay as they were measured. Networks measured end to end
on the new device then correct both (`posterior.py`), the carried rows more than the measured ones.

Factors are shrunk: a family of which few kernels were measured leans on all kernels together, by
as much as its kernels disagree among each other against how much families do (a random-effects
model: Efron and Morris, J. Amer. Stat. Assoc. 70(350), 1975).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from latency_tables.errors import NothingShared
from latency_tables.kernel import Kernel
from latency_tables.posterior import SD_OF_IQR
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

MIN_SHARED = 8
"""Fewer kernels measured on both devices tell no factor."""

LEAST_MS = 0.001
"""Shorter rows tell no ratio: the runtime's clock ticks in microseconds."""

LEAST_SPREAD = 0.02
"""Standard deviation that a family's logarithms of ratios have at least."""


@dataclass(frozen=True, kw_only=True)
class FamilyFactor:
    """How a family of kernels runs on the new device against the other.

    Attributes:
        factor: new over other latency.
        spread: relative standard deviation of a single kernel's ratio around it.
        shared: kernels behind it that were measured on both.
    """

    factor: float
    spread: float
    shared: int


def carry_over(
    other: LatencyTable, measured: Mapping[Kernel, KernelLatency], target: Target
) -> LatencyTable:
    """The new device's table, uncalibrated: rows measured on it, and for the rest carried ones.

    Args:
        other: table of another device; of the same precision, or no kernel is in both.
        measured: rows of the new device.
        target: the new device.

    Raises:
        NothingShared: too few kernels were measured on both devices.
    """
    whole, families = family_factors(other, measured)
    rows = dict(measured)
    for kernel, row in other.rows.items():
        if kernel not in rows:
            rows[kernel] = _carried(kernel, row, families.get(kernel.kind, whole), other.target)
    return LatencyTable(target=target, rows=rows)


def family_factors(
    other: LatencyTable, measured: Mapping[Kernel, KernelLatency]
) -> tuple[FamilyFactor, dict[str, FamilyFactor]]:
    """The factor of all kernels, for families of which none was measured, and each family's.

    Raises:
        NothingShared: too few kernels were measured on both devices.
    """
    logs: dict[str, list[float]] = defaultdict(list)
    for kernel, row in measured.items():
        known = other.rows.get(kernel)
        if known is not None and min(known.median_ms, row.median_ms) >= LEAST_MS:
            logs[kernel.kind].append(math.log(row.median_ms / known.median_ms))
    count = sum(map(len, logs.values()))
    if count < MIN_SHARED:
        raise NothingShared(
            f"of the {len(measured)} kernels measured on the new device the table of "
            f"{other.target} has {count}, and {MIN_SHARED} are needed; take a table of the same "
            "space and precision, or profile the new device in full"
        )
    means = {kind: float(np.mean(values)) for kind, values in logs.items()}
    center = float(np.median([log for values in logs.values() for log in values]))
    squares = sum((log - means[kind]) ** 2 for kind, values in logs.items() for log in values)
    within = max(squares / max(1, count - len(logs)), LEAST_SPREAD**2)
    noise = float(np.mean([within / len(values) for values in logs.values()]))
    between = max(float(np.mean([(mean - center) ** 2 for mean in means.values()])) - noise, 0.0)
    families = {}
    for kind, values in logs.items():
        own = between / (between + within / len(values))
        mean = own * means[kind] + (1 - own) * center
        families[kind] = FamilyFactor(
            factor=math.exp(mean), spread=math.sqrt(within), shared=len(values)
        )
    spread = math.sqrt(within + between)
    return FamilyFactor(factor=math.exp(center), spread=spread, shared=count), families


def _carried(
    kernel: Kernel, row: KernelLatency, family: FamilyFactor, target: Target
) -> KernelLatency:
    """A row times its family's factor; its spread tells how little is known of it."""
    median_ms = family.factor * row.median_ms
    return replace(
        row,
        median_ms=median_ms,
        iqr_ms=SD_OF_IQR * family.spread * median_ms,
        p95_ms=median_ms * math.exp(1.645 * family.spread),
        samples=0,
        contexts=1,
        origin=(
            f"carried over from {target.device} ({target.threads} thread(s)), {kernel.kind} by "
            f"{family.factor:.3f}"
        ),
    )
