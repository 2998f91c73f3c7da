from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from latency_tables.kernel import Kernel, make_kernel
from latency_tables.table import KernelLatency, LatencyTable
from profilers.drift import (
    ALL_KERNELS,
    CANARY,
    FALSE_ALARMS,
    FAMILY_TOLERANCE,
    MIN_NETWORKS,
    TOLERANCE,
    DriftReport,
    judge,
)
from profilers.host import HostRunner
from profilers.journal import JournalRow
from profilers.verify import NETWORKS, compare

SESSIONS = 3
KERNELS = tuple(
    make_kernel(kind, ((1, 8, 8, width),), (1, 8, 8, width))
    for kind in ("add", "clamp", "mean", "multiply")
    for width in range(1, 11)
)

Shift = Callable[[Kernel], float]


def unshifted(kernel: Kernel) -> float:
    return 1.0


def report_of(checks: Any, disturbed: float = 0.0) -> DriftReport:
    return DriftReport(checks=checks, networks=16, kernels=40, disturbed=disturbed)


def made_up(rng: np.random.Generator, shift: Shift) -> DriftReport:
    """A table and a verification of it, with the noise that real ones have.

    Kernels of 5 us to 0.5 ms. A row is off by 2%, for the contexts it was measured in. A session
    is off by 1% as a whole, each of its kernels by 3%; 5% of the sessions are slowed by 15%
    without anyone noticing.
    """
    true_ms = dict(zip(KERNELS, np.exp(rng.uniform(-5.3, -0.7, len(KERNELS))), strict=True))
    rows = {
        kernel: KernelLatency(
            median_ms=ms * math.exp(rng.normal(0, 0.02)),
            iqr_ms=0,
            p95_ms=ms,
            samples=9,
            contexts=9,
        )
        for kernel, ms in true_ms.items()
    }
    table = LatencyTable(target=HostRunner().target, rows=rows)
    measured: list[JournalRow] = []
    for network in range(NETWORKS):
        kernels = [KERNELS[index] for index in rng.integers(len(KERNELS), size=15)]
        for session in range(SESSIONS):
            slowed = 1.15 if rng.random() < 0.05 else 1.0
            level = slowed * math.exp(rng.normal(0, 0.01))
            times = [
                level * shift(kernel) * true_ms[kernel] * math.exp(rng.normal(0, 0.03))
                for kernel in kernels
            ]
            payload = {
                "role": "probe",
                "kernels": [kernel.key for kernel in kernels],
                "operators_ms": times,
                "disturbed": 0.0,
            }
            measured.append(
                JournalRow(subject=f"probe {network}", session=session, payload=payload)
            )
    return compare(table, measured)


@pytest.mark.slow
def test_a_table_that_holds_is_called_drifted_in_less_than_one_case_of_a_hundred() -> None:
    rng = np.random.default_rng(0)
    verdicts = [made_up(rng, unshifted).verdict for _ in range(400)]
    assert verdicts.count("drifted") <= 400 * FALSE_ALARMS
    assert "undecided" not in verdicts


def test_the_error_rate_is_the_one_stated_at_the_edge_of_the_tolerance() -> None:
    """Where false alarms are most likely; 5,000 of them at 1% lie within 31 and 71 nearly always.

    Only one check is made, so that it has the whole level to itself.
    """
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(5000):
        ratios = (1 + TOLERANCE) * np.exp(rng.normal(0, 0.03, NETWORKS))
        (check,) = judge({ALL_KERNELS: ratios}, [])
        alarms += not check.holds
    assert 31 <= alarms <= 71


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.25, 1 / 1.25])
def test_a_device_that_changed_by_a_quarter_is_always_found_out(factor: float) -> None:
    rng = np.random.default_rng(2)
    assert {made_up(rng, lambda _: factor).verdict for _ in range(50)} == {"drifted"}


@pytest.mark.slow
def test_one_kernel_family_that_changed_is_named() -> None:
    rng = np.random.default_rng(3)

    def shift(kernel: Kernel) -> float:
        return 1.4 if kernel.kind == "clamp" else 1.0

    for _ in range(20):
        report = made_up(rng, shift)
        named = {check.name for check in report.checks if not check.holds}
        assert "clamp" in named
        assert named <= {"clamp", ALL_KERNELS}


def test_all_checks_share_one_level() -> None:
    ratios = np.exp(np.random.default_rng(4).normal(0, 0.03, NETWORKS))
    (alone,) = judge({ALL_KERNELS: ratios}, [])
    together = judge({ALL_KERNELS: ratios, "add": ratios}, ratios)
    assert [check.name for check in together] == [ALL_KERNELS, "add", CANARY]
    assert [check.tolerance for check in together] == [TOLERANCE, FAMILY_TOLERANCE, TOLERANCE]
    assert all(check.low < alone.low < alone.ratio < alone.high < check.high for check in together)


def test_a_canary_that_left_the_prediction_is_a_drift() -> None:
    steady = [1.0, 1.01, 0.99] * 3
    slow = [1.3 * ratio for ratio in steady]
    report = report_of(judge({ALL_KERNELS: steady}, slow, canary_tolerance=0.1))
    assert report.verdict == "drifted"
    assert report_of(judge({ALL_KERNELS: steady}, slow, canary_tolerance=0.4)).verdict == "holds"


def test_too_few_undisturbed_networks_decide_nothing() -> None:
    few = [2.0] * (MIN_NETWORKS - 1)
    report = report_of(judge({ALL_KERNELS: few}, [2.0] * 9), disturbed=0.8)
    assert report.verdict == "undecided"
    assert "80% of the networks; verify again when it is quieter" in report.summary()


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.2, "undecided"), (0.8, "drifted"), (2.5, "drifted")]
)
def test_a_busy_device_can_only_be_slower_and_not_endlessly(factor: float, verdict: str) -> None:
    ratios = [factor * one for one in (0.99, 1.0, 1.01)] * 3
    checks = judge({ALL_KERNELS: ratios}, [])
    assert report_of(checks, disturbed=0.5).verdict == verdict
    assert report_of(checks, disturbed=0.1).verdict == "drifted"


def test_a_drift_is_told_with_its_remedy_and_as_json() -> None:
    report = report_of(judge({ALL_KERNELS: [1.2, 1.21] * 5}, []))
    text = report.summary()
    assert "all kernels          1.205 times the table's" in text
    assert "DRIFTED (false alarms: at most 1%)" in text
    assert "pocketnas profile" in text
    told = report.to_json()
    assert json.loads(json.dumps(told)) == told
    assert (told["verdict"], told["false_alarms"]) == ("drifted", FALSE_ALARMS)
    assert told["checks"][0]["holds"] is False
