from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency_tables.errors import TableForeign, TablesDisagree, TargetMismatch
from latency_tables.merge import AGREEMENT, merge_tables
from latency_tables.table import KernelLatency, LatencyTable

MakeTable = Callable[..., LatencyTable]


def changed(table: LatencyTable, change: Callable[[KernelLatency], KernelLatency]) -> LatencyTable:
    return replace(table, rows={kernel: change(row) for kernel, row in table.rows.items()})


def test_a_merged_table_has_the_rows_of_both(make_table: MakeTable) -> None:
    long, short = make_table(12), make_table(5)
    assert merge_tables(short, long).rows == long.rows
    assert merge_tables(long, short).rows == long.rows


def test_other_targets_are_refused_by_field(make_table: MakeTable) -> None:
    first = make_table()
    second = replace(first, target=replace(first.target, threads=2, clock="wall"))
    with pytest.raises(TargetMismatch, match="threads is 1 against 2; clock is 'thread-cpu'"):
        merge_tables(first, second)


def test_no_calibration_outlives_the_rows_it_was_fitted_to(make_table: MakeTable) -> None:
    assert merge_tables(make_table(3), make_table(4)).calibration is None


@pytest.mark.parametrize("turned", [False, True])
def test_the_row_of_more_contexts_is_kept(make_table: MakeTable, turned: bool) -> None:
    few = make_table()
    many = changed(few, lambda row: replace(row, contexts=row.contexts + 1, iqr_ms=1.0))
    merged = merge_tables(many, few) if turned else merge_tables(few, many)
    assert merged.rows == many.rows


def test_of_as_many_contexts_the_narrower_row_is_kept(make_table: MakeTable) -> None:
    wide = make_table()
    narrow = changed(wide, lambda row: replace(row, iqr_ms=row.iqr_ms / 2))
    assert merge_tables(wide, narrow).rows == narrow.rows
    assert merge_tables(narrow, wide).rows == narrow.rows


@pytest.mark.parametrize("factor", [1 + AGREEMENT + 0.01, 1 / (1 + AGREEMENT + 0.01)])
def test_tables_of_a_device_in_two_states_do_not_mix(make_table: MakeTable, factor: float) -> None:
    first = make_table()
    second = changed(first, lambda row: replace(row, median_ms=factor * row.median_ms))
    with pytest.raises(TablesDisagree, match=r"12 kernels in both .* tables verify"):
        merge_tables(first, second)
    near = changed(first, lambda row: replace(row, median_ms=factor**0.8 * row.median_ms))
    assert len(merge_tables(first, near)) == len(first)


def test_tables_without_a_kernel_in_common_merge(make_table: MakeTable) -> None:
    first = make_table(4)
    kernels = list(make_table(8).rows.items())[4:]
    assert len(merge_tables(first, replace(first, rows=dict(kernels)))) == 8


def test_settings_that_differ_are_both_recorded_and_the_worse_noise(make_table: MakeTable) -> None:
    first = replace(make_table(), settings={"space": "a", "runs": 20, "drift": 0.01})
    second = replace(make_table(), settings={"space": "b", "runs": 20, "drift": 0.03, "seed": 2})
    assert merge_tables(first, second).settings == {
        "space": "a\nb", "runs": 20, "drift": 0.03, "seed": 2,
    }  # fmt: skip


def test_imported_tables_do_not_merge(make_table: MakeTable) -> None:
    imported = replace(make_table(), settings={"imported": "x.yaml of once-for-all"})
    with pytest.raises(TableForeign, match=r"x\.yaml of once-for-all"):
        merge_tables(make_table(), imported)
