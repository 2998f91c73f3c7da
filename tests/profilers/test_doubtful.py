from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_profile import SETTINGS, CountingRunner, Profiled

from latency_tables.budget import Budget
from latency_tables.errors import TargetMismatch
from latency_tables.learning import LearningModel
from latency_tables.model import LatencyModel
from latency_tables.table import LatencyTable
from profilers.doubtful import network_meter
from profilers.errors import JournalMismatch
from profilers.probes import Probe
from toolchain.methods.candidate import Appraiser
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace


def doubting(table: LatencyTable) -> LatencyTable:
    """The table with most of its evidence forgotten and rows a third too slow: all is doubtful."""
    evidence = table.evidence
    assert evidence is not None
    rows = {
        kernel: replace(row, median_ms=4 / 3 * row.median_ms) for kernel, row in table.rows.items()
    }
    few = replace(evidence, networks=evidence.networks[:8], usual_doubt=0.0, row_error=0.2)
    return replace(table, rows=rows, evidence=few)


def test_a_search_measures_what_it_doubts_and_the_model_learns(
    space: ShrinkCnnSpace, pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    table = doubting(profiled.table)
    probes = {probe.subject: probe for probe in pool}
    assert table.evidence is not None
    known = {one.subject for one in table.evidence.networks}
    asked = [subject for subject in probes if subject not in known]
    runner = CountingRunner()
    with network_meter(
        tmp_path / "doubtful.journal", runner, lambda one: probes[one].build(), SETTINGS,
        target=table.target, space="small",
    ) as meter:  # fmt: skip
        model = LearningModel(table, meter, most=10)
        appraiser = Appraiser(space=space, model=model)
        latencies = {subject: appraiser.appraise(subject).latency for subject in asked}
    measured = {one.subject: one.measured_ms for one in model.learned}
    assert next(iter(measured)) == asked[0]  # with so little evidence everything is doubtful
    assert len(measured) <= 10
    assert runner.calls >= len(measured)
    stale = LatencyModel(table)
    for subject, measured_ms in measured.items():
        after = latencies[subject]
        assert after is not None
        before = stale.predict(probes[subject].kernels)
        assert abs(after.p50_ms / measured_ms - 1) < abs(before.p50_ms / measured_ms - 1) + 0.02
    # What was learned holds for networks that were not measured: rows a third too slow are put
    # right, as far as the true table's own predictions tell.
    true = LatencyModel(profiled.table)
    errors = [
        abs(model.predict(probe.kernels).p50_ms / true.predict(probe.kernels).p50_ms - 1)
        for probe in pool
    ]
    assert statistics.median(errors) < 0.1
    assert model.table.evidence is not None
    assert len(model.table.evidence.networks) == 8 + len(measured)


def test_a_resumed_search_gets_the_same_answers_without_measuring(
    pool: list[Probe], profiled: Profiled, tmp_path: Path
) -> None:
    probes = {probe.subject: probe for probe in pool}
    asked = list(probes)[-3:]
    answers, calls = [], []
    for _ in range(2):
        runner = CountingRunner()
        with network_meter(
            tmp_path / "doubtful.journal", runner, lambda one: probes[one].build(), SETTINGS,
            target=profiled.table.target, space="small",
        ) as meter:  # fmt: skip
            answers.append([meter(subject, probes[subject].kernels) for subject in asked])
        calls.append(runner.calls)
    assert answers[0] == answers[1]
    assert calls[0] >= 3
    assert calls[1] == 0


def test_only_what_may_be_within_the_budget_is_measured_and_only_when_first_met(
    pool: list[Probe], profiled: Profiled
) -> None:
    table = doubting(profiled.table)
    stale = LatencyModel(table)
    asked: list[str] = []

    def measure(subject: str, kernels: object) -> float:
        asked.append(subject)
        return stale.predict(kernels_of[subject]).p50_ms

    kernels_of = {probe.subject: probe.kernels for probe in pool}
    subject = next(iter(kernels_of))
    p50_ms = stale.predict(kernels_of[subject]).p50_ms
    for limit_ms, expected in ((p50_ms / 10, []), (p50_ms, [subject])):
        asked.clear()
        model = LearningModel(table, measure, budget=Budget(limit_ms=limit_ms))
        for _ in range(2):
            model.predict_network(subject, kernels_of[subject])
        assert asked == expected


def test_a_device_that_is_not_the_tables_measures_nothing(
    profiled: Profiled, tmp_path: Path
) -> None:
    other = replace(profiled.table.target, device="Pixel 8")
    with (
        pytest.raises(TargetMismatch, match="device is 'Pixel 8'"),
        network_meter(
            tmp_path / "j", CountingRunner(), lambda _: b"", SETTINGS, target=other, space="small"
        ),
    ):
        pass
    assert not (tmp_path / "j").exists()


def test_a_journal_of_another_space_is_not_gone_on_with(
    profiled: Profiled, tmp_path: Path
) -> None:
    def opened(space: str):  # type: ignore[no-untyped-def]
        return network_meter(
            tmp_path / "j", CountingRunner(), lambda _: b"", SETTINGS,
            target=profiled.table.target, space=space,
        )  # fmt: skip

    with opened("small"):
        pass
    with pytest.raises(JournalMismatch, match="space"), opened("large"):
        pass


def test_a_table_without_evidence_cannot_doubt(profiled: Profiled) -> None:
    with pytest.raises(ValueError, match="before tables kept what they were calibrated on"):
        LearningModel(replace(profiled.table, evidence=None), lambda *_: 1.0)


def test_what_is_not_doubtful_is_not_measured(pool: list[Probe], profiled: Profiled) -> None:
    def measure(*_: object) -> float:
        raise AssertionError("nothing is doubtful")

    evidence = profiled.table.evidence
    assert evidence is not None
    sure = replace(profiled.table, evidence=replace(evidence, usual_doubt=np.inf))
    model = LearningModel(sure, measure)
    for probe in pool[:20]:
        assert model.predict_network(probe.subject, probe.kernels) == model.predict(probe.kernels)
