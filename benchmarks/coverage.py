"""Is the p95 a p95? Tables and measurements of several occasions, each against each.

    python benchmarks/coverage.py --rounds 3 --pause-s 240 -o results.json

In every round each outline is profiled and networks that no profile ever sees are measured, with a
pause between rounds. Then every table is held against the measurements of every round: its own,
minutes later, and those of the other rounds, on which the device may be a little faster or slower.
Beside the table's p95 stand one without the allowance for drift, and the one before tables kept
evidence: three coefficients, and one ratio for all networks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from latency_model import OUTLINES, measure_all, pool_of, unseen_of
from machine import report

from latency_tables.calibrate import CalibrationPoint, calibrate
from latency_tables.kernel import Kernel
from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.sessions import median_ms
from profilers.settings import ProfileSettings


class Pair(NamedTuple):
    """A table and an occasion.

    Attributes:
        outline: whose table.
        table: round of the table.
        occasion: round of the measurements.
        under: share of the networks under their p95, by the way it was told.
        bias: median of predicted over measured, less 1.
    """

    outline: str
    table: int
    occasion: int
    under: dict[str, float]
    bias: float


def main() -> None:
    """Measure in rounds, then compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--outlines", nargs="+", choices=OUTLINES, default=list(OUTLINES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause-s", type=float, default=240)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    runner = HostRunner()
    pools = {name: pool_of(OUTLINES[name]) for name in options.outlines}
    unseen = {
        name: unseen_of(OUTLINES[name], pool, options.networks) for name, pool in pools.items()
    }
    tables: dict[str, list[LatencyTable]] = {name: [] for name in pools}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in pools}
    for number in range(options.rounds):
        if number:
            time.sleep(options.pause_s)
        for name, pool in pools.items():
            tables[name].append(_profile(pool, runner, name, number))
            sessions = measure_all(unseen[name], runner, 2)
            measured[name].append({one: median_ms(values) for one, values in sessions.items()})
    pairs = [
        _pair(name, i, j, table, occasion, unseen[name])
        for name in pools
        for i, table in enumerate(tables[name])
        for j, occasion in enumerate(measured[name])
    ]
    report("coverage", {"rounds": options.rounds, **_figures(pairs)}, options.output)


def _profile(pool: list[Probe], runner: HostRunner, name: str, number: int) -> LatencyTable:
    with tempfile.TemporaryDirectory() as folder:
        return profile_table(
            pool, runner, Path(folder) / "host.table", ProfileSettings(),
            space=name, seed=1 + number, resume=False,
        )  # fmt: skip


def _pair(
    name: str, i: int, j: int, table: LatencyTable, occasion: dict[str, float], unseen: list[Probe]
) -> Pair:
    limits = _p95s(table)
    model = LatencyModel(table)
    under = {
        way: float(np.mean([occasion[one.subject] <= limit(one.kernels) for one in unseen]))
        for way, limit in limits.items()
    }
    bias = np.median([model.predict(one.kernels).p50_ms / occasion[one.subject] for one in unseen])
    return Pair(name, i, j, under, float(bias) - 1)


def _p95_ms(model: LatencyModel, kernels: Sequence[Kernel]) -> float:
    return model.predict(kernels).p95_ms


def _p95s(table: LatencyTable) -> dict[str, Callable[[Sequence[Kernel]], float]]:
    """The p95 of a network, told in three ways."""
    assert table.evidence is not None
    still = replace(table, evidence=replace(table.evidence, drift=0.0))
    points = [
        CalibrationPoint(
            subject=one.subject,
            kernels_ms=sum(table[kernel].median_ms for kernel in one.kernels),
            kernels=len(one.kernels),
            measured_ms=one.measured_ms,
        )
        for one in table.evidence.networks
    ]
    before = replace(table, calibration=calibrate(points), evidence=None)
    ways = {"as_it_is": table, "without_drift": still, "before_evidence": before}
    models = {way: LatencyModel(one) for way, one in ways.items()}
    return {way: partial(_p95_ms, model) for way, model in models.items()}


def _figures(pairs: list[Pair]) -> dict[str, Any]:
    own = [pair for pair in pairs if pair.table == pair.occasion]
    other = [pair for pair in pairs if pair.table != pair.occasion]
    return {
        "under_p95": {
            "all": _shares(pairs), "own occasion": _shares(own), "other occasions": _shares(other),
        },
        "bias_rms_own": float(np.sqrt(np.mean([pair.bias**2 for pair in own]))),
        "bias_rms_other": float(np.sqrt(np.mean([pair.bias**2 for pair in other]))),
        "by_outline": {
            name: _shares([pair for pair in pairs if pair.outline == name])
            for name in dict.fromkeys(pair.outline for pair in pairs)
        },
        "pairs": [pair._asdict() for pair in pairs],
    }  # fmt: skip


def _shares(pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Mean, least and largest share of networks under their p95."""
    return {
        way: {
            "mean": round(float(np.mean([pair.under[way] for pair in pairs])), 4),
            "min": min(pair.under[way] for pair in pairs),
            "max": max(pair.under[way] for pair in pairs),
        }
        for way in pairs[0].under
    }


if __name__ == "__main__":
    main()
