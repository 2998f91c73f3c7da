from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_profile import SETTINGS, CountingRunner, Profiled

from latency_tables.errors import NothingShared
from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from profilers.errors import JournalMismatch
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.warm_start import warm_start

FEW = replace(SETTINGS, contexts=1, networks=8)


def test_another_target_is_profiled_by_a_few_networks(
    pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    """Two threads of this host are another target than one."""
    path = tmp_path / "two.table"
    table = warm_start(
        profiled.table, pool, HostRunner(threads=2), path, FEW,
        probes=1, space="small", seed=3, resume=False,
    )  # fmt: skip
    assert load_table(path) == table
    assert table.target.threads == 2
    assert set(table) == set(profiled.table)
    measured = [kernel for kernel, row in table.rows.items() if row.is_measured]
    assert 0 < len(measured) < len(table)
    assert all("carried over from host (1 thread(s))" in row.origin
               for row in table.rows.values() if not row.is_measured)  # fmt: skip
    assert LatencyModel(table).predict(pool[0].kernels).p50_ms > 0
    assert "carried_from" in table.settings


def test_a_resumed_warm_start_measures_nothing_twice(
    pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    def start(runner: CountingRunner, space: str = "small"):  # type: ignore[no-untyped-def]
        return warm_start(
            profiled.table, pool, runner, tmp_path / "t", FEW,
            probes=1, space=space, seed=3, resume=True,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        start(CountingRunner(interrupt_after=5))
    runner = CountingRunner()
    table = start(runner)
    again = CountingRunner()
    assert start(again) == table
    assert (runner.calls > 0, again.calls) == (True, 0)
    with pytest.raises(JournalMismatch, match="space"):
        start(CountingRunner(), "large")


def test_a_table_of_other_kernels_carries_nothing_over(
    pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    kernels = {replace(kernel, dtype="int8"): row for kernel, row in profiled.table.rows.items()}
    other = replace(profiled.table, rows=kernels, evidence=None, calibration=None)
    with pytest.raises(NothingShared, match="and 8 are needed; take a table of the same space"):
        warm_start(
            other, pool, HostRunner(), tmp_path / "t", FEW,
            probes=1, space="small", seed=3, resume=False,
        )  # fmt: skip
    assert not (tmp_path / "t").exists()
