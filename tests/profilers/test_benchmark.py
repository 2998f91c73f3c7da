from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small_profile import Profiled

from latency_tables.budget import Budget, Latency
from latency_tables.errors import KernelMissing, TargetMismatch
from latency_tables.kernel import make_kernel
from latency_tables.measurement import Measurement
from latency_tables.model import LatencyModel
from latency_tables.target import Target
from profilers.benchmark import BenchmarkReport, benchmark, benchmark_settings
from profilers.errors import ModelRejected, OperatorsDiffer
from profilers.host import HostRunner
from profilers.probes import Probe
from profilers.runner import LatencySession, OperatorSession, OperatorTimes
from profilers.schedule import ROUNDS_PER_SESSION
from profilers.settings import ProfileSettings
from profilers.xnnpack import kernel_kinds

SETTINGS = ProfileSettings(sessions=2, runs=4, warmup=1)


@pytest.fixture
def target(profiled: Profiled) -> Target:
    return profiled.table.target


@pytest.fixture(scope="module")
def report(profiled: Profiled, network: tuple[Path, Probe]) -> BenchmarkReport:
    path, probe = network
    return benchmark(
        path,
        HostRunner(),
        settings=SETTINGS,
        kernels=probe.kernels,
        model=LatencyModel(profiled.table),
        budget=Budget(limit_ms=1e3),
    )


def test_a_report_compares_every_kernel_in_order(
    report: BenchmarkReport, profiled: Profiled, network: tuple[Path, Probe]
) -> None:
    assert [one.kernel for one in report.kernels] == [str(one) for one in network[1].kernels]
    for compared, kernel in zip(report.kernels, network[1].kernels, strict=True):
        assert kernel.kind in kernel_kinds(compared.name)
        assert compared.predicted_ms == profiled.table[kernel].median_ms
        assert compared.measured_ms >= 0


