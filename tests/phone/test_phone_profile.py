"""Profiles and benchmarks on stand-in phones, undisturbed and through everything phones do."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rig_benchmark import build, configure
from rig_front import Front
from rig_image import RigUnavailable
from rig_phone import StandInPhone
from rig_server import RigServer

from device_farm.adb import AdbPhone, ServerRoute
from device_farm.errors import (
    AdbServerUnreachable,
    CommandTimeout,
    ConditionsNotRestored,
    DeviceUnreachable,
)
from device_farm.info import read_info
from latency_tables.table import LatencyTable
from profilers.benchmark import benchmark, benchmark_settings
from profilers.benchmark_binary import find_benchmark_binary
from profilers.errors import AnotherPhone, BenchmarkFailed
from profilers.journal import Journal, JournalRow
from profilers.journal_table import kernel_rows
from profilers.measure import measure
from profilers.phone import PhoneOptions, PhoneRunner, phone_runner
from profilers.probes import Probe, choose_probes
from profilers.profile import calibration_networks, identity_of, profile_table
from profilers.settings import ProfileSettings
from toolchain.probe_networks import probe_networks
from toolchain.spaces.space import make_space, space_kernels

pytestmark = pytest.mark.phone

SPACE = make_space(
    "shrinkcnn",
    {"nodes": 3, "base_width": 8, "stem_channels": 16, "input_shape": (1, 48, 48)},
)
SETTINGS = ProfileSettings(sessions=1, runs=10, warmup=2, networks=40)


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return build()
    except RigUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def pool() -> list[Probe]:
    return [
        Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
        for network in probe_networks(SPACE, 1)
    ]


@pytest.fixture
def network(pool: list[Probe], tmp_path: Path) -> Path:
    path = tmp_path / "net'; touch harm; '.tflite"
    path.write_bytes(pool[0].build())
    return path


@pytest.fixture
def own_server(stand_in: StandInPhone, server_home: Path) -> Iterator[RigServer]:
    """An adb server that holds the phone, for one test to kill."""
    with RigServer(server_home) as rig_server:
        assert b"connected" in rig_server.call("connect", stand_in.serial).stdout
        yield rig_server


@pytest.fixture
def served(own_server: RigServer, stand_in: StandInPhone) -> AdbPhone:
    return AdbPhone(ServerRoute(serial=stand_in.serial, server=own_server.server))


@contextmanager
def running(phone: AdbPhone, binary: Path, patience_s: float = 30.0) -> Iterator[PhoneRunner]:
    info = read_info(phone)
    tool = find_benchmark_binary(info.abi, path=binary)
    with phone_runner(phone, info, tool, PhoneOptions(patience_s=patience_s)) as runner:
        yield runner


def profiled(runner: PhoneRunner, pool: list[Probe], path: Path) -> LatencyTable:
    return profile_table(pool, runner, path, SETTINGS, space="small", seed=1, resume=False)


def wait_for_a_run(stand_in: StandInPhone) -> None:
    """Return while benchmark_model runs a network."""
    deadline = time.monotonic() + 30
    while not any("--graph=" in line for line in stand_in.commands()):
        assert time.monotonic() < deadline, "no network runs"
        time.sleep(0.01)


def wait_for_words(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Return once something was logged that the user has to act upon."""
    deadline = time.monotonic() + 30
    while words not in caplog.text:
        assert time.monotonic() < deadline, f"nobody said {words!r}"
        time.sleep(0.01)


def test_the_target_says_what_was_measured_and_how(phone: AdbPhone, binary: Path) -> None:
    with running(phone, binary) as runner:
        target = runner.target
    assert target.device.startswith("Acme Stand-in")
    assert target.runtime == "benchmark_model"
    assert len(target.runtime_sha256) == 64
    assert target.cpu_mask == f"{read_info(phone).clusters[-1].mask:x}"
    assert target.clock == "wall"


def test_a_benchmark_has_times_of_the_network_and_of_each_operator(
    phone: AdbPhone, stand_in: StandInPhone, binary: Path, network: Path, pool: list[Probe]
) -> None:
    with running(phone, binary) as runner:
        report = benchmark(
            network, runner, settings=benchmark_settings(2), kernels=pool[0].kernels
        )
    assert len(report.kernels) == len(pool[0].kernels)
    assert sum(kernel.measured_ms for kernel in report.kernels) > 0
    assert report.measurement.median_ms > 0
    assert report.measurement.runs >= 2 * 40
    assert report.measurement.conditions["status_after"] == "NONE"
    assert not list(stand_in.state.rglob("harm"))


