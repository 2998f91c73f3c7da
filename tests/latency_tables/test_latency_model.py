from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency_tables.errors import KernelMissing
from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable

MakeTable = Callable[..., LatencyTable]


def test_a_prediction_is_the_calibrated_sum_of_its_kernels(make_table: MakeTable) -> None:
    table = make_table()
    first, second, *_ = table
    latency = LatencyModel(table).predict([first, second, first])
    kernels_ms = 2 * table[first].median_ms + table[second].median_ms
    assert latency.p50_ms == pytest.approx(0.011 + 0.97 * kernels_ms + 3 * 0.0004)
    assert latency.p95_ms == pytest.approx(1.0625 * latency.p50_ms)
    assert latency.by_kernel_ms[0] == latency.by_kernel_ms[2] != latency.by_kernel_ms[1]
    assert sum(latency.by_kernel_ms) == pytest.approx(latency.p50_ms - 0.011)


def test_a_kernel_without_a_row_is_never_guessed(make_table: MakeTable) -> None:
    table = make_table()
    known = next(iter(table))
    unknown = replace(known, activation="linear")
    model = LatencyModel(table)
    for ask in (model.predict, model.require):
        with pytest.raises(KernelMissing, match="act=linear"):
            ask([known, unknown])


def test_a_table_of_kernels_alone_predicts_nothing(make_table: MakeTable) -> None:
    with pytest.raises(ValueError, match="no calibration"):
        LatencyModel(make_table(calibrated=False))
