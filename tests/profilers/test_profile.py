from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from small_profile import SETTINGS, CountingRunner, Profiled

from latency_tables.calibrate import MIN_NETWORKS
from latency_tables.errors import CalibrationFailed, TargetMismatch
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from latency_tables.table import LatencyTable
from latency_tables.target import Target
from profilers.errors import JournalExists, JournalMismatch, OperatorsDiffer
from profilers.journal import Journal, JournalRow
from profilers.journal_table import build_table
from profilers.measure import measure
from profilers.probes import Probe, choose_probes
from profilers.profile import (
    calibration_networks,
    measure_missing,
    profile_table,
)
from profilers.schedule import ROUNDS_PER_SESSION
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import space_kernels

WIDE, NARROW = (make_kernel("clamp", ((1, 4, 4, width),), (1, 4, 4, width)) for width in (64, 4))
RECORDED: dict[str, str | int | float] = asdict(SETTINGS)


def profile_again(
    pool: list[Probe], runner: CountingRunner, path: Path, **changes: Any
) -> LatencyTable:
    arguments: dict[str, Any] = {"space": "small", "seed": 3, "resume": True, **changes}
    settings = arguments.pop("settings", SETTINGS)
    return profile_table(pool, runner, path, settings, **arguments)


def journal_rows(path: Path) -> list[JournalRow]:
    journal = path.with_name(f"{path.name}.journal")
    with Journal.open(journal, stored_identity(journal), resume=True) as opened:
        return list(opened.rows())


def stored_identity(journal: Path) -> dict[str, str]:
    connection = sqlite3.connect(journal)
    try:
        return dict(connection.execute("SELECT field, value FROM identity"))
    finally:
        connection.close()


def test_a_profile_has_a_row_for_every_kernel_of_the_space_and_no_other(
    space: ShrinkCnnSpace, profiled: Profiled
) -> None:
    assert set(profiled.table) == space_kernels(space)
    for kernel in profiled.table:
        row = profiled.table[kernel]
        # The runtime's clock has whole microseconds: the shortest operators read 0.
        assert 0 <= row.median_ms <= row.p95_ms
        assert row.contexts >= 1
        assert row.samples == SETTINGS.runs * row.contexts


def test_a_profile_is_calibrated_and_says_how_it_was_taken(profiled: Profiled) -> None:
    settings = profiled.table.settings
    assert settings["space"] == "small"
    assert {name: settings[name] for name in RECORDED} == RECORDED
    assert 0 <= float(settings["disturbed"]) <= 1
    assert profiled.table.calibration is not None
    assert profiled.table.calibration.networks >= MIN_NETWORKS
    assert profiled.table.target.device == "host"


def test_a_longer_network_of_the_space_is_predicted_slower(
    pool: list[Probe], profiled: Profiled
) -> None:
    model = LatencyModel(profiled.table)
    networks = sorted(pool, key=lambda probe: len(probe.kernels))
    assert (
        0 < model.predict(networks[0].kernels).p50_ms < model.predict(networks[-1].kernels).p50_ms
    )


def test_the_file_holds_the_table_that_was_returned(profiled: Profiled) -> None:
    assert load_table(profiled.path) == profiled.table


def test_every_probe_and_network_is_in_the_journal_with_what_it_ran(
    pool: list[Probe], profiled: Profiled
) -> None:
    kernels = {probe.subject: [kernel.key for kernel in probe.kernels] for probe in pool}
    rows = journal_rows(profiled.path)
    for row in rows:
        role, _, subject = row.subject.partition(" ")
        assert row.payload["role"] == role
        assert row.payload["kernels"] == kernels[subject]
        assert row.payload["taken_at"]
    probes = choose_probes(pool, 3)
    assert {row.subject for row in rows if row.payload["role"] == "probe"} == {
        f"probe {probe.subject}" for probe in probes
    }


