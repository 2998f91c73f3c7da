"""This machine as a target: LiteRT through its C API, in this process.

Of all runs those are kept that the machine was undisturbed in (``steadiness.py``).
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from latency_tables.precision import FLOAT32, PRECISIONS
from latency_tables.target import Target
from profilers.litert import LiteRtModel, OperatorEvent, runtime_identity
from profilers.runner import LatencySession, OperatorSession, OperatorTimes
from profilers.steadiness import SteadyGate, faster_half

CPUINFO = Path("/proc/cpuinfo")
INPUT_SEED = 0


class HostRunner:
    """Runs networks in this process.

    Attributes:
        threads: threads the runtime is given. With one, latencies are the thread's CPU time,
            which other processes disturb least; with more, wall time.
        precision: element type of the networks that will be measured, for the record: a file
            says itself what it computes in.
    """

    def __init__(self, *, threads: int = 1, precision: str = FLOAT32) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; give at least 1")
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; here it is {' or '.join(PRECISIONS)}")
        self.threads = threads
        self.precision = precision
        self._gate = SteadyGate()

    @cached_property
    def target(self) -> Target:
        """This machine and its runtime."""
        runtime = runtime_identity()
        soc = cpu_model()
        return Target(
            device="host",
            fingerprint=f"{soc} x{os.cpu_count()}, {platform.system()} {platform.machine()}",
            soc=soc,
            abi=platform.machine(),
            runtime=runtime.name,
            runtime_version=runtime.version,
            runtime_sha256=runtime.sha256,
            precision=self.precision,
            threads=self.threads,
            cpu_mask=_cpu_mask(),
            clock="thread-cpu" if self.threads == 1 else "wall",
        )

    def prepare(self, paths: Sequence[Path]) -> None:
        """Nothing to do: the files are here."""

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        """Times of every operator; of each, the faster half of the undisturbed runs.

        The runtime times operators by the wall clock. Where they seem to take longer together
        than the CPU time of a run, other processes had the core for the rest: with one thread,
        all operators are then shortened in proportion.
        """
        with LiteRtModel(path, threads=self.threads, profile=True) as model:
            model.fill_inputs(INPUT_SEED)
            model.profile(1, warmup)
            gated = self._gate.take(lambda: _profiled(model), 2 * runs)
        samples = [
            faster_half([event.samples_ms[0] for event in events])
            for events in zip(*(run.operators for run in gated.runs), strict=True)
        ]
        share = 1.0
        if self.threads == 1:
            cpu_ms = faster_half([run.cpu_ms for run in gated.runs])
            share = min(1.0, fmean(cpu_ms) / max(sum(map(fmean, samples)), sys.float_info.min))
        times = tuple(
            OperatorTimes(name=event.name, samples_ms=tuple(share * ms for ms in times_ms))
            for event, times_ms in zip(gated.runs[0].operators, samples, strict=True)
        )
        return OperatorSession(operators=times, disturbed=gated.disturbed)

    def latencies(self, path: Path, *, runs: int, warmup: int) -> LatencySession:
        """End-to-end latencies: the faster half of the undisturbed runs."""
        with LiteRtModel(path, threads=self.threads) as model:
            model.fill_inputs(INPUT_SEED)
            model.time_runs(1, warmup)
            gated = self._gate.take(lambda: model.time_runs(1, 0).samples_ms[0], 2 * runs)
        kept_ms = faster_half(gated.runs)
        return LatencySession(samples_ms=kept_ms, runs=len(kept_ms), disturbed=gated.disturbed)

    def conditions(self) -> Mapping[str, str | float]:
        """Load average over a minute and the time."""
        return {
            "load": os.getloadavg()[0],
            "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


class _ProfiledRun(NamedTuple):
    """One run: its operators, and the CPU time of all of it, of the profiler too."""

    operators: tuple[OperatorEvent, ...]
    cpu_ms: float


def _profiled(model: LiteRtModel) -> _ProfiledRun:
    start = time.thread_time_ns()
    operators = model.profile(1, 0).operators
    return _ProfiledRun(operators, (time.thread_time_ns() - start) / 1e6)


def _cpu_mask() -> str:
    """The CPUs that this process may use, as ``taskset`` writes them; ``all`` if it is all."""
    usable = os.sched_getaffinity(0)
    if len(usable) == os.cpu_count():
        return "all"
    return f"{sum(1 << cpu for cpu in usable):x}"


def cpu_model() -> str:
    """The processor's name, as the kernel tells it."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware"):
            return value.strip()
    return platform.processor() or platform.machine()
