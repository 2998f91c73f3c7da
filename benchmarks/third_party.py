"""Networks of others: predicted against measured end to end.

    python benchmarks/collect_models.py models
    python benchmarks/third_party.py --models models -o results.json

A table is profiled on one of our own search spaces, in the same run, and calibrated on networks of
that space; or an own one is given. What it lacks of each file is measured in pieces of the file,
as `pocketnas tables predict --measure-missing` does. Then all files are measured end to end, in
interleaved sessions; no end-to-end time of a file takes part in any prediction. Files that run
the same kernels count once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from light_models import light_models
from machine import machine, report

from latency_tables.errors import TableError
from latency_tables.model import LatencyModel
from latency_tables.predict import predict
from latency_tables.store import load_table, save_table
from latency_tables.table import LatencyTable
from latency_tables.tflite.decompose import Decomposition, decompose
from latency_tables.tflite.network import Network, read_network
from profilers.errors import ProfilerError
from profilers.host import HostRunner
from profilers.missing import measure_file
from profilers.overheads import learn_run_cost, measure_handover
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.schedule import Schedule
from profilers.sessions import SessionValue, is_disturbed, median_ms
from profilers.settings import ProfileSettings
from toolchain.errors import ToolchainError
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.overhead_networks import short_networks, split_networks
from toolchain.probe_networks import probe_networks
from toolchain.spaces.space import make_space

SEED = 7
SPACE = "mobilenet"
IMAGE = (3, 128, 128)
"""Of the space that the table is calibrated on: networks of a size as those of others have."""

MOST_BYTES = 200_000_000

SHORT_MS = 0.1
"""Shorter networks are told apart: their kernels are mostly below the microsecond at which the
runtime's clock ticks."""


@dataclass(frozen=True)
class File:
    """A network of others."""

    path: Path
    network: Network
    whole: Decomposition


def main() -> None:
    """Predict and measure every file of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="else a space is profiled")
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--kernel-sessions", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="write the table with all kernels here")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    before = machine()
    runner = HostRunner()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refused = _own_exports(folder)
        files, more = _files([*sorted(options.models.glob("*.tflite")), *folder.glob("*.tflite")])
        refused |= more
        start = time.monotonic()
        table = load_table(options.table) if options.table else _profile(runner, folder)
        profile_s = time.monotonic() - start
        start = time.monotonic()
        table, failed = _add_kernels(files, table, runner, options.kernel_sessions)
        refused |= failed
        kernels_s = time.monotonic() - start
        if options.keep:
            save_table(table, options.keep)
        known = [file for file in files if file.path.name not in refused]
        measured, failed = _measure(known, runner, options.sessions)
        refused |= failed
    rows = [_compare(file, LatencyModel(table), measured[file.path.name])
            for file in known if file.path.name not in refused]  # fmt: skip
    figures = {
        "seed": SEED,
        "machine_before": before,
        "profile_s": round(profile_s, 1),
        "measure_missing_s": round(kernels_s, 1),
        "table_kernels": len(table),
        "calibration": vars(table.calibration) if table.calibration else None,
        f"networks_of_{SHORT_MS}_ms_and_more": _summary(
            [row for row in rows if row["measured_ms"] >= SHORT_MS]
        ),
        "shorter_networks": _summary([row for row in rows if row["measured_ms"] < SHORT_MS]),
        "all": _summary(rows),
        "networks": rows,
        "refused": refused,
    }
    report("third party", figures, options.output)


def _own_exports(folder: Path) -> dict[str, str]:
    """The `onnx` wheel's light models after our own export; reasons where that takes them not."""
    refused = {}
    for name, model in light_models():
        try:
            lowered = lower(model)
        except ToolchainError as error:
            refused[name] = str(error)
            continue
        content = write_tflite(lowered.plan, lowered.weights)
        if len(content) > MOST_BYTES:
            refused[name] = f"left out: {len(content):,} bytes, of which a run takes a second"
            continue
        (folder / f"{name}.tflite").write_bytes(content)
    return refused


