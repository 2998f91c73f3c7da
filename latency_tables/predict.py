"""The latency of any TFLite file, from a table: p50 and p95, and what they are made of.

A prediction is the table's model of the network's kernels. Every change from TFLite to XNNPACK
and back beyond the first costs something as well; that is a row of the table too, `HANDOVER`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latency_tables.budget import Latency
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.model import LatencyModel
from latency_tables.tflite.decompose import Decomposition, RunKernel, decompose
from latency_tables.tflite.network import Network

HANDOVER = make_kernel("handover", ((1,),), (1,))
"""One further partition that XNNPACK runs, beyond the first that the calibration takes in."""

DEAREST = 10
"""How many of the dearest kernels a summary names."""


@dataclass(frozen=True, kw_only=True)
class KernelShare:
    """All occurrences of one kernel.

    Attributes:
        kernel: which one.
        count: how often it runs.
        ms: of all of them together, in the p50; None where the table has no row.
    """

    kernel: Kernel
    count: int
    ms: float | None


@dataclass(frozen=True, kw_only=True)
class OutsideOperator:
    """An operator that XNNPACK does not run.

    Attributes:
        index: in the file.
        name: in TFLite's schema.
        reason: why.
    """

    index: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a table says of a file.

    Attributes:
        file: name of the file.
        table: what the table is of.
        latency: None where a kernel has no row.
        least_ms: sum of the rows that there are: what the network takes at least.
        parts: number of kernels of each partition; those of TFLite itself negative.
        kernels: dearest first, those without a row last.
        outside: what fell out of XNNPACK.
        known_kernels: share of the kernels that have a row, in [0, 1].
        known_macs: share of the multiply-accumulates in them, in [0, 1].
    """

    file: str
    table: str
    latency: Latency | None
    least_ms: float
    parts: tuple[int, ...]
    kernels: tuple[KernelShare, ...]
    outside: tuple[OutsideOperator, ...]
    known_kernels: float
    known_macs: float

    @property
    def missing(self) -> tuple[Kernel, ...]:
        """Kernels without a row."""
        return tuple(share.kernel for share in self.kernels if share.ms is None)

    def summary(self) -> str:
        """All of it, as a person reads it."""
        lines = [self._headline()]
        lines.append(f"  {_parts_text(self.parts)}")
        if self.latency is None:
            lines.append(
                f"  {self.known_kernels:.0%} of the kernels, with {self.known_macs:.0%} of the "
                f"multiply-accumulates, have a row; {len(self.missing)} kinds have none:"
            )
            lines += [f"    {kernel}" for kernel in self.missing[:DEAREST]]
            if len(self.missing) > DEAREST:
                lines.append(f"    and {len(self.missing) - DEAREST} more")
        lines.append("  dearest kernels:")
        lines += [f"    {line}" for line in map(self._share_text, self.dearest)]
        if self.outside:
            reasons = Counter(one.reason for one in self.outside)
            lines.append("  outside of XNNPACK:")
            lines += [f"    {count}x {reason}" for reason, count in reasons.most_common()]
        return "\n".join(lines)

    @property
    def dearest(self) -> tuple[KernelShare, ...]:
        """The kernels of most milliseconds."""
        return tuple(one for one in self.kernels[:DEAREST] if one.ms is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain values: milliseconds and fractions."""
        return {
            "file": self.file,
            "table": self.table,
            "p50_ms": self.latency.p50_ms if self.latency else None,
            "p95_ms": self.latency.p95_ms if self.latency else None,
            "least_ms": self.least_ms,
            "is_complete": self.latency is not None,
            "known_kernels": self.known_kernels,
            "known_macs": self.known_macs,
            "missing": [kernel.key for kernel in self.missing],
            "partitions": [
                {"runs_in": "xnnpack" if count > 0 else "tflite", "kernels": abs(count)}
                for count in self.parts
            ],
            "dearest": [self._share_json(one) for one in self.dearest],
            "outside": [vars(one) for one in self.outside],
        }

    def _headline(self) -> str:
        if self.latency is None:
            return (
                f"{self.file}: at least {self.least_ms:.3f} ms on {self.table}; not all is known, "
                "measure the rest with --measure-missing"
            )
        return (
            f"{self.file}: {self.latency.p50_ms:.3f} ms on {self.table}, with 95% confidence "
            f"under {self.latency.p95_ms:.3f} ms"
        )

    def _share_text(self, share: KernelShare) -> str:
        times = f" x{share.count}" if share.count > 1 else ""
        return f"{share.ms:8.4f} ms {self._fraction(share):5.1%}  {share.kernel}{times}"

    def _share_json(self, share: KernelShare) -> dict[str, Any]:
        fraction = self._fraction(share)
        return {
            "kernel": share.kernel.key,
            "count": share.count,
            "ms": share.ms,
            "share": fraction,
        }

    def _fraction(self, share: KernelShare) -> float:
        whole_ms = self.latency.p50_ms if self.latency else self.least_ms
        return (share.ms or 0.0) / whole_ms if whole_ms else 0.0


def predict(file: str, network: Network, model: LatencyModel) -> Prediction:
    """What a calibrated table says of a network.

    Args:
        file: name for the record.
        network: the file, as it was read.
        model: of a table.

    Raises:
        NetworkUnreadable: an operator lacks what its kind has.
    """
    whole = decompose(network)
    kernels = all_kernels(whole)
    known = [kernel for kernel in kernels if kernel in model.table]
    latency = model.predict(kernels) if len(known) == len(kernels) else None
    each_ms = {kernel: model.table[kernel].median_ms for kernel in known}
    least_ms = sum(each_ms[kernel] for kernel in known)
    if latency:
        each_ms = dict(zip(kernels, latency.by_kernel_ms, strict=True))
    shares = [
        KernelShare(
            kernel=kernel,
            count=count,
            ms=each_ms[kernel] * count if kernel in each_ms else None,
        )
        for kernel, count in Counter(kernels).items()
    ]
    return Prediction(
        file=file,
        table=str(model.table.target),
        latency=latency,
        least_ms=least_ms,
        parts=tuple(len(part) if part[0].is_delegated else -len(part) for part in whole.parts),
        kernels=tuple(sorted(shares, key=lambda one: math.inf if one.ms is None else -one.ms)),
        outside=_outside(network, whole),
        known_kernels=len(known) / len(kernels),
        known_macs=_known_macs(whole.run, each_ms),
    )


def all_kernels(whole: Decomposition) -> tuple[Kernel, ...]:
    """Every kernel of a network, and the changes to XNNPACK beyond the first."""
    return (*whole.kernels, *[HANDOVER] * max(0, whole.delegated_parts - 1))


def _outside(network: Network, whole: Decomposition) -> tuple[OutsideOperator, ...]:
    return tuple(
        OutsideOperator(index=index, name=network.operators[index].name, reason=reason)
        for index, reason in whole.reasons.items()
    )


def _known_macs(run: Sequence[RunKernel], known: Mapping[Kernel, float]) -> float:
    counts = [(macs(one.kernel), one.kernel in known) for one in run]
    total = sum(count for count, _ in counts)
    return sum(count for count, is_known in counts if is_known) / total if total else 1.0


def _parts_text(parts: Sequence[int]) -> str:
    count = sum(map(abs, parts))
    if len(parts) == 1 and parts[0] > 0:
        return f"{count} kernels in one partition of XNNPACK"
    each = ", ".join(f"{abs(one)} in {'XNNPACK' if one > 0 else 'TFLite'}" for one in parts)
    return f"{count} kernels in {len(parts)} partitions: {each}"


def macs(kernel: Kernel) -> int:
    """Multiply-accumulates of a kernel; 0 for one that multiplies no matrices."""
    made = math.prod(kernel.output)
    match kernel.kind:
        case "conv2d":
            groups = int(dict(kernel.attributes).get("groups", 1))
            return made * math.prod(kernel.pair("kernel")) * kernel.inputs[0][-1] // groups
        case "depthwise_conv2d":
            return made * math.prod(kernel.pair("kernel"))
        case "conv_transpose2d":
            return (
                math.prod(kernel.inputs[0]) * math.prod(kernel.pair("kernel")) * kernel.output[-1]
            )
        case "fully_connected" | "batch_matmul":
            return made * kernel.inputs[0][-1]
    return 0
