from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from statistics import fmean

import pytest
from tflite_builder import NetworkBuilder

from profilers import host
from profilers.errors import ModelRejected
from profilers.host import HostRunner, cpu_model
from profilers.litert import runtime_identity
from profilers.probes import Probe
from profilers.xnnpack import match_events


@pytest.fixture(scope="module")
def runner() -> HostRunner:
    return HostRunner()


def test_the_target_is_this_machine_and_its_runtime(runner: HostRunner) -> None:
    target, runtime = runner.target, runtime_identity()
    assert target.device == "host"
    assert target.abi == os.uname().machine
    assert (target.runtime, target.runtime_version) == (runtime.name, runtime.version)
    assert target.runtime_sha256 == runtime.sha256
    assert target == HostRunner().target


def test_the_number_of_threads_makes_another_target_with_another_clock(runner: HostRunner) -> None:
    one, two = runner.target, HostRunner(threads=2).target
    differing = {f.name for f in fields(one) if getattr(one, f.name) != getattr(two, f.name)}
    assert differing == {"threads", "clock"}
    assert (one.clock, two.clock) == ("thread-cpu", "wall")


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads is {threads}; give at least 1"):
        HostRunner(threads=threads)


@pytest.mark.parametrize("runs", [1, 6])
def test_latencies_are_the_faster_half_of_at_least_a_quarter_of_the_runs(
    runner: HostRunner, network: tuple[Path, Probe], runs: int
) -> None:
    session = runner.latencies(network[0], runs=runs, warmup=1)
    assert runs / 4 <= len(session.samples_ms) <= runs
    assert list(session.samples_ms) == sorted(session.samples_ms)
    assert all(ms > 0 for ms in session.samples_ms)
    assert 0 <= session.disturbed <= 1


def test_operators_are_those_of_the_plan_with_equally_many_times_each(
    runner: HostRunner, network: tuple[Path, Probe]
) -> None:
    path, probe = network
    session = runner.operators(path, runs=6, warmup=1)
    match_events([operator.name for operator in session.operators], probe.kernels)
    (count,) = {len(operator.samples_ms) for operator in session.operators}
    assert 2 <= count <= 6
    assert all(
        list(operator.samples_ms) == sorted(operator.samples_ms) for operator in session.operators
    )


def test_several_threads_are_measured_too(network: tuple[Path, Probe]) -> None:
    runner = HostRunner(threads=2)
    assert runner.latencies(network[0], runs=2, warmup=0).samples_ms
    operators = runner.operators(network[0], runs=2, warmup=0).operators
    assert len(operators) == len(network[1].kernels)


@pytest.mark.parametrize("verb", [HostRunner.latencies, HostRunner.operators])
def test_a_file_that_is_no_model_is_rejected(
    runner: HostRunner, tmp_path: Path, verb: Callable[..., object]
) -> None:
    with pytest.raises(ModelRejected, match=r"missing\.tflite"):
        verb(runner, tmp_path / "missing.tflite", runs=1, warmup=0)
    (tmp_path / "text.tflite").write_text("no model " * 100)
    with pytest.raises(ModelRejected, match=r"text\.tflite"):
        verb(runner, tmp_path / "text.tflite", runs=1, warmup=0)


def test_conditions_are_the_load_and_the_time(runner: HostRunner) -> None:
    conditions = runner.conditions()
    assert float(conditions["load"]) >= 0
    taken_at = datetime.fromisoformat(str(conditions["taken_at"]))
    assert abs((datetime.now(taken_at.tzinfo) - taken_at).total_seconds()) < 60


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t: fpu\n", "AMD EPYC 7B13"),
        ("processor\t: 0\nBogoMIPS\t: 38.40\n\nHardware\t: Qualcomm SM8350\n", "Qualcomm SM8350"),
    ],
    ids=["x86", "arm"],
)
def test_the_processor_is_named_as_the_kernel_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, model: str
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    monkeypatch.setattr(host, "CPUINFO", path)
    assert cpu_model() == model


@pytest.mark.parametrize("exists", [True, False])
def test_a_processor_without_a_name_is_called_by_its_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, exists: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if exists:
        path.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    monkeypatch.setattr(host, "CPUINFO", path)
    assert cpu_model()


def test_a_process_that_shares_the_core_makes_no_operator_longer(tmp_path: Path) -> None:
    builder = NetworkBuilder()
    value = builder.input(1, 192, 192, 48)
    for _ in range(3):  # some milliseconds each: longer than the core is left to one process
        value = builder.convolution(value, 48)
    path = tmp_path / "net.tflite"
    path.write_bytes(builder.content(value))
    usable = os.sched_getaffinity(0)
    core = min(usable)
    loop = [sys.executable, "-c", "while True: pass"]
    os.sched_setaffinity(0, {core})
    try:
        with subprocess.Popen(loop) as rival:  # inherits the one core
            try:
                runner = HostRunner()
                operators = runner.operators(path, runs=4, warmup=1).operators
                cpu_ms = runner.latencies(path, runs=4, warmup=1).samples_ms
            finally:
                rival.kill()
    finally:
        os.sched_setaffinity(0, usable)
    together = sum(fmean(one.samples_ms) for one in operators)
    assert together < 1.4 * fmean(cpu_ms)