def test_a_throttled_phone_is_measured_again_and_said_to_be_disturbed(
    phone: AdbPhone, stand_in: StandInPhone, binary: Path, network: Path
) -> None:
    service = stand_in.state / "dumpsys" / "thermalservice"
    cool = service.read_text()
    with running(phone, binary) as runner:
        runner.prepare([network])
        assert runner.latencies(network, runs=5, warmup=1).disturbed == 0
        service.write_text(cool.replace("Thermal Status: 0", "Thermal Status: 2"))
        try:
            assert runner.latencies(network, runs=5, warmup=1).disturbed == 1
        finally:
            service.write_text(cool)
        assert runner.latencies(network, runs=5, warmup=1).disturbed == 0


@pytest.mark.parametrize(
    ("failure", "words"),
    [("oom", "killed"), ("invoke", "fail"), ("load", "not on the phone"), ("prepare", "prepare")],
)
def test_a_tool_that_fails_ends_in_an_error_that_says_why(
    phone: AdbPhone,
    stand_in: StandInPhone,
    binary: Path,
    network: Path,
    failure: str,
    words: str,
) -> None:
    config = stand_in.state / "benchmark_model.conf"
    with running(phone, binary) as runner:
        runner.prepare([network])
        config.write_text(f"fail={failure}\n")
        try:
            with pytest.raises(BenchmarkFailed, match=f"(?i){words}"):
                runner.latencies(network, runs=5, warmup=1)
        finally:
            config.unlink()
        assert runner.latencies(network, runs=5, warmup=1).runs >= 5


def test_a_phone_that_restarts_is_set_up_again(
    phone: AdbPhone, stand_in: StandInPhone, binary: Path, network: Path
) -> None:
    with running(phone, binary) as runner:
        runner.prepare([network])
        stand_in.restart()  # its disk is empty, too
        assert runner.latencies(network, runs=5, warmup=1).runs >= 5


def test_another_phone_at_the_same_address_is_refused(
    phone: AdbPhone, stand_in: StandInPhone, binary: Path, network: Path
) -> None:
    properties = stand_in.state / "properties"
    own = properties.read_text()
    with running(phone, binary) as runner:
        runner.prepare([network])
        properties.write_text(own.replace("UP1A.1", "UP1A.2"))
        stand_in.restart()
        try:
            with pytest.raises(AnotherPhone, match=r"came back as Stand-in .*UP1A\.2"):
                runner.latencies(network, runs=5, warmup=1)
        finally:
            properties.write_text(own)


@pytest.mark.parametrize("after_bytes", [500, 2_000, 8_000, 60_000])
def test_a_cut_while_the_phone_is_set_up_is_outlived(
    front: Front,
    fronted: AdbPhone,
    stand_in: StandInPhone,
    binary: Path,
    network: Path,
    after_bytes: int,
) -> None:
    info = read_info(fronted)
    tool = find_benchmark_binary(info.abi, path=binary)
    front.drop_after_bytes = after_bytes
    with phone_runner(fronted, info, tool, PhoneOptions()) as runner:
        runner.prepare([network])
        assert runner.latencies(network, runs=5, warmup=1).runs >= 5
    assert front.drop_after_bytes is None  # it was cut


def test_a_phone_that_stays_away_is_given_up_in_time(
    front: Front, fronted: AdbPhone, binary: Path, network: Path
) -> None:
    start = time.monotonic()
    with pytest.raises(ConditionsNotRestored) as told:  # the next session restores them
        lose_for_good(front.stop_listening, fronted, binary, network)
    assert isinstance(told.value.__context__, DeviceUnreachable)
    assert time.monotonic() - start < 20


def lose_for_good(lose: Callable[[], None], phone: AdbPhone, binary: Path, network: Path) -> None:
    with running(phone, binary, patience_s=1.0) as runner:
        runner.prepare([network])
        lose()
        runner.latencies(network, runs=5, warmup=1)


def test_an_adb_server_that_stays_away_is_given_up_with_the_remedy(
    own_server: RigServer,
    served: AdbPhone,
    binary: Path,
    network: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConditionsNotRestored, match=r"changed: .*adb start-server`.*next") as told:
        lose_for_good(own_server.kill, served, binary, network)
    assert "\n" not in str(told.value)
    assert isinstance(told.value.__context__, AdbServerUnreachable)
    said = [record.getMessage() for record in caplog.records if "waiting" in record.message]
    assert len(said) == len(set(said))
    assert "adb start-server" in said[-1]  # while there is still time to do it