def test_the_same_journal_gives_the_same_table_without_measuring(
    pool: list[Probe], profiled: Profiled
) -> None:
    before = journal_rows(profiled.path)
    runner = CountingRunner()
    assert profile_again(pool, runner, profiled.path) == profiled.table
    assert runner.calls == 0
    assert journal_rows(profiled.path) == before
    recorded = {"space": "small", "seed": 3, **RECORDED}
    assert build_table(before, runner.target, recorded) == profiled.table


def test_an_existing_journal_needs_resume(pool: list[Probe], profiled: Profiled) -> None:
    runner = CountingRunner()
    with pytest.raises(JournalExists, match="resume it with --resume, or give another path"):
        profile_again(pool, runner, profiled.path, resume=False)
    assert runner.calls == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": replace(SETTINGS, runs=5)}, "settings.runs was '4', now '5'"),
        ({"settings": replace(SETTINGS, sessions=2)}, "settings.sessions was '1', now '2'"),
        ({"space": "large"}, "space was 'small', now 'large'"),
        ({"seed": 4}, "seed was '3', now '4'"),
    ],
)
def test_another_profile_does_not_go_on_with_the_journal(
    pool: list[Probe], profiled: Profiled, change: dict[str, Any], message: str
) -> None:
    runner = CountingRunner()
    with pytest.raises(JournalMismatch, match=message):
        profile_again(pool, runner, profiled.path, **change)
    assert runner.calls == 0
    assert load_table(profiled.path) == profiled.table


@pytest.mark.parametrize("interrupt_after", [1, 6])
def test_interrupted_measuring_goes_on_where_it_was(
    pool: list[Probe], tmp_path: Path, interrupt_after: int
) -> None:
    def measure_with(runner: CountingRunner, *, resume: bool) -> list[JournalRow]:
        with Journal.open(tmp_path / "journal", {}, resume=resume) as journal:
            try:
                measure(pool[:4], pool[4:7], runner, journal, SETTINGS, seed=3)
            except KeyboardInterrupt:
                assert runner.calls == interrupt_after
            return list(journal.rows())

    before = measure_with(CountingRunner(interrupt_after), resume=False)
    assert len(before) == interrupt_after
    runner = CountingRunner()
    after = measure_with(runner, resume=True)
    assert after[:interrupt_after] == before
    assert len(after) == interrupt_after + runner.calls
    assert max(Counter((row.subject, row.session) for row in after).values()) == 1
    assert {row.subject for row in after if row.payload["role"] != "canary"} == {
        *(f"probe {probe.subject}" for probe in pool[:4]),
        *(f"network {probe.subject}" for probe in pool[4:7]),
    }


def test_progress_ends_at_the_total(pool: list[Probe], profiled: Profiled) -> None:
    seen: list[tuple[int, int, str]] = []
    profile_again(
        pool, CountingRunner(), profiled.path, on_progress=lambda *news: seen.append(news)
    )
    probes = choose_probes(pool, SETTINGS.contexts)
    total = len(probes) + len(calibration_networks(pool, probes, SETTINGS.networks))
    assert {news[1] for news in seen} == {total}
    assert [news[0] for news in seen] == sorted(news[0] for news in seen)
    assert seen[-1] == (total, total, "")


def test_operators_that_differ_from_the_plan_end_the_profile_and_are_not_recorded(
    pool: list[Probe], tmp_path: Path
) -> None:
    probe = max(pool, key=lambda probe: len(probe.kernels))
    wrong = replace(probe, kernels=(WIDE, *probe.kernels[1:]))
    runner = CountingRunner()
    with Journal.open(tmp_path / "journal", {}, resume=False) as journal:
        with pytest.raises(OperatorsDiffer, match=r"operator 0: planned was clamp 1x4x4x64"):
            measure([wrong], [], runner, journal, SETTINGS, seed=0)
        assert journal.count() == 0


def make_pool(count: int) -> list[Probe]:
    return [Probe(subject=f"net{index}", kernels=(WIDE,), build=bytes) for index in range(count)]


