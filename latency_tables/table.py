"""A latency table: kernel -> how long it takes, all on one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from heapq import nsmallest
from typing import Any

from latency_tables.calibrate import Calibration
from latency_tables.errors import KernelMissing
from latency_tables.evidence import Evidence
from latency_tables.kernel import Kernel, distance
from latency_tables.target import Target

MEASURED = "measured"
"""Origin of a row of the target itself."""


@dataclass(frozen=True, kw_only=True)
class KernelLatency:
    """What was measured of one kernel.

    Attributes:
        median_ms: median over the contexts (probe networks and sessions) it was measured in.
        iqr_ms: interquartile range over contexts.
        p95_ms: 95th percentile over contexts.
        samples: number of single timings behind the row.
        contexts: number of contexts; a context's value is the midmean of its timings.
        origin: ``measured`` on the table's target; else where the figures are carried over from,
            in words, and how.
    """

    median_ms: float
    iqr_ms: float
    p95_ms: float
    samples: int
    contexts: int
    origin: str = MEASURED

    @property
    def is_measured(self) -> bool:
        """Whether the row was measured on the table's own target."""
        return self.origin == MEASURED


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Latencies of kernels on one target, and the calibration that turns them into networks'.

    Attributes:
        target: where everything in the table was measured.
        rows: one latency for each kernel.
        settings: how it was measured (runs, sessions, space, seed ...), for the record.
        calibration: fitted end-to-end model, or None for a table of kernels only.
        evidence: networks measured end to end, which correct the rows; None where there are none.
    """

    target: Target
    rows: Mapping[Kernel, KernelLatency]
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    calibration: Calibration | None = None
    evidence: Evidence | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self.rows)

    def __contains__(self, kernel: object) -> bool:
        return kernel in self.rows

    def __getitem__(self, kernel: Kernel) -> KernelLatency:
        """The row of a kernel.

        Raises:
            KernelMissing: there is no such row; nothing is ever guessed.
        """
        try:
            return self.rows[kernel]
        except KeyError:
            raise self._missing((kernel,)) from None

    def summary(self) -> str:
        """Target, kernels and calibration in three lines."""
        kinds = Counter(kernel.kind for kernel in self.rows)
        lines = [
            f"{len(self)} kernels on {self.target}",
            "  " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        ]
        fit = self.calibration
        if fit:
            lines.append(
                f"  calibrated on {fit.networks} networks; each predicted without itself: median "
                f"error {fit.median_error:.1%}, worst {fit.worst_error:.1%}"
            )
        carried = Counter(row.origin for row in self.rows.values() if not row.is_measured)
        lines += [f"  {count} kernels {origin}" for origin, count in sorted(carried.items())]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows."""
        return {
            "target": self.target.to_json(),
            "settings": dict(self.settings),
            "kernels": len(self),
            "kinds": dict(Counter(kernel.kind for kernel in self.rows)),
            "origins": dict(Counter(row.origin for row in self.rows.values())),
            "calibration": asdict(self.calibration) if self.calibration else None,
        }

    def require(self, kernels: Iterable[Kernel]) -> None:
        """Check that every kernel has a row.

        Raises:
            KernelMissing: names the first without one, and the nearest rows.
        """
        missing = tuple(kernel for kernel in dict.fromkeys(kernels) if kernel not in self.rows)
        if missing:
            raise self._missing(missing)

    def _missing(self, kernels: tuple[Kernel, ...]) -> KernelMissing:
        near = nsmallest(3, self.rows, key=lambda row: distance(row, kernels[0]))
        return KernelMissing(
            tuple(kernel.key for kernel in kernels),
            tuple(kernel.key for kernel in near),
            str(self.target),
        )
