from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from latency_tables.calibrate import MIN_NETWORKS
from latency_tables.errors import CalibrationFailed
from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel, make_kernel
from latency_tables.model import LatencyModel
from latency_tables.posterior import Prior, Regression, learn
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

KINDS = ("conv2d", "depthwise_conv2d", "add")
KERNELS = [
    make_kernel(KINDS[number % 3], ((1, 8, 8, number + 1),), (1, 8, 8, number + 1))
    for number in range(60)
]


class Device:
    """A made-up device whose kernels take other times in networks than their rows say.

    Attributes:
        table: its rows, each off by a few per cent; not calibrated.
    """

    def __init__(
        self, target: Target, seed: int, *, row_error: float = 0.04, noise: float = 0.01,
        drift: float = 0.0,
    ) -> None:  # fmt: skip
        self._rng = np.random.default_rng(seed)
        self._noise, self._drift = noise, drift
        true_ms = self._rng.uniform(0.005, 0.2, len(KERNELS))
        rows_ms = true_ms * np.exp(self._rng.normal(0, row_error, len(KERNELS)))
        self.true_ms = dict(zip(KERNELS, map(float, true_ms), strict=True))
        self.table = LatencyTable(
            target=target,
            rows={
                kernel: KernelLatency(
                    median_ms=float(ms), iqr_ms=0.0, p95_ms=float(ms), samples=60, contexts=6
                )
                for kernel, ms in zip(KERNELS, rows_ms, strict=True)
            },
        )

    def draw(self, length: int | None = None) -> tuple[Kernel, ...]:
        """A random network."""
        count = length or int(self._rng.integers(10, 50))
        return tuple(KERNELS[index] for index in self._rng.integers(len(KERNELS), size=count))

    def measure(self, networks: Sequence[tuple[Kernel, ...]]) -> list[MeasuredNetwork]:
        """Measure networks on one occasion, on which the device has one speed."""
        speed = math.exp(self._rng.normal(0, self._drift))
        return [
            MeasuredNetwork(
                subject=f"{hash(kernels)}",
                kernels=kernels,
                measured_ms=speed
                * (0.02 + 1.1 * sum(self.true_ms[kernel] for kernel in kernels))
                * math.exp(self._rng.normal(0, self._noise)),
            )
            for kernels in networks
        ]

    def learned(self, networks: int, drift: float = 0.0) -> LatencyTable:
        drawn = [self.draw() for _ in range(networks)]
        return learn(self.table, self.measure(drawn), drift=drift)


def test_networks_correct_the_rows_that_they_share(target: Target) -> None:
    device = Device(target, 1, noise=0.002)
    table = device.learned(150)
    model, rows = LatencyModel(table), LatencyModel(replace(table, evidence=None))
    fresh = device.measure([device.draw() for _ in range(200)])
    errors, errors_of_rows = (
        [abs(one.predict(n.kernels).p50_ms / n.measured_ms - 1) for n in fresh]
        for one in (model, rows)
    )
    assert np.median(errors) < 0.5 * np.median(errors_of_rows)
    by_kernel = model.predict(tuple(KERNELS)).by_kernel_ms
    expected = [1.1 * device.true_ms[kernel] for kernel in KERNELS]
    assert np.median(np.abs(np.divide(by_kernel, expected) - 1)) < 0.02


def test_the_stated_error_is_that_of_networks_never_seen(target: Target) -> None:
    device = Device(target, 2)
    table = device.learned(120)
    assert table.calibration is not None
    model = LatencyModel(table)
    fresh = device.measure([device.draw() for _ in range(400)])
    errors = [abs(model.predict(one.kernels).p50_ms / one.measured_ms - 1) for one in fresh]
    assert table.calibration.median_error == pytest.approx(np.median(errors), rel=0.3)
    assert table.calibration.worst_error < 2 * max(errors)
    assert table.calibration.networks == 120


def test_a_left_out_network_is_predicted_as_if_it_had_never_been_measured(
    target: Target,
) -> None:
    device = Device(target, 3)
    table = device.learned(20)
    assert table.calibration is not None
    networks = device.measure([device.draw() for _ in range(20)])
    prior = Prior(table.rows, table.calibration)
    errors_N, deviations_N = Regression(prior, networks).left_out(0.03, 0.01)
    for index, network in enumerate(networks):
        others = [*networks[:index], *networks[index + 1 :]]
        fit, alone = Regression(prior, others), Regression(prior, [network])
        with_all = Regression(prior, [*others, network]).covariance(0.03, 0.01)
        covariance_N = with_all[-1, :-1]
        expected = covariance_N @ np.linalg.solve(fit.covariance(0.03, 0.01), fit.errors_N)
        assert alone.errors_N[0] - expected == pytest.approx(errors_N[index])
        explained = covariance_N @ np.linalg.solve(fit.covariance(0.03, 0.01), covariance_N)
        assert math.sqrt(with_all[-1, -1] - explained) == pytest.approx(deviations_N[index])


