from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency_tables.errors import KernelMissing
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.table import LatencyTable

MakeTable = Callable[..., LatencyTable]


def wider(kernel: Kernel, channels: int) -> Kernel:
    return replace(kernel, inputs=((1, 8, 8, channels),))


def test_a_row_is_found_by_an_equal_kernel(make_table: MakeTable) -> None:
    table = make_table()
    kernel = next(iter(table))
    assert table[replace(kernel)] is table.rows[kernel]
    assert kernel in table
    assert len(table) == 12


def test_a_missing_kernel_is_an_error_that_names_the_nearest_rows(make_table: MakeTable) -> None:
    table = make_table()
    missing = wider(next(iter(table)), 23)
    assert missing not in table
    with pytest.raises(KernelMissing) as caught:
        _ = table[missing]
    message = str(caught.value)
    assert caught.value.missing == (missing.key,)
    nearest = [wider(missing, channels).key for channels in (24, 20, 28)]
    assert f"nearest: {'; '.join(nearest)}" in message
    assert str(table.target) in message
    assert "Profile" in message


def test_all_missing_kernels_are_counted_each_once(make_table: MakeTable) -> None:
    table = make_table()
    known = next(iter(table))
    absent = [wider(known, channels) for channels in (5, 6, 7)]
    with pytest.raises(KernelMissing, match="and 2 more") as caught:
        table.require([known, *absent, *absent, known])
    assert caught.value.missing == tuple(kernel.key for kernel in absent)
    table.require(table)


def test_another_dtype_or_activation_is_another_kernel(make_table: MakeTable) -> None:
    table = make_table()
    kernel = next(iter(table))
    for other in (replace(kernel, dtype="int8"), replace(kernel, activation="linear")):
        with pytest.raises(KernelMissing):
            table.require([other])


def test_an_empty_table_says_that_nothing_is_near(make_table: MakeTable) -> None:
    with pytest.raises(KernelMissing, match="nearest: none"):
        make_table(0).require([make_kernel("add", ((1, 2), (1, 2)), (1, 2))])


def test_the_summary_tells_target_kernels_and_calibration(make_table: MakeTable) -> None:
    lines = make_table().summary().splitlines()
    assert lines[0].startswith("12 kernels on Pixel 8 (Tensor G3), litert 2.3.0")
    assert lines[1].strip() == "12 conv2d"
    assert "40 networks" in lines[2]
    assert "median error 0.8%, worst 4.0%" in lines[2]
    assert len(make_table(calibrated=False).summary().splitlines()) == 2


def test_json_holds_all_but_the_rows(make_table: MakeTable) -> None:
    data = make_table().to_json()
    assert data["kernels"] == 12
    assert data["kinds"] == {"conv2d": 12}
    assert data["target"]["device"] == "Pixel 8"
    assert data["calibration"]["scale"] == 0.97
    assert make_table(calibrated=False).to_json()["calibration"] is None
