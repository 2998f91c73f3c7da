from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_profile import Profiled

from latency_tables.errors import TargetMismatch
from latency_tables.table import LatencyTable
from profilers.drift import ALL_KERNELS, CANARY, MIN_NETWORKS
from profilers.errors import NothingToVerify
from profilers.host import HostRunner
from profilers.journal import Journal, JournalRow
from profilers.measure import measure
from profilers.probes import Probe
from profilers.settings import ProfileSettings
from profilers.verify import NETWORKS, choose_sample, compare, verify

SETTINGS = ProfileSettings(sessions=3, runs=4, warmup=1)


def scaled(table: LatencyTable, factor: float) -> LatencyTable:
    rows = {
        kernel: replace(row, median_ms=factor * row.median_ms)
        for kernel, row in table.rows.items()
    }
    return replace(table, rows=rows)


def many_networks(profiled: Profiled) -> tuple[LatencyTable, list[Probe]]:
    """170 networks of the table's first kernels but one, and a network with that one, first."""
    rare, *common = sorted(profiled.table, key=str)[: NETWORKS - 2]
    kernels = [(rare, common[0]), *((one, two) for one in common for two in common)]
    pool = [
        Probe(subject=f"network {number}", kernels=pair, build=lambda: b"")
        for number, pair in enumerate(kernels)
    ]
    return profiled.table, pool


@pytest.fixture(scope="module")
def measured(
    pool: list[Probe], profiled: Profiled, tmp_path_factory: pytest.TempPathFactory
) -> list[JournalRow]:
    """What a verification measures on this host; sessions count whatever disturbed them."""
    canary, *sample = choose_sample(profiled.table, pool, np.random.default_rng(0))
    path = tmp_path_factory.mktemp("verified") / "journal"
    with Journal.open(path, {}, resume=False) as journal:
        measure(sample, [canary], HostRunner(), journal, SETTINGS, seed=0)
        rows = list(journal.rows())
    return [replace(row, payload={**row.payload, "disturbed": 0.0}) for row in rows]


@pytest.mark.slow
def test_a_table_is_measured_again_on_its_device(pool: list[Probe], profiled: Profiled) -> None:
    seen: list[str] = []
    report = verify(
        profiled.table, pool, HostRunner(), SETTINGS, seed=1,
        on_progress=lambda done, total, subject: seen.append(subject),
    )  # fmt: skip
    assert report.verdict in ("holds", "drifted", "undecided")
    networks = len(set(seen) - {""})
    assert networks == min(NETWORKS + 1, len(pool))
    assert report.networks == round((1 - report.disturbed) * (networks - 1))


@pytest.mark.slow
def test_a_table_scaled_by_a_quarter_is_found_out(
    profiled: Profiled, measured: list[JournalRow]
) -> None:
    """The table is first brought to what was measured: this host may have changed in between."""
    found = compare(profiled.table, measured)
    today = scaled(profiled.table, found.checks[0].ratio)
    assert compare(today, measured).checks[0].holds
    for factor in (1.25, 1 / 1.25):
        report = compare(scaled(today, factor), measured)
        assert report.verdict == "drifted"
        assert report.checks[0].ratio == pytest.approx(1 / factor)


@pytest.mark.slow
def test_kernels_their_families_and_the_canary_are_checked(
    profiled: Profiled, measured: list[JournalRow]
) -> None:
    names = [check.name for check in compare(profiled.table, measured).checks]
    assert names[0] == ALL_KERNELS
    assert names[-1] == CANARY
    assert "conv2d" in names
    bare = replace(profiled.table, calibration=None)
    assert CANARY not in [check.name for check in compare(bare, measured).checks]


@pytest.mark.slow
def test_disturbed_sessions_say_nothing(profiled: Profiled, measured: list[JournalRow]) -> None:
    worse = [replace(row, payload={**row.payload, "disturbed": 0.9}) for row in measured]
    report = compare(profiled.table, worse)
    assert (report.verdict, report.networks, report.disturbed) == ("undecided", 0, 1.0)


def test_the_sample_is_random_and_holds_each_network_once(profiled: Profiled) -> None:
    table, pool = many_networks(profiled)
    samples = [
        [probe.subject for probe in choose_sample(table, pool, np.random.default_rng(seed))]
        for seed in (0, 0, 1)
    ]
    assert samples[0] == samples[1] != samples[2]
    for subjects in samples:
        assert len(set(subjects)) == len(subjects) == NETWORKS + 1


def test_every_kernel_is_as_likely_to_be_measured_however_rare(profiled: Profiled) -> None:
    """One network of 170 runs it: of samples drawn by network, one in 10 would hold it."""
    table, pool = many_networks(profiled)
    rare = pool[0].subject
    samples = [choose_sample(table, pool, np.random.default_rng(seed)) for seed in range(30)]
    assert all(rare in {probe.subject for probe in sample} for sample in samples)


def test_another_target_is_not_verified(pool: list[Probe], profiled: Profiled) -> None:
    other = replace(profiled.table, target=replace(profiled.table.target, runtime_version="1.0"))
    with pytest.raises(TargetMismatch, match="runtime_version"):
        verify(other, pool, HostRunner(), SETTINGS, seed=0)


def test_a_table_of_too_few_networks_kernels_is_refused(
    pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    network = pool[0]
    few = {kernel: profiled.table[kernel] for kernel in network.kernels}
    with pytest.raises(NothingToVerify, match=f"and {MIN_NETWORKS + 1} are needed"):
        verify(replace(profiled.table, rows=few), pool, HostRunner(), SETTINGS, seed=0)
