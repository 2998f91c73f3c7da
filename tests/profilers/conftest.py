"""A space small enough to be profiled in seconds, and one profile of it by the real runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_profile import SETTINGS, Profiled

from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from toolchain.probe_networks import probe_networks
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace


@pytest.fixture(scope="session")
def space() -> ShrinkCnnSpace:
    # Wide enough that its operators take many ticks of the runtime's microsecond clock.
    return ShrinkCnnSpace(
        nodes=3,
        input_shape=(1, 24, 24),
        stem_channels=16,
        scales=(1.0, 2.0),
        base_width=32,
        replicate=(2, 2),
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