def test_networks_that_calibrate_are_not_the_probes() -> None:
    pool = make_pool(130)
    networks = calibration_networks(pool, pool[:10], 100)
    assert networks == pool[-100:]
    assert calibration_networks(pool[:20], pool[:10], 100) == pool[10:20]
    assert calibration_networks(pool, pool[:10], 1) == pool[-MIN_NETWORKS:]


def test_in_a_small_space_probes_calibrate_too() -> None:
    pool = make_pool(MIN_NETWORKS + 2)
    assert calibration_networks(pool, pool[:3], 100) == pool


def test_a_space_too_small_to_calibrate_is_refused_before_anything_is_measured(
    pool: list[Probe], tmp_path: Path
) -> None:
    runner = CountingRunner()
    with pytest.raises(CalibrationFailed, match=r"has 7 networks.*at least 8; widen the space"):
        profile_again(pool[:7], runner, tmp_path / "host.table", resume=False)
    assert runner.calls == 0
    assert list(tmp_path.iterdir()) == []


def probe_row(session: int, disturbed: float, *times_ms: float) -> JournalRow:
    """A session of a network that runs a wide and a narrow kernel."""
    payload = {
        "role": "probe",
        "kernels": [WIDE.key, NARROW.key],
        "operators_ms": list(times_ms),
        "disturbed": disturbed,
    }
    return JournalRow(subject="probe net", session=session, payload=payload)


def network_rows(disturbed: float = 0.0) -> list[JournalRow]:
    """Networks of 1 to 10 wide and as many narrow kernels, whose latencies add up."""
    return [
        JournalRow(
            subject=f"network net{wide}.{narrow}",
            session=0,
            payload={
                "role": "network",
                "kernels": [WIDE.key] * wide + [NARROW.key] * narrow,
                "median_ms": 0.05 + 2.0 * wide + 0.5 * narrow + 0.01 * (wide + narrow),
                "disturbed": disturbed,
            },
        )
        for wide in range(1, 5)
        for narrow in range(1, 5)
    ]


def canary_rows(*times_ms: float) -> list[JournalRow]:
    return [
        JournalRow(
            subject="canary net",
            session=session,
            payload={"role": "canary", "kernels": [WIDE.key], "median_ms": ms, "disturbed": 0.0},
        )
        for session, ms in enumerate(times_ms)
    ]


def build(target: Target, rows: list[JournalRow]) -> LatencyTable:
    return build_table(rows, target, RECORDED)


@pytest.fixture
def target(profiled: Profiled) -> Target:
    return profiled.table.target


def test_a_row_is_the_median_over_undisturbed_sessions(target: Target) -> None:
    probes = [
        probe_row(0, 0.9, 9.0, 9.0),
        probe_row(1, 0.0, 2.0, 0.5),
        probe_row(2, 0.1, 2.2, 0.7),
        probe_row(3, 1.0, 0.1, 0.1),
    ]
    table = build(target, [*probes, *network_rows()])
    assert table[WIDE].median_ms == pytest.approx(2.1)
    assert table[NARROW].median_ms == pytest.approx(0.6)
    assert table[WIDE].contexts == 2


def test_a_latency_that_adds_up_is_calibrated_exactly(target: Target) -> None:
    table = build(target, [probe_row(0, 0.0, 2.0, 0.5), *network_rows()])
    fit = table.calibration
    assert fit is not None
    assert (fit.overhead_ms, fit.scale, fit.per_kernel_ms) == (
        pytest.approx(0.05, abs=1e-6),
        pytest.approx(1.0, abs=1e-6),
        pytest.approx(0.01, abs=1e-6),
    )
    assert fit.worst_error < 1e-6