@pytest.mark.parametrize(
    ("networks", "row_error", "noise"), [(40, 0.04, 0.01), (100, 0.04, 0.01), (100, 0.01, 0.03)]
)
def test_95_of_100_fresh_networks_stay_under_the_p95(
    target: Target, networks: int, row_error: float, noise: float
) -> None:
    covered = []
    for seed in range(25):
        device = Device(target, seed, row_error=row_error, noise=noise)
        model = LatencyModel(device.learned(networks))
        for one in device.measure([device.draw() for _ in range(60)]):
            covered.append(one.measured_ms <= model.predict(one.kernels).p95_ms)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_device_that_is_faster_or_slower_another_day_is_covered_too(target: Target) -> None:
    with_drift, without = [], []
    for seed in range(100):
        device = Device(target, seed, noise=0.005, drift=0.01)
        table = device.learned(40, drift=math.sqrt(2) * 0.01)
        assert table.evidence is not None
        models = [
            LatencyModel(table),
            LatencyModel(replace(table, evidence=replace(table.evidence, drift=0.0))),
        ]
        for one in device.measure([device.draw() for _ in range(25)]):
            drifting, still = (
                one.measured_ms <= model.predict(one.kernels).p95_ms for model in models
            )
            with_drift.append(drifting)
            without.append(still)
    # A hundred days tell the share to two or three per cent.
    assert 0.91 <= np.mean(with_drift) <= 0.98
    assert np.mean(without) < np.mean(with_drift) - 0.05


def test_a_network_unlike_those_measured_is_doubtful_until_it_is_measured(
    target: Target,
) -> None:
    device = Device(target, 5)
    stranger = make_kernel("concat", ((1, 8, 8, 4), (1, 8, 8, 4)), (1, 8, 8, 8))
    device.true_ms[stranger] = 0.3
    row = KernelLatency(median_ms=0.2, iqr_ms=0.0, p95_ms=0.2, samples=4, contexts=1)
    device.table = replace(device.table, rows={**device.table.rows, stranger: row})
    table = device.learned(60)
    model = LatencyModel(table)
    usual = [model.is_doubtful(model.predict(device.draw())) for _ in range(200)]
    assert np.mean(usual) < 0.05
    kernels = (*KERNELS[:10], stranger, stranger, stranger)
    latency = model.predict(kernels)
    assert model.is_doubtful(latency)
    assert table.evidence is not None
    (measured,) = device.measure([kernels])
    wiser = LatencyModel(learn(device.table, [*table.evidence.networks, measured], drift=0.0))
    after = wiser.predict(kernels)
    assert not wiser.is_doubtful(after)
    assert after.doubt < 0.5 * latency.doubt
    before = abs(latency.p50_ms / measured.measured_ms - 1)
    assert abs(after.p50_ms / measured.measured_ms - 1) < 0.2 * before
    # What was learned of the kernel holds in other networks.
    (other,) = device.measure([(*KERNELS[20:40], stranger)])
    assert wiser.predict(other.kernels).p50_ms == pytest.approx(other.measured_ms, rel=0.03)


def test_without_evidence_nothing_is_doubtful(target: Target) -> None:
    device = Device(target, 6)
    table = replace(device.learned(20), evidence=None)
    assert table.calibration is not None
    model = LatencyModel(table)
    latency = model.predict(tuple(KERNELS) * 20)
    assert latency.doubt == 0
    assert not model.is_doubtful(latency)
    assert latency.p95_ms == pytest.approx(table.calibration.p95_ratio * latency.p50_ms)


def test_evidence_about_a_kernel_without_a_row_is_passed_over(target: Target) -> None:
    table = Device(target, 7).learned(40)
    rows = {kernel: row for kernel, row in table.rows.items() if kernel != KERNELS[0]}
    model = LatencyModel(replace(table, rows=rows))
    assert model.predict(KERNELS[1:]).p50_ms > 0


def test_too_few_networks_are_refused(target: Target) -> None:
    device = Device(target, 8)
    with pytest.raises(CalibrationFailed, match="at least 8 networks"):
        device.learned(MIN_NETWORKS - 1)
    assert device.learned(MIN_NETWORKS).evidence is not None


def test_the_same_networks_teach_the_same_whatever_their_order(target: Target) -> None:
    device = Device(target, 9)
    networks = device.measure([device.draw() for _ in range(50)])
    one, other = learn(device.table, networks), learn(device.table, networks[::-1])
    kernels = device.draw()
    first, second = (LatencyModel(table).predict(kernels) for table in (one, other))
    assert first.p50_ms == pytest.approx(second.p50_ms, rel=1e-9)
    assert first.p95_ms == pytest.approx(second.p95_ms, rel=1e-9)


def test_the_order_of_rows_does_not_matter_to_the_last_digit(target: Target) -> None:
    device = Device(target, 10)
    networks = device.measure([device.draw() for _ in range(50)])
    turned = replace(device.table, rows=dict(reversed(list(device.table.rows.items()))))
    one, other = learn(device.table, networks), learn(turned, networks)
    assert one == other
    kernels = device.draw()
    assert LatencyModel(one).predict(kernels) == LatencyModel(other).predict(kernels)
