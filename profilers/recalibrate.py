"""Fit a merged table's calibration again, on the networks of the profiles that it comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from latency_tables.evidence import MeasuredNetwork
from latency_tables.posterior import learn
from latency_tables.table import LatencyTable
from profilers.errors import JournalMismatch
from profilers.journal import read_journal
from profilers.journal_table import measured_networks


def journal_of(table_path: Path) -> Path:
    """Where the journal of a table stands."""
    return table_path.with_name(f"{table_path.name}.journal")


def recalibrate(merged: LatencyTable, sources: Mapping[Path, LatencyTable]) -> LatencyTable:
    """A merged table with a calibration of its own.

    The networks that each source was calibrated on are taken from its journal with the latencies
    that were measured. A network that several profiles measured counts once, with the median of
    its latencies: as two it would help to predict itself.

    Args:
        merged: has a row for every kernel of the sources.
        sources: the tables that were merged, by their files; their journals stand beside them.

    Raises:
        JournalMissing: there is no journal beside a table.
        JournalMismatch: the journal beside a table is of another profile.
        CalibrationFailed: the latencies cannot be explained by the merged rows.
    """
    networks: dict[MeasuredNetwork, list[float]] = defaultdict(list)
    for path, table in sources.items():
        journal = journal_of(path)
        identity, rows = read_journal(journal)
        _require_of(table, identity, journal)
        for network in measured_networks(rows):
            networks[replace(network, measured_ms=0.0)].append(network.measured_ms)
    return learn(
        merged,
        [
            replace(network, measured_ms=float(np.median(measured_ms)))
            for network, measured_ms in networks.items()
        ],
    )


def _require_of(table: LatencyTable, identity: Mapping[str, str], journal: Path) -> None:
    """Check that a journal is of the profile that made a table."""
    expected = {f"target.{name}": str(value) for name, value in table.target.to_json().items()}
    expected |= {name: str(table.settings.get(name)) for name in ("space", "seed")}
    differing = [name for name, value in expected.items() if identity.get(name) != value]
    if differing:
        raise JournalMismatch(
            f"the journal {journal} is not of the table beside it: "
            + "; ".join(
                f"{name} is {identity.get(name)!r}, the table's {expected[name]!r}"
                for name in differing
            )
            + ". Put the table's own journal there"
        )
