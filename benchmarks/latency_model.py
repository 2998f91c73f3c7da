"""How well latencies are predicted: networks that were never profiled, in four spaces.

    python benchmarks/latency_model.py --networks 200 -o results.json

Each space is profiled as `pocketnas profile` does, in its own time. Then networks drawn with
another seed, none of them a probe or one of those the table learned from, are measured end to end
in interleaved sessions and compared: with the table's predictions, and with other ways to predict
on the same networks (`rivals.py`), which are fitted on what was measured in the same run. When all
spaces are done, the same networks are measured once more: a later occasion, on which the device
may be a little faster or slower.

A network counts as measured under its p95 if the median of its undisturbed sessions is.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from machine import report
from rivals import proportional_to_macs, sum_of_blocks, sum_of_operators

from latency_tables.kernel import Kernel
from latency_tables.model import LatencyModel
from latency_tables.precision import FLOAT32, PRECISIONS
from latency_tables.table import LatencyTable
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.schedule import Schedule
from profilers.sessions import SessionValue, is_disturbed, median_ms
from profilers.settings import ProfileSettings
from toolchain.probe_networks import ProbeNetwork, probe_network, probe_networks
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space
from toolchain.spaces.swiftnet import SwiftNetSpace

OUTLINES: dict[str, Space] = {
    "shrinkcnn, cifar, width 16": ShrinkCnnSpace(),
    "shrinkcnn, cifar, width 8": ShrinkCnnSpace(base_width=8, stem_channels=16),
    "shrinkcnn, fashion-mnist, width 16": ShrinkCnnSpace(input_shape=(1, 28, 28)),
    "swiftnet, 16 nodes": SwiftNetSpace(nodes=(16, 16, 16)),
    "scalenet, width 8": ScaleNetSpace(),
}
TEST_SEED = 977

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True)
class Trial:
    """One outline, profiled, with what was measured of unseen networks."""

    space: Space
    table: LatencyTable
    profile_s: float
    unseen: list[Probe]
    rivals: dict[str, Callable[[str], float]]
    occasions: list[dict[str, list[SessionValue]]] = field(default_factory=list)


def main() -> None:
    """Profile, measure and compare each outline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--outlines", nargs="+", choices=OUTLINES, default=list(OUTLINES))
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--precision", choices=PRECISIONS, default=FLOAT32)
    parser.add_argument("--no-rivals", action="store_true", help="only ours; int8 has no others")
    parser.add_argument("--tables", type=Path, help="keep tables and journals in this folder")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    runner = HostRunner(precision=options.precision)
    trials = {name: _trial(name, runner, options) for name in options.outlines}
    for trial in trials.values():
        trial.occasions.append(measure_all(trial.unseen, runner, options.sessions))
    figures = {
        "seeds": {"profile": 1, "test networks": TEST_SEED},
        "outlines": {name: _figures(trial) for name, trial in trials.items()},
        "all": _together(list(trials.values())),
    }
    report("latency model", figures, options.output)


def pool_of(space: Space, precision: str = FLOAT32) -> list[Probe]:
    """Networks to profile a space on."""
    return [_probe(one) for one in probe_networks(space, 1, precision)]


def unseen_of(
    space: Space, pool: list[Probe], count: int, precision: str = FLOAT32
) -> list[Probe]:
    """So many networks of another seed, none of them in the pool; fewer in a small space."""
    rng = np.random.default_rng(TEST_SEED)
    drawn = dict.fromkeys(space.sample(rng) for _ in range(20 * count))
    for probe in pool:
        drawn.pop(probe.subject, None)
    return [_probe(probe_network(space, one, 2, precision)) for one in list(drawn)[:count]]


def measure_all(
    probes: list[Probe], runner: HostRunner, sessions: int
) -> dict[str, list[SessionValue]]:
    """Every network end to end, in interleaved sessions; disturbed ones again, as in a profile."""
    measured: dict[str, list[SessionValue]] = defaultdict(list)
    plan_of_sessions = Schedule([], probes, sessions=sessions, seed=TEST_SEED)
    with tempfile.TemporaryDirectory() as folder:
        for task in (task for batch in plan_of_sessions for task in batch.tasks):
            name = sha256(task.probe.subject.encode()).hexdigest()
            path = Path(folder) / f"{name}.tflite"
            if not path.exists():
                path.write_bytes(task.probe.build())
            session = runner.latencies(path, runs=20, warmup=3)
            value = SessionValue(float(np.median(session.samples_ms)), session.disturbed)
            plan_of_sessions.settle(task, value.ms, is_good=not is_disturbed(session))
            measured[task.probe.subject].append(value)
    return measured


def summary(errors: Array) -> dict[str, float]:
    """Relative errors in a few figures."""
    absolute = np.abs(errors)
    return {
        "bias": round(float(np.median(errors)), 4),
        "median_error": round(float(np.median(absolute)), 4),
        "p90_error": round(float(np.quantile(absolute, 0.9)), 4),
        "worst_error": round(float(absolute.max()), 4),
        "within_5_percent": float((absolute <= 0.05).mean()),
        "within_10_percent": float((absolute <= 0.10).mean()),
    }


