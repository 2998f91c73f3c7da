"""How well latencies are predicted: networks of the ShrinkCNN space that were never profiled.

    python benchmarks/latency_model.py --networks 100 -o results.json

For each outline (CIFAR's and Fashion-MNIST's, full and half width) the space is profiled as
`pocketnas profile` does, in its own time; then networks drawn with another seed, none of them a
probe or a calibration network, are measured end to end in interleaved sessions and compared.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import report

from latency_tables.model import LatencyModel
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.schedule import Schedule
from profilers.sessions import SessionValue, is_disturbed, median_ms
from profilers.settings import ProfileSettings
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import plan
from toolchain.probe_networks import probe_networks
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

OUTLINES = {
    "cifar, width 16": ShrinkCnnSpace(),
    "cifar, width 8": ShrinkCnnSpace(base_width=8, stem_channels=16),
    "fashion-mnist, width 16": ShrinkCnnSpace(input_shape=(1, 28, 28)),
}
TEST_SEED = 977


def main() -> None:
    """Profile, measure and compare each outline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--outlines", nargs="+", choices=OUTLINES, default=list(OUTLINES))
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--journals", type=Path, help="keep tables and journals in this folder")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    runner = HostRunner()
    results = {name: _outline(name, runner, options) for name in options.outlines}
    seeds = {"profile": 1, "test networks": TEST_SEED}
    report("latency model", {"seeds": seeds, "outlines": results}, options.output)


def _outline(name: str, runner: HostRunner, options: argparse.Namespace) -> dict[str, Any]:
    space = OUTLINES[name]
    pool = [
        Probe(subject=one.genotype, kernels=one.kernels, build=one.build)
        for one in probe_networks(space, 1)
    ]
    unseen = _unseen(space, {probe.subject for probe in pool}, options.networks)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = time.monotonic()
        table = profile_table(
            pool, runner, folder / "host.table", ProfileSettings(),
            space="shrinkcnn", seed=1, resume=False,
        )  # fmt: skip
        profile_s = time.monotonic() - start
        measured = _measure(unseen, runner, folder, options.sessions)
        if options.journals:
            kept = options.journals / name.replace(", ", "-").replace(" ", "-")
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.tflite"))
    model = LatencyModel(table)
    errors, isolated, within_p95, steady = [], [], [], []
    for probe in unseen:
        latency = model.predict(probe.kernels)
        truth = median_ms(measured[probe.subject])
        errors.append(latency.p50_ms / truth - 1)
        isolated.append(sum(table[kernel].median_ms for kernel in probe.kernels) / truth - 1)
        within_p95.append(truth <= latency.p95_ms)
        steady.append(not all(map(is_disturbed, measured[probe.subject])))
    return {
        "kernels": len(table),
        "profile_s": round(profile_s, 1),
        "disturbed": table.settings["disturbed"],
        "test_networks_with_an_undisturbed_session": sum(steady),
        "calibrated": _summary(np.array(errors)),
        "sum_of_kernels_alone": _summary(np.array(isolated)),
        "networks": {
            probe.subject: {
                "predicted_ms": model.predict(probe.kernels).p50_ms,
                "sessions_ms": [round(one.ms, 6) for one in measured[probe.subject]],
                "disturbed": [round(one.disturbed, 2) for one in measured[probe.subject]],
            }
            for probe in unseen
        },
        "measured_under_p95": float(np.mean(within_p95)),
        "measured_ms": [float(v) for v in np.percentile([median_ms(m) for m in measured.values()],
                                                        (0, 50, 100))],
    }  # fmt: skip


def _unseen(space: ShrinkCnnSpace, seen: set[str], count: int) -> list[Probe]:
    rng = np.random.default_rng(TEST_SEED)
    unseen: dict[str, Probe] = {}
    for _ in range(100 * count):
        genotype = space.sample(rng)
        if genotype not in seen and len(unseen) < count:
            kernels = plan(space.decode(genotype))
            unseen[genotype] = Probe(
                subject=genotype,
                kernels=kernels.kernels,
                build=partial(write_tflite, kernels, random_weights(kernels, 2)),
            )
    return list(unseen.values())


def _measure(
    probes: list[Probe], runner: HostRunner, folder: Path, sessions: int
) -> dict[str, list[SessionValue]]:
    measured: dict[str, list[SessionValue]] = defaultdict(list)
    plan_of_sessions = Schedule([], probes, sessions=sessions, seed=TEST_SEED)
    for task in (task for batch in plan_of_sessions for task in batch.tasks):
        path = folder / f"{task.probe.subject}.tflite"
        if not path.exists():
            path.write_bytes(task.probe.build())
        session = runner.latencies(path, runs=20, warmup=3)
        value = SessionValue(float(np.median(session.samples_ms)), session.disturbed)
        plan_of_sessions.settle(task, value.ms, is_good=not is_disturbed(session))
        measured[task.probe.subject].append(value)
    return measured


def _summary(errors: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    absolute = np.abs(errors)
    return {
        "bias": round(float(np.median(errors)), 4),
        "median_error": round(float(np.median(absolute)), 4),
        "p90_error": round(float(np.quantile(absolute, 0.9)), 4),
        "worst_error": round(float(absolute.max()), 4),
        "within_5_percent": float((absolute <= 0.05).mean()),
        "within_10_percent": float((absolute <= 0.10).mean()),
    }


if __name__ == "__main__":
    main()
