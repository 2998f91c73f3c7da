from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small_profile import Profiled

from latency_tables.kernel import Kernel, make_kernel
from latency_tables.merge import merge_tables
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from profilers.errors import JournalInUse, JournalMismatch, JournalMissing
from profilers.host import HostRunner
from profilers.journal import Journal, read_journal
from profilers.recalibrate import journal_of, recalibrate

KERNELS = tuple(make_kernel("clamp", ((1, 4, 4, w),), (1, 4, 4, w)) for w in range(1, 25))


def made_up(path: Path, space: str, kernels: Sequence[Kernel], target: Target) -> LatencyTable:
    """A table and a journal of networks that take exactly 0.1 + 0.9 * sum + 0.02 * kernels ms."""
    rows = {
        kernel: KernelLatency(
            median_ms=0.1 * kernel.output[-1], iqr_ms=0, p95_ms=1, samples=9, contexts=3
        )
        for kernel in kernels
    }
    identity = {f"target.{name}": str(value) for name, value in target.to_json().items()}
    with Journal.open(
        journal_of(path), {**identity, "space": space, "seed": "1"}, resume=False
    ) as journal:
        for number in range(9):
            names = [*kernels[: number + 2], *kernels[number::3]]
            total_ms = sum(rows[kernel].median_ms for kernel in names)
            payload = {
                "role": "network",
                "kernels": [kernel.key for kernel in names],
                "median_ms": 0.1 + 0.9 * total_ms + 0.02 * len(names),
                "disturbed": 0.0,
            }
            journal.record(f"network {number}", 0, payload)
    return LatencyTable(target=target, rows=rows, settings={"space": space, "seed": 1, "runs": 4})


def test_the_fit_is_made_again_on_the_networks_of_both(tmp_path: Path) -> None:
    target = HostRunner().target
    one = made_up(tmp_path / "one", "a", KERNELS[:16], target)
    two = made_up(tmp_path / "two", "b", KERNELS[8:], target)
    merged = recalibrate(merge_tables(one, two), {tmp_path / "one": one, tmp_path / "two": two})
    fit = merged.calibration
    assert fit is not None
    assert fit.networks == 18
    assert (fit.overhead_ms, fit.scale, fit.per_kernel_ms) == pytest.approx((0.1, 0.9, 0.02))
    assert len(merged) == len(KERNELS)


def test_a_profile_merged_with_its_copy_is_calibrated_as_before(
    profiled: Profiled, tmp_path: Path
) -> None:
    """Each network counts once, though both journals have it."""
    copy = tmp_path / "copy.table"
    shutil.copy(journal_of(profiled.path), journal_of(copy))
    sources = {profiled.path: profiled.table, copy: profiled.table}
    merged = recalibrate(merge_tables(profiled.table, profiled.table), sources)
    assert merged == profiled.table


def test_without_a_journal_there_is_no_calibration(profiled: Profiled, tmp_path: Path) -> None:
    alone = tmp_path / "alone.table"
    with pytest.raises(JournalMissing, match=r"alone\.table\.journal; it is written beside"):
        recalibrate(profiled.table, {alone: profiled.table})


def test_the_journal_of_another_table_is_refused(profiled: Profiled, tmp_path: Path) -> None:
    other = replace(profiled.table, settings={**profiled.table.settings, "space": "wide"})
    with pytest.raises(JournalMismatch, match="space is 'small', the table's 'wide'"):
        recalibrate(other, {profiled.path: other})
    other = replace(profiled.table, target=replace(profiled.table.target, threads=2))
    with pytest.raises(JournalMismatch, match=r"target\.threads is '1', the table's '2'"):
        recalibrate(other, {profiled.path: other})


def test_a_journal_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal.open(path, {"space": "a"}, resume=False) as journal:
        journal.record("one", 0, {"ms": 1.0})
        with pytest.raises(JournalInUse):
            read_journal(path)
    identity, (row,) = read_journal(path)
    assert identity == {"space": "a"}
    assert (row.subject, row.session, row.payload) == ("one", 0, {"ms": 1.0})
