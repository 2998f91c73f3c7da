from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_tables.carry_over import carry_over, family_factors
from latency_tables.errors import NothingShared
from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.model import LatencyModel
from latency_tables.posterior import learn
from latency_tables.store import load_table, save_table
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

FACTORS = {"conv2d": 0.5, "depthwise_conv2d": 0.9, "concat": 1.4, "add": 0.7}
SCATTER = 0.05


def row_of(ms: float) -> KernelLatency:
    return KernelLatency(median_ms=ms, iqr_ms=0.01 * ms, p95_ms=ms, samples=60, contexts=6)


class Devices:
    """Two made-up devices; the second runs each family by a factor of its own, with scatter."""

    def __init__(self, target: Target, seed: int = 0, size: int = 30) -> None:
        rng = np.random.default_rng(seed)
        self.kernels = [
            make_kernel(kind, ((1, 4, 4, width),), (1, 4, 4, width))
            for kind in FACTORS
            for width in range(1, size + 1)
        ]
        self.other = LatencyTable(
            target=target,
            rows={kernel: row_of(float(rng.uniform(0.01, 0.2))) for kernel in self.kernels},
        )
        self.new_ms = {
            kernel: FACTORS[kernel.kind] * row.median_ms * math.exp(rng.normal(0, SCATTER))
            for kernel, row in self.other.rows.items()
        }
        self.target = replace(target, device="Pixel 9", threads=4)

    def measured(self, kernels: Sequence[Kernel]) -> dict[Kernel, KernelLatency]:
        return {kernel: row_of(self.new_ms[kernel]) for kernel in kernels}

    def of_kind(self, kind: str) -> list[Kernel]:
        return [kernel for kernel in self.kernels if kernel.kind == kind]

    def networks(self, count: int, seed: int) -> list[MeasuredNetwork]:
        rng = np.random.default_rng(seed)
        drawn = [
            tuple(self.kernels[index] for index in rng.integers(len(self.kernels), size=size))
            for size in rng.integers(10, 40, size=count)
        ]
        return [
            MeasuredNetwork(
                subject=f"n{number}",
                kernels=kernels,
                measured_ms=0.03 + sum(self.new_ms[kernel] for kernel in kernels),
            )
            for number, kernels in enumerate(drawn)
        ]


def test_each_family_is_carried_over_by_its_own_factor(target: Target) -> None:
    devices = Devices(target)
    shared = devices.kernels[::5]
    table = carry_over(devices.other, devices.measured(shared), devices.target)
    assert table.target == devices.target
    assert set(table) == set(devices.other)
    for kernel, row in table.rows.items():
        expected_ms = devices.new_ms[kernel]
        assert row.median_ms == pytest.approx(expected_ms, rel=5 * SCATTER)
    for kind, factor in FACTORS.items():
        assert family_factors(devices.other, devices.measured(shared))[1][kind].factor == (
            pytest.approx(factor, rel=0.05)
        )


def test_measured_rows_stay_measured_and_carried_ones_say_where_from(target: Target) -> None:
    devices = Devices(target)
    shared = devices.kernels[::4]
    measured = devices.measured(shared)
    table = carry_over(devices.other, measured, devices.target)
    for kernel in shared:
        assert table[kernel] == measured[kernel]
        assert table[kernel].is_measured
    carried = [row for kernel, row in table.rows.items() if kernel not in measured]
    assert not any(row.is_measured for row in carried)
    assert all(row.samples == 0 for row in carried)
    assert carried[0].origin.startswith("carried over from Pixel 8 (1 thread(s)), conv2d by 0.")
    spreads = [row.iqr_ms / 1.349 / row.median_ms for row in carried]
    assert np.median(spreads) == pytest.approx(SCATTER, rel=0.5)


def test_a_family_of_one_kernel_leans_on_all_and_one_unmeasured_does_all(
    target: Target,
) -> None:
    devices = Devices(target)
    conv, concat = devices.of_kind("conv2d"), devices.of_kind("concat")
    rare = devices.of_kind("add")[0]
    measured = devices.measured([*conv, rare])
    measured[rare] = row_of(8 * devices.other[rare].median_ms)  # a single kernel, far off
    whole, families = family_factors(devices.other, measured)
    assert whole.factor < families["add"].factor < 8
    assert families["conv2d"].factor == pytest.approx(0.5, rel=0.05)
    table = carry_over(devices.other, measured, devices.target)
    carried = table[concat[0]].median_ms / devices.other[concat[0]].median_ms
    assert carried == pytest.approx(whole.factor)


def test_networks_of_the_new_device_put_carried_rows_right(target: Target) -> None:
    devices = Devices(target, size=12)
    uncalibrated = carry_over(
        devices.other, devices.measured(devices.kernels[::4]), devices.target
    )
    fresh = devices.networks(200, seed=9)

    def error(networks: int) -> float:
        model = LatencyModel(learn(uncalibrated, devices.networks(networks, seed=5)))
        return float(
            np.median([abs(model.predict(n.kernels).p50_ms / n.measured_ms - 1) for n in fresh])
        )

    assert error(60) < 0.6 * error(10)
    assert error(10) < 0.03


def test_a_network_of_carried_kernels_is_doubted_more_than_one_of_measured_ones(
    target: Target,
) -> None:
    devices = Devices(target)
    shared = devices.kernels[::2]
    table = carry_over(devices.other, devices.measured(shared), devices.target)
    model = LatencyModel(learn(table, devices.networks(40, seed=2)))
    carried = [kernel for kernel in devices.kernels if kernel not in shared]
    doubts = [
        [model.predict([kernel] * 20).doubt for kernel in kernels] for kernels in (carried, shared)
    ]
    assert np.median(doubts[0]) > 1.2 * np.median(doubts[1])


def test_a_table_that_was_carried_over_says_so_and_is_read_back(
    target: Target, tmp_path: Path
) -> None:
    devices = Devices(target)
    carried = carry_over(devices.other, devices.measured(devices.kernels[::3]), devices.target)
    table = learn(carried, devices.networks(20, seed=1))
    save_table(table, tmp_path / "t")
    assert load_table(tmp_path / "t") == table
    assert "carried over from Pixel 8 (1 thread(s)), conv2d by 0." in table.summary()
    assert sum(table.to_json()["origins"].values()) == len(table)


def test_too_few_kernels_in_both_are_refused(target: Target) -> None:
    devices = Devices(target)
    other_precision = {
        replace(kernel, dtype="int8"): row
        for kernel, row in devices.measured(devices.kernels).items()
    }
    for measured, count in ((devices.measured(devices.kernels[:7]), 7), (other_precision, 0)):
        with pytest.raises(NothingShared, match=f"Pixel 8.* has {count}, and 8 are needed; take"):
            carry_over(devices.other, measured, devices.target)
