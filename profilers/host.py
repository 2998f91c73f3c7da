"""This machine as a target: LiteRT through its C API, in this process.

Of all runs those are kept that the machine was undisturbed in (``steadiness.py``).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from latency_tables.target import Target
from profilers.litert import LiteRtModel, runtime_identity
from profilers.runner import LatencySession, OperatorSession, OperatorTimes
from profilers.steadiness import SteadyGate, faster_half

CPUINFO = Path("/proc/cpuinfo")
INPUT_SEED = 0


class HostRunner:
    """Runs networks in this process.

    Attributes:
        threads: threads the runtime is given. With one, latencies are the thread's CPU time,
            which other processes disturb least; with more, wall time.
    """

    def __init__(self, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; give at least 1")
        self.threads = threads
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
            threads=self.threads,
            clock="thread-cpu" if self.threads == 1 else "wall",
        )

    def prepare(self, paths: Sequence[Path]) -> None:
        """Nothing to do: the files are here."""

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        """Times of every operator; of each, the faster half of the undisturbed runs."""
        with LiteRtModel(path, threads=self.threads, profile=True) as model:
            model.fill_inputs(INPUT_SEED)
            model.profile(1, warmup)
            gated = self._gate.take(lambda: model.profile(1, 0).operators, 2 * runs)
        times = tuple(
            OperatorTimes(
                name=events[0].name,
                samples_ms=faster_half([event.samples_ms[0] for event in events]),
            )
            for events in zip(*gated.runs, strict=True)
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