def test_a_report_compares_the_whole_network(
    report: BenchmarkReport, profiled: Profiled, network: tuple[Path, Probe]
) -> None:
    assert report.file == report.measurement.subject == "network.tflite"
    assert report.measurement.target == profiled.table.target
    assert report.predicted == LatencyModel(profiled.table).predict(network[1].kernels)
    low, high = report.interval_ms
    medians = [sorted(one)[len(one) // 2] for one in report.measurement.sessions_ms]
    assert low <= max(medians)
    assert high >= min(medians)
    assert 0 <= float(report.measurement.conditions["disturbed"]) <= 1


def test_a_report_is_plain_json(report: BenchmarkReport) -> None:
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["verdict"] == "met"
    assert data["measured_ms"] == report.measurement.median_ms
    assert data["predicted_p50_ms"] > 0
    assert len(data["kernels"]) == len(report.kernels)
    assert data["sessions"] == len(data["session_medians_ms"]) >= 2


def test_a_file_is_measured_without_knowing_its_kernels_or_a_table(
    network: tuple[Path, Probe],
) -> None:
    report = benchmark(network[0], HostRunner(), settings=SETTINGS)
    assert report.predicted is report.relative_error is report.verdict is report.is_certain is None
    assert len(report.kernels) == len(network[1].kernels)
    assert {(one.kernel, one.predicted_ms) for one in report.kernels} == {(None, None)}
    assert "predicted" not in report.summary()
    assert "budget" not in report.summary()
    assert report.to_json()["verdict"] is None


def test_what_a_file_runs_is_worked_out_where_it_is_not_told(
    profiled: Profiled, network: tuple[Path, Probe]
) -> None:
    model = LatencyModel(profiled.table)
    told = benchmark(network[0], HostRunner(), settings=SETTINGS, model=model)
    assert told.predicted is not None
    assert told.predicted.p50_ms == pytest.approx(model.predict(network[1].kernels).p50_ms)
    assert "not predicted" not in told.summary()
    lacking = replace(
        profiled.table,
        rows={k: row for k, row in profiled.table.rows.items() if k != network[1].kernels[3]},
    )
    untold = benchmark(network[0], HostRunner(), settings=SETTINGS, model=LatencyModel(lacking))
    assert untold.predicted is None
    assert "not predicted: the table lacks kernels (1 kinds)" in untold.summary()
    assert "--measure-missing" in untold.to_json()["unpredicted"]


def test_a_table_of_another_target_is_refused_before_measuring(
    profiled: Profiled, network: tuple[Path, Probe], target: Target
) -> None:
    table = replace(profiled.table, target=replace(target, device="Pixel 8"))
    runner = ScriptedRunner(target, [])
    with pytest.raises(TargetMismatch, match="device is 'Pixel 8' against 'host'"):
        benchmark(network[0], runner, settings=SETTINGS, model=LatencyModel(table))


def test_a_kernel_that_the_table_lacks_is_named(
    profiled: Profiled, network: tuple[Path, Probe]
) -> None:
    path, probe = network
    lacking = probe.kernels[3]
    rows = {kernel: row for kernel, row in profiled.table.rows.items() if kernel != lacking}
    model = LatencyModel(replace(profiled.table, rows=rows))
    with pytest.raises(KernelMissing) as caught:
        benchmark(path, HostRunner(), settings=SETTINGS, kernels=probe.kernels, model=model)
    assert caught.value.missing == (lacking.key,)


def test_a_file_that_runs_other_kernels_than_it_claims_is_refused(
    network: tuple[Path, Probe], pool: list[Probe]
) -> None:
    path, probe = network
    other = min(pool, key=lambda probe: len(probe.kernels))
    for kernels in (other.kernels, probe.kernels[:-1], (*probe.kernels, probe.kernels[-1])):
        with pytest.raises(OperatorsDiffer, match="planned was"):
            benchmark(path, HostRunner(), settings=SETTINGS, kernels=kernels)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("no model")
    for name in ("text.tflite", "missing.tflite"):
        with pytest.raises(ModelRejected, match=name):
            benchmark(tmp_path / name, HostRunner(), settings=SETTINGS)


@pytest.mark.parametrize("sessions", [0, -3])
def test_settings_without_sessions_are_refused(sessions: int) -> None:
    with pytest.raises(ValueError, match=f"sessions is {sessions}"):
        benchmark_settings(sessions)


def test_one_session_is_refused_because_it_has_no_interval(
    network: tuple[Path, Probe], target: Target
) -> None:
    with pytest.raises(ValueError, match="needs 2 sessions, got 1"):
        benchmark(network[0], ScriptedRunner(target, []), settings=benchmark_settings(1))


class ScriptedRunner:
    """A device that answers with given sessions: latency in ms and disturbed share of each."""

    def __init__(self, target: Target, sessions: list[tuple[float, float]]) -> None:
        self.target = target
        self.taken = 0
        self._sessions = sessions

    def prepare(self, paths: Sequence[Path]) -> None:
        assert [path.name for path in paths] == ["net.tflite"]

    def latencies(self, path: Path, *, runs: int, warmup: int) -> LatencySession:
        ms, disturbed = self._sessions[self.taken]
        self.taken += 1
        return LatencySession(samples_ms=(ms,) * runs, runs=runs, disturbed=disturbed)

    def operators(self, path: Path, *, runs: int, warmup: int) -> OperatorSession:
        ms, disturbed = self._sessions[self.taken - 1]
        times = OperatorTimes(name="Clamp (NC)", samples_ms=(ms / 2,) * runs)
        return OperatorSession(operators=(times,), disturbed=disturbed)

    def conditions(self) -> Mapping[str, str | float]:
        return {"load": 0.5}


def scripted(
    target: Target,
    sessions: list[tuple[float, float]],
    *,
    wanted: int = 3,
    limit_ms: float | None = None,
    patience_s: float = 60,
) -> tuple[BenchmarkReport, int]:
    runner = ScriptedRunner(target, sessions)
    report = benchmark(
        Path("net.tflite"),
        runner,
        settings=ProfileSettings(sessions=wanted, runs=4),
        budget=None if limit_ms is None else Budget(limit_ms=limit_ms),
        patience_s=patience_s,
    )
    return report, runner.taken


def test_a_quiet_device_is_measured_as_often_as_asked(target: Target) -> None:
    report, taken = scripted(target, [(1.0, 0.0), (3.0, 0.0), (2.0, 0.1), (9.0, 0.0)])
    assert taken == 3
    assert report.measurement.median_ms == 2.0
    assert report.measurement.conditions == {"load": 0.5, "sessions": 3, "disturbed": 0.0}
    assert report.kernels[0].measured_ms == 1.0


def test_disturbed_sessions_are_repeated_and_do_not_count(target: Target) -> None:
    sessions = [(9.0, 1.0), (1.0, 0.0), (8.0, 0.5), (2.0, 0.0), (3.0, 0.0), (7.0, 0.0)]
    report, taken = scripted(target, sessions)
    assert taken == 5
    assert [one[0] for one in report.measurement.sessions_ms] == [1.0, 2.0, 3.0]
    assert report.kernels[0].measured_ms == 1.0
    assert report.measurement.conditions["disturbed"] == pytest.approx(0.4)


def test_a_device_that_is_always_disturbed_is_given_up_and_its_least_slowed_count(
    target: Target,
) -> None:
    sessions = [(float(9 - index), 1.0) for index in range(8)]
    report, taken = scripted(target, sessions)
    assert taken == 3 * ROUNDS_PER_SESSION
    assert [one[0] for one in report.measurement.sessions_ms] == [4.0, 5.0]
    assert report.measurement.conditions["disturbed"] == 1


def test_a_single_undisturbed_session_still_gives_an_interval(target: Target) -> None:
    report, _ = scripted(target, [(2.0, 0.0), *[(3.0, 1.0)] * 5])
    low, high = report.interval_ms
    assert low <= 2.0 <= high < 10
    json.dumps(report.to_json(), allow_nan=False)


def test_a_budget_that_seems_missed_on_a_disturbed_machine_is_measured_until_it_is_not(
    target: Target,
) -> None:
    report, taken = scripted(
        target, [*[(1.3, 1.0)] * 30, *[(1.0, 0.0)] * 3], wanted=3, limit_ms=1.1
    )
    assert taken == 32  # two that are undisturbed are enough
    assert report.verdict == "met"
    assert report.undisturbed == 2


def test_a_machine_that_stays_disturbed_leaves_the_budget_undecided(target: Target) -> None:
    report, taken = scripted(target, [(1.3, 1.0)] * 99, limit_ms=1.1, patience_s=0)
    assert taken == 3 * ROUNDS_PER_SESSION
    assert report.verdict == "undecided"
    assert report.is_certain is False
    assert "UNDECIDED: other load slowed the machine" in report.summary()


@pytest.mark.parametrize(("limit_ms", "verdict"), [(1.4, "met"), (0.6, "missed")])
def test_what_disturbance_cannot_explain_is_decided_at_once(
    target: Target, limit_ms: float, verdict: str
) -> None:
    report, taken = scripted(target, [(1.3, 1.0)] * 99, limit_ms=limit_ms)
    assert taken == 3 * ROUNDS_PER_SESSION
    assert report.verdict == verdict


def judged(target: Target, limit_ms: float | None, *medians_ms: float) -> BenchmarkReport:
    measurement = Measurement(
        subject="net.tflite",
        target=target,
        sessions_ms=tuple((ms,) for ms in medians_ms),
        runs=40,
        warmup=1,
    )
    return BenchmarkReport(
        file="net.tflite",
        measurement=measurement,
        interval_ms=(1.8, 2.2),
        undisturbed=3,
        predicted=Latency(p50_ms=2.2, p95_ms=2.5),
        budget=None if limit_ms is None else Budget(limit_ms=limit_ms),
        kernels=(),
    )


@pytest.mark.parametrize(
    ("limit_ms", "verdict", "is_certain", "text"),
    [
        (3.0, "met", True, "budget 3 ms: MET"),
        (2.2, "met", True, "budget 2.2 ms: MET"),
        (2.1, "met", False, "budget 2.1 ms: MET (within measuring error)"),
        (2.0, "met", False, "budget 2 ms: MET (within measuring error)"),
        (1.9, "missed", False, "budget 1.9 ms: MISSED (within measuring error)"),
        (1.7, "missed", True, "budget 1.7 ms: MISSED"),
    ],
)
def test_the_verdict_is_on_the_median_and_sure_if_the_whole_interval_agrees(
    target: Target, limit_ms: float, verdict: str, is_certain: bool, text: str
) -> None:
    report = judged(target, limit_ms, 1.9, 2.0, 2.4)
    assert report.verdict == verdict
    assert report.is_certain is is_certain
    assert report.summary().splitlines()[-1].strip() == text
    assert report.to_json()["verdict"] == verdict


def test_the_error_is_positive_when_the_prediction_was_too_high(target: Target) -> None:
    report = judged(target, None, 2.0)
    assert report.relative_error == pytest.approx(0.1)
    assert "error +10.0%" in report.summary()


def test_progress_counts_undisturbed_sessions(target: Target) -> None:
    seen: list[tuple[int, int, str]] = []
    benchmark(
        Path("net.tflite"),
        ScriptedRunner(target, [(1.0, 0.0), (1.0, 1.0), (1.0, 0.0)]),
        settings=ProfileSettings(sessions=2, runs=1),
        on_progress=lambda *news: seen.append(news),
    )
    assert [news[0] for news in seen] == [0, 1, 1, 2]
    assert {news[1:] for news in seen} == {(2, "net.tflite")}


def test_kernels_of_a_scripted_device_are_checked_too(target: Target) -> None:
    runner = ScriptedRunner(target, [(1.0, 0.0)] * 2)
    kernel = make_kernel("mean", ((1, 4, 4, 8),), (1, 8))
    with pytest.raises(OperatorsDiffer, match=r"ran Clamp \(NC\)"):
        benchmark(Path("net.tflite"), runner, settings=SETTINGS, kernels=[kernel])