def test_a_profile_outlives_the_death_of_the_adb_server(
    own_server: RigServer,
    served: AdbPhone,
    stand_in: StandInPhone,
    binary: Path,
    pool: list[Probe],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    probes = choose_probes(pool, SETTINGS.contexts)
    networks = calibration_networks(pool, probes, SETTINGS.networks)

    def measured(runner: PhoneRunner) -> list[JournalRow]:
        with Journal.open(tmp_path / "served.journal", {}, resume=False) as journal:
            measure(probes, networks, runner, journal, SETTINGS, seed=1)
            return list(journal.rows())

    with running(served, binary) as runner, ThreadPoolExecutor(1) as background:
        measuring = background.submit(measured, runner)
        for _ in range(3):
            wait_for_a_run(stand_in)
            own_server.kill()
            time.sleep(0.5)
            own_server.start()
            wait_for_words(caplog, f"adb connect {stand_in.serial}")  # until then it is unknown
            own_server.call("connect", stand_in.serial)
            caplog.clear()
        rows = measuring.result()
    assert set(kernel_rows(rows, SETTINGS.runs)) == space_kernels(SPACE)
    keys = [(row.subject, row.session) for row in rows]
    assert len(keys) == len(set(keys))
    wanted = {f"probe {probe.subject}" for probe in probes}
    wanted |= {f"network {network.subject}" for network in networks}
    assert {subject for subject, _ in keys if not subject.startswith("canary")} == wanted


# TFLite's builds time by the wall clock, and those before v3 tell no median.
@pytest.mark.parametrize(("family", "jump_s"), [("v2", 3600), ("v2", -0.5), ("v3", -3600)])
def test_a_phone_whose_clock_is_set_is_measured_again(
    phone: AdbPhone,
    stand_in: StandInPhone,
    binary: Path,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    jump_s: float,
) -> None:
    monkeypatch.setattr("profilers.phone._SESSION_TIMEOUT_S", 3.0)  # set back, the tool runs on
    clock = stand_in.state / "clock"
    dice = random.Random(3)

    def set_clock() -> None:
        for times in range(1, 6):
            wait_for_a_run(stand_in)
            time.sleep(dice.uniform(0.25, 0.45))
            clock.with_suffix(".partial").write_text(f"{times * jump_s}\n")
            clock.with_suffix(".partial").replace(clock)
            time.sleep(1.0)

    setter = threading.Thread(target=set_clock)
    configure(stand_in.state, family=family)
    try:
        with running(phone, binary) as runner:
            runner.prepare([network])
            calm_ms = runner.latencies(network, runs=5, warmup=1).samples_ms[0]
            setter.start()
            while setter.is_alive():
                session = runner.latencies(network, runs=5, warmup=1)
                assert 0.3 < session.samples_ms[0] / calm_ms < 3
    finally:
        setter.join()
        clock.unlink()
        configure(stand_in.state)


def test_this_machines_clock_may_jump(
    phone: AdbPhone, binary: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, jumps = time.time, itertools.cycle([0, 3600, -3600])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    start = time.monotonic()
    with running(phone, binary) as runner:
        runner.prepare([network])
        assert runner.latencies(network, runs=5, warmup=1).runs >= 5
    with pytest.raises(CommandTimeout):
        phone.run("sleep 77", timeout_s=1)
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_a_profile_survives_twenty_cuts_with_every_row_once(
    phone: AdbPhone,
    stand_in: StandInPhone,
    front: Front,
    fronted: AdbPhone,
    binary: Path,
    pool: list[Probe],
    tmp_path: Path,
) -> None:
    with running(phone, binary) as runner:
        undisturbed = profiled(runner, pool, tmp_path / "undisturbed.table")
    dice = random.Random(7)
    done, cuts = threading.Event(), 0

    def cut() -> None:
        nonlocal cuts
        while not done.wait(dice.uniform(0.1, 1.0)):
            if cuts < 20:
                front.drop()
                cuts += 1

    cutter = threading.Thread(target=cut)
    with running(fronted, binary) as runner:
        cutter.start()
        try:
            table = profiled(runner, pool, tmp_path / "cut.table")
        finally:
            done.set()
            cutter.join()
    assert cuts >= 15
    assert set(table) == set(undisturbed) == space_kernels(SPACE)
    ratios = [
        table[kernel].median_ms / undisturbed[kernel].median_ms
        for kernel in table
        if undisturbed[kernel].median_ms > 0.002
    ]
    assert 0.7 < float(np.median(ratios)) < 1.4
    path = tmp_path / "cut.table.journal"
    identity = identity_of(table.target, SETTINGS, "small", 1)
    with Journal.open(path, identity, resume=True) as journal:
        keys = [(row.subject, row.session) for row in journal.rows()]
    assert len(keys) == len(set(keys))
