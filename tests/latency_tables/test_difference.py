from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from latency_tables.difference import compare_tables
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.table import KernelLatency, LatencyTable

MakeTable = Callable[..., LatencyTable]


def row(ms: float) -> KernelLatency:
    return KernelLatency(median_ms=ms, iqr_ms=0.0, p95_ms=ms, samples=9, contexts=3)


def clamp(width: int) -> Kernel:
    return make_kernel("clamp", ((1, 4, 4, width),), (1, 4, 4, width))


def test_a_table_does_not_differ_from_itself(make_table: MakeTable) -> None:
    difference = compare_tables(make_table(), make_table())
    assert difference.targets == ()
    assert difference.largest == ()
    assert (difference.total.shared, difference.total.ratio) == (12, 1.0)
    assert "same target" in difference.summary()


def test_ratios_and_counts_are_told_by_kernel_family(make_table: MakeTable) -> None:
    first = make_table(4)
    second = replace(
        first,
        rows={
            **{kernel: row(1.1 * one.median_ms) for kernel, one in list(first.rows.items())[:3]},
            clamp(8): row(0.5),
        },
    )
    clamps, convs = compare_tables(first, second).families
    assert (clamps.kind, clamps.shared, clamps.only_before, clamps.only_after) == (
        "clamp",
        0,
        0,
        1,
    )
    assert clamps.ratio is None
    assert (convs.kind, convs.shared, convs.only_before, convs.only_after) == ("conv2d", 3, 1, 0)
    assert convs.ratio == pytest.approx(1.1)
    assert (convs.ratio_low, convs.ratio_high) == pytest.approx((1.1, 1.1))


def test_the_spread_of_ratios_is_that_of_the_middle_half(make_table: MakeTable) -> None:
    first = make_table(5)
    factors = (0.5, 0.9, 1.0, 1.2, 3.0)
    changed = zip(first.rows.items(), factors, strict=True)
    second = replace(first, rows={k: row(f * one.median_ms) for (k, one), f in changed})
    total = compare_tables(first, second).total
    assert (total.ratio, total.ratio_low, total.ratio_high) == pytest.approx((1.0, 0.9, 1.2))


def test_a_kernel_below_the_clock_has_no_ratio(make_table: MakeTable) -> None:
    table = replace(make_table(0), rows={clamp(8): row(0.0), clamp(16): row(0.002)})
    later = replace(table, rows={clamp(8): row(0.001), clamp(16): row(0.001)})
    total = compare_tables(table, later).total
    assert (total.shared, total.ratio) == (2, 0.5)


def test_the_changes_of_most_milliseconds_come_first(make_table: MakeTable) -> None:
    first = replace(
        make_table(0), rows={clamp(8): row(0.01), clamp(16): row(1.0), clamp(4): row(2)}
    )
    second = replace(first, rows={clamp(8): row(0.02), clamp(16): row(0.5), clamp(4): row(2.1)})
    difference = compare_tables(first, second, largest=2)
    assert [change.kernel for change in difference.largest] == [clamp(16), clamp(4)]
    assert "1.0000 -> 0.5000 ms  clamp 1x4x4x16" in difference.summary()


def test_other_targets_are_compared_and_named(make_table: MakeTable) -> None:
    first = make_table()
    second = replace(first, target=replace(first.target, threads=4))
    difference = compare_tables(first, second)
    assert difference.targets == ("threads is 1 against 4",)
    assert "other target: threads is 1 against 4" in difference.summary()


def test_a_difference_is_plain_json(make_table: MakeTable) -> None:
    told = compare_tables(make_table(3), make_table(4)).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["total"]["only_after"] == 1
