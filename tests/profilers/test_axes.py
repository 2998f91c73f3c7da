"""Threads and precision are part of a target, and both are really measured on this host."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_profile import SETTINGS

from latency_tables.errors import TargetMismatch
from latency_tables.model import LatencyModel
from latency_tables.precision import network_in
from latency_tables.store import load_table, table_of
from latency_tables.table import LatencyTable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.profile import profile_table
from profilers.settings import ProfileSettings
from profilers.verify import verify
from toolchain.methods.candidate import Appraiser
from toolchain.probe_networks import probe_networks
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace

FEW = replace(SETTINGS, contexts=1, networks=8)


@pytest.fixture(scope="module")
def int8_pool(space: ShrinkCnnSpace) -> list[Probe]:
    return [
        Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
        for network in probe_networks(space, 1, "int8")
    ]


@pytest.fixture(scope="module")
def int8_table(int8_pool: list[Probe], tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    path = tmp_path_factory.mktemp("int8") / "int8.table"
    runner = HostRunner(precision="int8")
    profile_table(int8_pool, runner, path, FEW, space="small", seed=3, resume=False)
    return load_table(path)


@pytest.mark.parametrize(
    "space",
    [ShrinkCnnSpace(), SwiftNetSpace(nodes=(12, 12, 12)), ScaleNetSpace()],
    ids=lambda space: space.name,
)
def test_an_int8_file_runs_what_a_search_sees_and_conversions_before_concats(
    space: ShrinkCnnSpace | SwiftNetSpace | ScaleNetSpace,
) -> None:
    networks = probe_networks(space, 2, "int8")
    next(networks)  # The largest one.
    for network, _ in zip(networks, range(3), strict=False):
        ran = decompose(parse_network(network.build())).kernels
        seen, told = Counter(network.kernels), Counter(ran)
        assert not seen - told
        assert all((kernel.kind, kernel.dtype) == ("quantize", "int8") for kernel in told - seen)


def test_an_int8_profile_has_rows_in_int8(int8_table: LatencyTable) -> None:
    assert int8_table.target.precision == "int8"
    assert " int8, 1 thread(s)" in str(int8_table.target)
    dtypes = Counter(kernel.dtype for kernel in int8_table)
    assert dtypes["float32"] == 1  # quantize, of the image
    assert dtypes["int8"] > 10
    assert all(row.median_ms >= 0 for row in int8_table.rows.values())


def test_a_search_predicts_int8_networks_by_an_int8_table(
    space: ShrinkCnnSpace, int8_table: LatencyTable, tmp_path: Path
) -> None:
    appraiser = Appraiser(space=space, model=LatencyModel(int8_table))
    rng = np.random.default_rng(5)
    genotype = space.sample(rng)
    latency = appraiser.appraise(genotype).latency
    assert latency is not None
    kernels = network_in("int8", space.kernels(genotype))
    assert latency == LatencyModel(int8_table).predict(kernels)


def test_an_int8_table_is_verified_by_int8_files(
    int8_table: LatencyTable, int8_pool: list[Probe]
) -> None:
    with pytest.raises(TargetMismatch, match="precision is 'int8' against 'float32'"):
        verify(int8_table, int8_pool, HostRunner(), SETTINGS, seed=1)
    settings = ProfileSettings(sessions=1, runs=4, warmup=1)
    runner = HostRunner(precision="int8")
    report = verify(int8_table, int8_pool, runner, settings, seed=1)
    assert report.verdict in ("holds", "undecided", "drifted")
    assert report.disturbed < 1 or report.verdict == "undecided"


def test_two_threads_are_another_target(
    pool: list[Probe], profiled: object, int8_table: LatencyTable, tmp_path: Path
) -> None:
    path = tmp_path / "two.table"
    runner = HostRunner(threads=2)
    table = profile_table(pool, runner, path, FEW, space="small", seed=3, resume=False)
    assert (table.target.threads, table.target.clock) == (2, "wall")
    assert "2 thread(s)" in table.summary()
    assert table_of(runner.target, [int8_table, table]) is table
    with pytest.raises(TargetMismatch, match="none of the 2 tables is of host"):
        table_of(HostRunner().target, [int8_table, table])
    with pytest.raises(TargetMismatch, match="threads is 2 against 1; clock is 'wall'"):
        table_of(HostRunner().target, [table])


@pytest.mark.parametrize("precision", ["float16", "int4"])
def test_a_precision_that_this_host_does_not_run_is_refused(precision: str) -> None:
    with pytest.raises(ValueError, match=f"precision is '{precision}'; here it is float32 or"):
        HostRunner(precision=precision)
