"""A runner that counts and interrupts, and what a profile of the tests' small space is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_tables.table import LatencyTable
from latency_tables.target import Target
from profilers.host import HostRunner
from profilers.runner import LatencySession, OperatorSession
from profilers.settings import ProfileSettings

SETTINGS = ProfileSettings(sessions=1, runs=4, warmup=1, networks=40)


class CountingRunner:
    """Runs on this host and counts how often it was asked to; interrupts itself on request."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.calls = 0
        self._interrupt_after = interrupt_after
        self._host = HostRunner()

    @property
    def target(self) -> Target:
        return self._host.target

    def prepare(self, paths: Sequence[Path]) -> None:
        self._host.prepare(paths)

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        self._count()
        return self._host.operators(path, runs=runs, warmup=warmup)

    def latencies(self, path: Path, *, runs: int, warmup: int) -> LatencySession:
        self._count()
        return self._host.latencies(path, runs=runs, warmup=warmup)

    def conditions(self) -> Mapping[str, str | float]:
        return self._host.conditions()

    def _count(self) -> None:
        if self.calls == self._interrupt_after:
            raise KeyboardInterrupt
        self.calls += 1


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """A table and what it was made with."""

    table: LatencyTable
    path: Path

    @property
    def journal(self) -> Path:
        return self.path.with_name(f"{self.path.name}.journal")