def test_a_quiet_profile_gives_no_warning(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [probe_row(0, 0.0, 2.0, 0.5), *network_rows(), *canary_rows(1.0, 1.01, 0.99)]
    table = build(target, rows)
    assert caplog.records == []
    assert table.settings["disturbed"] == 0
    assert 0 < float(table.settings["drift"]) < 0.02


@pytest.mark.parametrize(
    ("disturbed", "canary_ms", "message"),
    [
        (1.0, (1.0, 1.0), "every session of 89% of the kernels and networks"),
        (0.0, (1.0, 1.5, 1.0, 1.5), "canary network varied by 40%"),
    ],
)
def test_a_busy_or_drifting_machine_is_warned_of(
    target: Target,
    caplog: pytest.LogCaptureFixture,
    disturbed: float,
    canary_ms: tuple[float, ...],
    message: str,
) -> None:
    rows = [probe_row(0, 0.0, 2.0, 0.5), *network_rows(disturbed), *canary_rows(*canary_ms)]
    build(target, rows)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert message in record.getMessage()
    assert "quieter" in record.getMessage()


def without(table: LatencyTable, lacking: set[Kernel]) -> LatencyTable:
    rows = {kernel: row for kernel, row in table.rows.items() if kernel not in lacking}
    return replace(table, rows=rows)


def test_missing_kernels_are_measured_and_nothing_else_changes(
    pool: list[Probe], profiled: Profiled
) -> None:
    rarest = Counter(kernel for probe in pool for kernel in set(probe.kernels)).most_common()[-2:]
    lacking = {kernel for kernel, _ in rarest}
    table = without(profiled.table, lacking)
    runner = CountingRunner()
    completed = measure_missing(table, pool, runner, SETTINGS)
    assert set(completed) == set(profiled.table)
    assert without(completed, lacking) == table
    assert all(completed[kernel].samples > 0 for kernel in lacking)
    lacking_probes = [probe for probe in pool if lacking & set(probe.kernels)]
    probes = choose_probes(lacking_probes, 3)
    assert len(probes) <= runner.calls <= len(probes) * ROUNDS_PER_SESSION


def test_a_complete_table_needs_no_measuring(pool: list[Probe], profiled: Profiled) -> None:
    runner = CountingRunner()
    assert measure_missing(profiled.table, pool, runner, SETTINGS) == profiled.table
    assert runner.calls == 0


def test_a_table_of_another_target_is_not_added_to(pool: list[Probe], profiled: Profiled) -> None:
    other = replace(profiled.table.target, device="Pixel 8", threads=4)
    runner = CountingRunner()
    with pytest.raises(TargetMismatch, match=r"device is 'Pixel 8' against 'host'; threads is 4"):
        measure_missing(replace(profiled.table, target=other), pool, runner, SETTINGS)
    assert runner.calls == 0


def test_networks_disturbed_in_every_session_do_not_calibrate(target: Target) -> None:
    rows = [probe_row(0, 0.0, 2.0, 0.5), *network_rows()]
    slowed = [
        replace(row, session=1, subject=f"{row.subject} slowed") for row in network_rows(1.0)
    ]
    for row in slowed[:8]:
        payload = {**row.payload, "median_ms": 1.5 * row.payload["median_ms"]}
        rows.append(replace(row, payload=payload))
    fit = build(target, rows).calibration
    assert fit is not None
    assert fit.networks == len(network_rows())
    assert fit.worst_error < 1e-6


def test_sessions_of_a_batch_that_drifted_count_as_disturbed(target: Target) -> None:
    def with_batch(row: JournalRow, batch: int) -> JournalRow:
        return replace(row, payload={**row.payload, "batch": batch})

    drifting = canary_rows(1.0, 1.2, 1.2)  # rose over batch 0, stayed over batch 1
    slow, fast = probe_row(0, 0.0, 3.0, 0.9), probe_row(1, 0.0, 2.0, 0.5)
    rows = [with_batch(slow, 0), with_batch(fast, 1), *network_rows(), *drifting]
    table = build_table(rows, target, RECORDED)
    assert table[WIDE].median_ms == 2.0
    assert table[NARROW].median_ms == 0.5
    steady = build_table([*rows[:-3], *canary_rows(1.0, 1.0, 1.0)], target, RECORDED)
    assert steady[WIDE].median_ms == 2.5
