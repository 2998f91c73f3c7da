"""Time against accuracy: profiles of more and more effort, and warm starts from another target.

    python benchmarks/profile_time.py -o results.json

For each outline networks are measured end to end that no profile ever sees; half of their
sessions before and half after all profiles, so that no profile is nearer to them in time. The
space is profiled with five efforts, each in its own time. Warm starts begin with the table of
another target of this host, two threads by the wall clock, and measure a few probes and networks
on the target of one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from latency_model import OUTLINES, errors_of, measure_all, pool_of, summary, unseen_of
from machine import report

from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.sessions import SessionValue, median_ms
from profilers.settings import ProfileSettings
from profilers.warm_start import warm_start

EFFORTS = {
    "least": ProfileSettings(contexts=1, sessions=1, networks=10),
    "little": ProfileSettings(contexts=1, sessions=1, networks=30),
    "half": ProfileSettings(contexts=2, sessions=1, networks=60),
    "default": ProfileSettings(),
    "most": ProfileSettings(contexts=5, sessions=5, networks=200),
}
WARM_STARTS = {
    "1 probe, 10 networks": (1, ProfileSettings(contexts=1, sessions=1, networks=10)),
    "2 probes, 25 networks": (2, ProfileSettings(contexts=1, sessions=1, networks=25)),
    "4 probes, 50 networks": (4, ProfileSettings(contexts=1, sessions=2, networks=50)),
}
Measured = dict[str, list[SessionValue]]


def main() -> None:
    """Profile each outline with every effort."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument(
        "--outlines", nargs="+", choices=OUTLINES,
        default=["shrinkcnn, cifar, width 16", "swiftnet, 16 nodes", "scalenet, width 8"],
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    results = {name: _outline(name, options) for name in options.outlines}
    report("profile time", {"outlines": results}, options.output)


def _outline(name: str, options: argparse.Namespace) -> dict[str, Any]:
    space = OUTLINES[name]
    pool = pool_of(space)
    unseen = unseen_of(space, pool, options.networks)
    one, two = HostRunner(), HostRunner(threads=2)
    before = measure_all(unseen, one, 2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def profile(runner: HostRunner, key: str, settings: ProfileSettings) -> LatencyTable:
            return profile_table(
                pool, runner, folder / f"{key}.table", settings, space=name, seed=1, resume=False
            )

        def start(key: str) -> LatencyTable:
            probes, settings = WARM_STARTS[key]
            return warm_start(
                other, pool, one, folder / f"{key}.table", settings,
                probes=probes, space=name, seed=1, resume=False,
            )  # fmt: skip

        profiles = {key: _timed(partial(profile, one, key, EFFORTS[key])) for key in EFFORTS}
        other = profile(two, "two threads", ProfileSettings())
        starts = {key: _timed(partial(start, key)) for key in WARM_STARTS}
    after = measure_all(unseen, one, 2)
    measured = {subject: [*before[subject], *after[subject]] for subject in before}
    return {
        "kernels": len(profiles["default"][0]),
        "profiles": {key: _figures(*one, unseen, measured) for key, one in profiles.items()},
        "the_other_target_as_it_is": summary(_errors(other, unseen, measured)),
        "warm_starts": {
            key: {
                **_figures(table, seconds, unseen, measured),
                "measured_kernels": sum(row.is_measured for row in table.rows.values()),
            }
            for key, (table, seconds) in starts.items()
        },
    }


def _timed(make: Callable[[], LatencyTable]) -> tuple[LatencyTable, float]:
    start = time.monotonic()
    return make(), time.monotonic() - start


def _figures(
    table: LatencyTable, seconds: float, unseen: list[Probe], measured: Measured
) -> dict[str, Any]:
    model = LatencyModel(table)
    under = [
        median_ms(measured[probe.subject]) <= model.predict(probe.kernels).p95_ms
        for probe in unseen
    ]
    return {
        "seconds": round(seconds, 1),
        **summary(_errors(table, unseen, measured)),
        "under_p95": float(np.mean(under)),
        "disturbed": table.settings.get("disturbed"),
    }


def _errors(table: LatencyTable, unseen: list[Probe], measured: Measured) -> Any:
    model = LatencyModel(table)
    kernels = {probe.subject: probe.kernels for probe in unseen}
    return errors_of(lambda one: model.predict(kernels[one]).p50_ms, measured)


if __name__ == "__main__":
    main()
