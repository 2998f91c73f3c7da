"""Make a latency table of a journal: the same journal always gives the same table."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from latency_tables.calibrate import MIN_NETWORKS
from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel, parse_kernel
from latency_tables.posterior import learn
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from profilers.journal import JournalRow
from profilers.measure import Payload, drifted
from profilers.sessions import SessionValue, is_disturbed, median_ms, that_count
from profilers.statistics import iqr

Key = tuple[str, tuple[Kernel, ...]]
"""A network measured end to end: its genotype and its kernels."""

_log = logging.getLogger(__name__)

DISTURBED_WARNING = 0.2
"""Share of subjects without an undisturbed session beyond which a profile is doubtful."""

DRIFT_WARNING = 0.1
"""Interquartile range of the canary over its median beyond which a profile is doubtful."""


def build_table(
    rows: Sequence[JournalRow], target: Target, settings: Mapping[str, str | int | float]
) -> LatencyTable:
    """The table that a journal's measurements make, calibrated.

    Args:
        rows: the journal.
        target: what they were measured on.
        settings: recorded in the table, beside the drift and the share that was disturbed.

    Raises:
        CalibrationFailed: too few networks, or their latencies cannot be explained.
    """
    drifting = drifted_batches(rows)
    kernels = _by_kernel(rows, drifting)
    networks = _by_network(rows, drifting)
    runs = int(settings["runs"])
    table_rows = {kernel: _kernel_latency(values, runs) for kernel, values in kernels.items()}
    subjects = [*kernels.values(), *networks.values()]
    disturbed = float(np.mean([all(map(is_disturbed, values)) for values in subjects]))
    canary = [SessionValue(p["median_ms"], p["disturbed"]) for p in _canaries(rows).values()]
    drift = _spread([one.ms for one in that_count(canary, lambda one: one.ms)]) if canary else 0.0
    _warn(disturbed, drift)
    uncalibrated = LatencyTable(
        target=target,
        rows=table_rows,
        settings={**settings, "disturbed": round(disturbed, 4), "drift": round(drift, 4)},
    )
    return learn(uncalibrated, measured_networks(rows))


def measured_networks(rows: Sequence[JournalRow]) -> list[MeasuredNetwork]:
    """The networks that a journal measured end to end."""
    networks = _by_network(rows, drifted_batches(rows))
    return [
        MeasuredNetwork(subject=subject, kernels=kernels, measured_ms=median_ms(values))
        for (subject, kernels), values in _steady_networks(networks)
    ]


def kernel_rows(rows: Sequence[JournalRow], runs: int) -> dict[Kernel, KernelLatency]:
    """The table's row for every kernel that the journal's probes ran.

    Args:
        rows: the journal.
        runs: of each session.
    """
    kernels = _by_kernel(rows, drifted_batches(rows))
    return {kernel: _kernel_latency(values, runs) for kernel, values in kernels.items()}


def _by_kernel(
    rows: Iterable[JournalRow], drifting: Collection[int]
) -> dict[Kernel, list[SessionValue]]:
    """Every time that each kernel was measured in a probe."""
    kernels: dict[Kernel, list[SessionValue]] = defaultdict(list)
    for row in rows:
        if row.payload["role"] == "probe":
            for key, ms in zip(row.payload["kernels"], row.payload["operators_ms"], strict=True):
                kernels[parse_kernel(key)].append(SessionValue(ms, disturbance(row, drifting)))
    return kernels


def _by_network(
    rows: Iterable[JournalRow], drifting: Collection[int]
) -> dict[Key, list[SessionValue]]:
    """Every time that each network was measured end to end."""
    networks: dict[Key, list[SessionValue]] = defaultdict(list)
    for row in rows:
        if row.payload["role"] == "network":
            names = tuple(parse_kernel(key) for key in row.payload["kernels"])
            value = SessionValue(row.payload["median_ms"], disturbance(row, drifting))
            networks[row.subject.removeprefix("network "), names].append(value)
    return networks


def _canaries(rows: Iterable[JournalRow]) -> dict[int, Payload]:
    """The canary's measurements: number n was taken before batch n, and after batch n - 1."""
    return {row.session: row.payload for row in rows if row.payload["role"] == "canary"}


def drifted_batches(rows: Iterable[JournalRow]) -> frozenset[int]:
    """Batches over which the canary changed too much: all their sessions count as disturbed."""
    canaries = _canaries(rows)
    return frozenset(
        number
        for number, before in canaries.items()
        if number + 1 in canaries and drifted(before, canaries[number + 1])
    )


def disturbance(row: JournalRow, drifting: Collection[int]) -> float:
    """Share of a session that was disturbed, all of it if its batch drifted."""
    return 1.0 if row.payload.get("batch") in drifting else float(row.payload["disturbed"])


def _kernel_latency(contexts: Sequence[SessionValue], runs: int) -> KernelLatency:
    counted_ms = [one.ms for one in that_count(contexts, lambda one: one.ms)]
    return KernelLatency(
        median_ms=float(np.median(counted_ms)),
        iqr_ms=iqr(counted_ms),
        p95_ms=float(np.percentile(counted_ms, 95)),
        samples=runs * len(counted_ms),
        contexts=len(counted_ms),
    )


def _steady_networks(
    networks: Mapping[Key, list[SessionValue]],
) -> list[tuple[Key, list[SessionValue]]]:
    """Networks with an undisturbed session, if half of them have one; otherwise all.

    A network that was disturbed in every session can read half as much again as it should.
    """
    steady = [
        (key, values) for key, values in networks.items() if not all(map(is_disturbed, values))
    ]
    enough = max(MIN_NETWORKS, len(networks) // 2)
    return steady if len(steady) >= enough else list(networks.items())


def _spread(values_ms: Sequence[float]) -> float:
    """Interquartile range over median."""
    return iqr(values_ms) / float(np.median(values_ms))


def _warn(disturbed: float, drift: float) -> None:
    """Say so when the machine was too busy or unsteady for the table to be trusted."""
    if disturbed > DISTURBED_WARNING or drift > DRIFT_WARNING:
        _log.warning(
            "other load disturbed every session of %.0f%% of the kernels and networks, and the "
            "canary network varied by %.0f%%; predictions will be less sure. Profile again when "
            "the machine is quieter",
            100 * disturbed,
            100 * drift,
        )
