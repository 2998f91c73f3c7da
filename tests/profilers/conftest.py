"""A space small enough to be profiled in seconds, and one profile of it by the real runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from latency_tables.table import LatencyTable
from latency_tables.target import Target
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.runner import LatencySession, OperatorSession
from profilers.settings import ProfileSettings
from toolchain.probe_networks import probe_networks
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SETTINGS = ProfileSettings(sessions=1, runs=4, warmup=1)


class CountingRunner:
    """Runs on this host and counts how often it was asked to; interrupts itself on request."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.calls = 0
        self._interrupt_after = interrupt_after
        self._host = HostRunner()

    @property
    def target(self) -> Target:
        return self._host.target

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


@pytest.fixture(scope="session")
def space() -> ShrinkCnnSpace:
    # Wide enough that its operators take many ticks of the runtime's microsecond clock.
    return ShrinkCnnSpace(
        nodes=3,
        input_shape=(1, 24, 24),
        stem_channels=16,
        scales=(1.0, 2.0),
        replicate=(1, 1),
        pools=(1, 2),
    )


@pytest.fixture(scope="session")
def pool(space: ShrinkCnnSpace) -> list[Probe]:
    return [
        Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
        for network in probe_networks(space, seed=1)
    ]


@pytest.fixture(scope="session")
def profiled(pool: list[Probe], tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    path = tmp_path_factory.mktemp("profiled") / "host.table"
    table = profile_table(pool, HostRunner(), path, SETTINGS, space="small", seed=3, resume=False)
    return Profiled(table=table, path=path)


@pytest.fixture(scope="session")
def network(pool: list[Probe], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Probe]:
    """The longest network of the space, as a file."""
    probe = max(pool, key=lambda probe: len(probe.kernels))
    path = tmp_path_factory.mktemp("network") / "network.tflite"
    path.write_bytes(probe.build())
    return path, probe