def _files(paths: list[Path]) -> tuple[list[File], dict[str, str]]:
    """Those that can be told, one for all that run the same kernels."""
    files: dict[tuple[Any, ...], File] = {}
    refused = {}
    for path in paths:
        try:
            network = read_network(path)
            whole = decompose(network)
        except TableError as error:
            refused[path.name] = str(error)
            continue
        if whole.kernels in files:
            refused[path.name] = f"runs what {files[whole.kernels].path.name} runs"
        files.setdefault(whole.kernels, File(path, network, whole))
    return list(files.values()), refused


def _profile(runner: HostRunner, folder: Path) -> LatencyTable:
    pool = [
        Probe(subject=one.genotype, kernels=one.kernels, build=one.build)
        for one in probe_networks(make_space(SPACE, {"input_shape": IMAGE}), SEED)
    ]
    return profile_table(
        pool,
        runner,
        folder / "host.table",
        ProfileSettings(),
        space=SPACE,
        seed=SEED,
        resume=False,
    )


def _add_kernels(
    files: list[File], table: LatencyTable, runner: HostRunner, sessions: int
) -> tuple[LatencyTable, dict[str, str]]:
    settings, failed = ProfileSettings(sessions=sessions), {}
    table = measure_handover(table, split_networks(), runner, settings)
    table = learn_run_cost(table, short_networks(), runner, settings)
    for file in files:
        try:
            table = measure_file(file.path.name, file.network, table, runner, settings)
        except ProfilerError as error:
            failed[file.path.name] = str(error)
            continue
        if any(kernel not in table for kernel in file.whole.kernels):
            failed[file.path.name] = "has a custom operator that LiteRT does not know"
    return table, failed


def _measure(
    files: list[File], runner: HostRunner, sessions: int
) -> tuple[dict[str, list[SessionValue]], dict[str, str]]:
    probes = [
        Probe(subject=file.path.name, kernels=file.whole.kernels, build=file.path.read_bytes)
        for file in files
    ]
    paths = {file.path.name: file.path for file in files}
    measured: dict[str, list[SessionValue]] = defaultdict(list)
    failed: dict[str, str] = {}
    schedule = Schedule([], probes, sessions=sessions, seed=SEED)
    for task in (task for batch in schedule for task in batch.tasks):
        name = task.probe.subject
        if name in failed:
            continue
        try:
            session = runner.latencies(paths[name], runs=20, warmup=3)
        except ProfilerError as error:
            failed[name] = str(error)
            continue
        value = SessionValue(float(np.median(session.samples_ms)), session.disturbed)
        schedule.settle(task, value.ms, is_good=not is_disturbed(session))
        measured[name].append(value)
    return measured, failed


def _compare(file: File, model: LatencyModel, sessions: list[SessionValue]) -> dict[str, Any]:
    prediction = predict(file.path.name, file.network, model)
    assert prediction.latency is not None
    truth = median_ms(sessions)
    return {
        "file": file.path.name,
        "kernels": len(file.whole.kernels),
        "partitions": len(prediction.parts),
        "predicted_ms": round(prediction.latency.p50_ms, 4),
        "p95_ms": round(prediction.latency.p95_ms, 4),
        "measured_ms": round(truth, 4),
        "error": round(prediction.latency.p50_ms / truth - 1, 4),
        "is_under_p95": truth <= prediction.latency.p95_ms,
        "sessions_ms": [round(one.ms, 4) for one in sessions],
        "undisturbed_sessions": sum(not is_disturbed(one) for one in sessions),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    if not rows:
        return {"networks": 0}
    errors = np.array([row["error"] for row in rows])
    absolute = np.abs(errors)
    return {
        "networks": len(rows),
        "bias": round(float(np.median(errors)), 4),
        "median_error": round(float(np.median(absolute)), 4),
        "worst_error": round(float(absolute.max()), 4),
        "within_5_percent": round(float((absolute <= 0.05).mean()), 4),
        "within_10_percent": round(float((absolute <= 0.10).mean()), 4),
        "under_p95": round(float(np.mean([row["is_under_p95"] for row in rows])), 4),
    }


if __name__ == "__main__":
    main()