def _p50_ms(model: LatencyModel, kernels: Mapping[str, Sequence[Kernel]], genotype: str) -> float:
    return model.predict(kernels[genotype]).p50_ms


def errors_of(predict: Callable[[str], float], measured: dict[str, list[SessionValue]]) -> Array:
    """Predicted over measured, less 1."""
    return np.array(
        [predict(genotype) / median_ms(values) - 1 for genotype, values in measured.items()]
    )


def _probe(network: ProbeNetwork) -> Probe:
    return Probe(subject=network.genotype, kernels=network.kernels, build=network.build)


def _trial(name: str, runner: HostRunner, options: argparse.Namespace) -> Trial:
    space = OUTLINES[name]
    pool = pool_of(space, options.precision)
    unseen = unseen_of(space, pool, options.networks, options.precision)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = time.monotonic()
        table = profile_table(
            pool, runner, folder / "host.table", ProfileSettings(),
            space=space.name, seed=1, resume=False,
        )  # fmt: skip
        profile_s = time.monotonic() - start
        first = measure_all(unseen, runner, options.sessions)
        if options.tables:
            shutil.copytree(folder, options.tables / name.replace(", ", "-").replace(" ", "-"))
        is_alone = options.no_rivals or options.precision != FLOAT32
        rivals = {} if is_alone else _rivals(space, table, unseen, runner, folder)
    return Trial(
        space=space, table=table, profile_s=profile_s, unseen=unseen, rivals=rivals,
        occasions=[first],
    )  # fmt: skip


def _rivals(
    space: Space, table: LatencyTable, unseen: list[Probe], runner: HostRunner, folder: Path
) -> dict[str, Callable[[str], float]]:
    assert table.evidence is not None
    known_ms = {one.subject: one.measured_ms for one in table.evidence.networks}
    line = LatencyModel(replace(table, evidence=None))
    genotypes = [probe.subject for probe in unseen]
    blocks = sum_of_blocks(space, genotypes, runner, folder)
    return {
        "three coefficients alone": lambda one: line.predict(space.kernels(one)).p50_ms,
        "sum of rows": lambda one: sum(table[kernel].median_ms for kernel in space.kernels(one)),
        "sum of operators measured alone": sum_of_operators(space, table, runner, folder),
        **({"sum of blocks measured alone": blocks} if blocks else {}),
        "linear in macs": proportional_to_macs(space, known_ms),
    }


def _figures(trial: Trial) -> dict[str, Any]:
    model, table = LatencyModel(trial.table), trial.table
    assert table.evidence is not None
    kernels = {probe.subject: probe.kernels for probe in trial.unseen}

    def predict(genotype: str) -> float:
        return model.predict(kernels[genotype]).p50_ms

    first = trial.occasions[0]
    latencies = {subject: model.predict(one) for subject, one in kernels.items()}
    return {
        "kernels": len(table),
        "profile_s": round(trial.profile_s, 1),
        "disturbed": table.settings["disturbed"],
        "row_error": table.evidence.row_error,
        "noise": table.evidence.noise,
        "measured_ms": [
            float(v) for v in np.percentile([median_ms(m) for m in first.values()], (0, 50, 100))
        ],
        "undisturbed_test_networks": sum(
            not all(map(is_disturbed, values)) for values in first.values()
        ),
        "p95_over_p50": float(np.median([one.p95_ms / one.p50_ms for one in latencies.values()])),
        "occasions": [
            {
                **summary(errors_of(predict, measured)),
                "under_p95": _covered(model, trial, measured),
            }
            for measured in trial.occasions
        ],
        "rivals": {name: summary(errors_of(rival, first)) for name, rival in trial.rivals.items()},
        "networks": {
            subject: {
                "p50_ms": round(latencies[subject].p50_ms, 6),
                "p95_ms": round(latencies[subject].p95_ms, 6),
                "measured_ms": [round(median_ms(one[subject]), 6) for one in trial.occasions],
            }
            for subject in kernels
        },
    }


def _covered(model: LatencyModel, trial: Trial, measured: dict[str, list[SessionValue]]) -> float:
    """Share of the networks that were measured under their p95."""
    return float(
        np.mean(
            [
                median_ms(measured[probe.subject]) <= model.predict(probe.kernels).p95_ms
                for probe in trial.unseen
            ]
        )
    )


def _together(trials: list[Trial]) -> list[dict[str, float]]:
    """The same figures over all outlines, for each occasion."""
    together = []
    for occasion in range(2):
        errors, covered = [], []
        for trial in trials:
            model, measured = LatencyModel(trial.table), trial.occasions[occasion]
            kernels = {probe.subject: probe.kernels for probe in trial.unseen}
            errors.append(errors_of(partial(_p50_ms, model, kernels), measured))
            covered += [_covered(model, trial, measured)] * len(measured)
        together.append({**summary(np.concatenate(errors)), "under_p95": float(np.mean(covered))})
    return together


if __name__ == "__main__":
    main()
