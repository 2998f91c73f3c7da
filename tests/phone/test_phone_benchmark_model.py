from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "profilers"))

from benchmark_tool import OF_TFLITE, says, tool
from models import write_dense
from rig_benchmark import build, configure
from rig_front import Front
from rig_image import RigUnavailable, require_image
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone
from device_farm.errors import CommandFailed, CommandTimeout, ConnectionLost, NoSpace
from device_farm.info import read_info
from profilers.benchmark_binary import BenchmarkBinary, find_benchmark_binary
from profilers.benchmark_model import BenchmarkModel, BenchmarkOptions
from profilers.elf import require_abi
from profilers.errors import BenchmarkFailed, BinaryUnusable, OutputUnreadable, ToolKilled
from profilers.failure_cause import FailureCause

pytestmark = pytest.mark.phone
NET = "/data/local/tmp/net.tflite"
SHELL = "/system/bin/sh"
QUICK = BenchmarkOptions(runs=5, max_seconds=20)
CPU = 1 << min(os.sched_getaffinity(0))


@pytest.fixture
def ready(stand_in: StandInPhone, phone: AdbPhone, tmp_path: Path) -> Iterator[BenchmarkModel]:
    """The stand-in benchmark_model, installed, and a model beside it."""
    try:
        path = build()
    except RigUnavailable as reason:
        pytest.skip(str(reason))
    binary = find_benchmark_binary(read_info(phone).abi, path=path)
    configure(stand_in.state)
    model = BenchmarkModel(phone, binary)
    model.install()
    phone.push(write_dense(tmp_path / "net.tflite", features=64, layers=3), NET)
    yield model
    configure(stand_in.state)


def failure(model: BenchmarkModel, options: BenchmarkOptions = QUICK) -> BenchmarkFailed:
    with pytest.raises(BenchmarkFailed) as caught:
        model.run(NET, options, timeout_s=30)
    assert "\n" not in str(caught.value)
    return caught.value


def inode(phone: AdbPhone, path: str) -> str:
    return phone.run(f"stat -c %i {path}", timeout_s=10).text


def test_a_model_runs_and_its_operators_are_timed(ready: BenchmarkModel) -> None:
    assert {"use_xnnpack", "enable_op_profiling", "min_secs"} <= ready.capabilities
    output = ready.run(NET, QUICK, timeout_s=30)
    assert output.timed is not None
    assert (output.timed.count, output.operators) == (5, ())
    assert (output.warmup and output.warmup.count) == 1
    profiled = ready.run(NET, dataclasses.replace(QUICK, profile=True), timeout_s=30)
    assert len(profiled.operators) == 3


@pytest.mark.parametrize("family", ["v0", "v1", "v2", "v3", "v4", "v5"])
def test_each_family_is_told_in_its_own_flags(
    ready: BenchmarkModel, stand_in: StandInPhone, family: str
) -> None:
    configure(stand_in.state, family=family)
    ready.install()
    assert ("use_cpu" in ready.capabilities) == (family in ("v4", "v5"))
    delegate = "none" if family == "v0" else "xnnpack"
    options = BenchmarkOptions(runs=5, delegate=delegate, profile=True)
    output = ready.run(NET, options, timeout_s=30)
    assert output.timed is not None
    assert output.timed.count == 5
    assert output.operators


def test_half_precision_is_asked_of_those_who_can(
    ready: BenchmarkModel, stand_in: StandInPhone
) -> None:
    half = dataclasses.replace(QUICK, precision="float16")
    assert "--xnnpack_force_fp16=true" in ready.command(NET, half)
    ready.run(NET, half, timeout_s=30)


def test_a_second_installation_pushes_nothing(ready: BenchmarkModel, phone: AdbPhone) -> None:
    first = inode(phone, ready.remote_path)
    ready.install()
    assert inode(phone, ready.remote_path) == first
    phone.run(f"echo x >>{ready.remote_path}", timeout_s=10)
    ready.install()
    assert inode(phone, ready.remote_path) != first


def test_a_restarted_phone_is_set_up_again(
    ready: BenchmarkModel, stand_in: StandInPhone, phone: AdbPhone, tmp_path: Path
) -> None:
    stand_in.restart()
    phone.wait_until_reachable(20)
    assert failure(ready).cause is FailureCause.NOT_FOUND
    pinned = dataclasses.replace(QUICK, cpu_mask=CPU)
    assert failure(ready, pinned).cause is FailureCause.NOT_FOUND
    ready.install()
    assert failure(ready).cause is FailureCause.MODEL_MISSING
    phone.push(tmp_path / "net.tflite", NET)
    ready.run(NET, QUICK, timeout_s=30)


@pytest.mark.parametrize(
    ("fail", "cause"),
    [
        ("oom", FailureCause.KILLED),
        ("segv", FailureCause.CRASHED),
        ("abort", FailureCause.ABORTED),
        ("load", FailureCause.MODEL_MISSING),
        ("prepare", FailureCause.OPERATOR_NOT_PREPARED),
        ("delegate", FailureCause.DELEGATE_NOT_APPLIED),
        ("invoke", FailureCause.INVOKE_FAILED),
        ("link", FailureCause.NOT_LINKED),
        ("no_output", FailureCause.NO_TIMES),
        ("silent_fallback", FailureCause.CPU_FALLBACK),
    ],
)
@pytest.mark.parametrize("mask", [None, CPU])
def test_failures_are_told_apart(
    ready: BenchmarkModel,
    stand_in: StandInPhone,
    fail: str,
    cause: FailureCause,
    mask: int | None,
) -> None:
    configure(stand_in.state, fail=fail)
    error = failure(ready, dataclasses.replace(QUICK, cpu_mask=mask))
    assert error.cause is cause
    assert isinstance(error, ToolKilled) == (fail == "oom")


def test_a_delegate_that_takes_a_part_is_no_failure(
    ready: BenchmarkModel, stand_in: StandInPhone
) -> None:
    configure(stand_in.state, fail="partial")
    output = ready.run(NET, QUICK, timeout_s=30)
    assert output.delegations[0].partitions == 5


def test_garbage_is_not_taken_for_times(ready: BenchmarkModel, stand_in: StandInPhone) -> None:
    configure(stand_in.state, fail="garbage")
    with pytest.raises((BenchmarkFailed, OutputUnreadable)) as caught:
        ready.run(NET, QUICK, timeout_s=30)
    assert "\x1b" not in str(caught.value)


def test_a_damaged_model_is_told(ready: BenchmarkModel, phone: AdbPhone) -> None:
    phone.run(f"echo damaged >{NET}", timeout_s=10)
    assert failure(ready).cause is FailureCause.MODEL_NOT_LOADED


def test_runs_that_the_time_limit_ends_are_told(
    ready: BenchmarkModel, stand_in: StandInPhone
) -> None:
    error = failure(ready, BenchmarkOptions(runs=1_000_000, max_seconds=0.2))
    assert error.cause is FailureCause.TRUNCATED


def test_a_tool_that_hangs_is_ended_on_the_phone(
    ready: BenchmarkModel, stand_in: StandInPhone
) -> None:
    configure(stand_in.state, fail="hang")
    with pytest.raises(CommandTimeout):
        ready.run(NET, QUICK, timeout_s=1)  # that nothing stays is the fixture's to check


def test_a_pinned_tool_runs_on_its_cpus(phone: AdbPhone, tmp_path: Path) -> None:
    body = f"taskset -p $$ >/data/local/tmp/mask\n{says(OF_TFLITE)}"
    model = BenchmarkModel(phone, tool(tmp_path, body, shell=SHELL))
    model.install()
    model.run(NET, BenchmarkOptions(cpu_mask=CPU), timeout_s=30)
    told = phone.run("cat /data/local/tmp/mask", timeout_s=10).text
    assert int(told.split()[-1], 16) == CPU


@pytest.mark.parametrize("mask", [1 << 900, 1 << 40])
def test_a_mask_of_absent_cpus_is_told(ready: BenchmarkModel, mask: int) -> None:
    error = failure(ready, dataclasses.replace(QUICK, cpu_mask=mask))
    assert error.cause is FailureCause.NOT_PINNED


@pytest.mark.parametrize("mask", [None, CPU])
def test_a_tool_that_may_not_run_is_told(
    ready: BenchmarkModel, phone: AdbPhone, mask: int | None
) -> None:
    phone.run(f"chmod 644 {ready.remote_path}", timeout_s=10)
    error = failure(ready, dataclasses.replace(QUICK, cpu_mask=mask))
    assert error.cause is FailureCause.NO_PERMISSION


def test_every_word_reaches_the_tool_as_it_is(phone: AdbPhone, tmp_path: Path) -> None:
    folder = "/data/local/tmp/it's $(reboot); *"
    body = f"printf '%s\\n' \"$@\" >/data/local/tmp/seen\n{says(OF_TFLITE)}"
    model = BenchmarkModel(phone, tool(tmp_path, body, shell=SHELL), folder)
    model.install()
    model.run("/x/'a'; $(b) `c` \"d\" *", BenchmarkOptions(), timeout_s=30)
    seen = phone.run("cat /data/local/tmp/seen", timeout_s=10).text.split("\n")
    assert seen[0] == "--graph=/x/'a'; $(b) `c` \"d\" *"


# Installing what does not fit


def adbd_for(machine: int, path: Path) -> BenchmarkBinary:
    """The rig's real adbd, which claims to be made for another machine."""
    content = bytearray((require_image() / "system/bin/adbd").read_bytes())
    struct.pack_into("<H", content, 18, machine)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return BenchmarkBinary(path=path, sha256=digest, version="unknown", source="file")


def test_another_kind_of_cpu_is_seen_before_anything_is_pushed(
    phone: AdbPhone, tmp_path: Path
) -> None:
    abi = read_info(phone).abi
    require_abi(adbd_for(62, tmp_path / "adbd").path, abi)
    with pytest.raises(BinaryUnusable, match=r"AArch64.*x86_64, which is x86-64"):
        find_benchmark_binary(abi, path=adbd_for(183, tmp_path / "adbd").path)


def test_another_kind_of_cpu_is_told_by_the_phone(phone: AdbPhone, tmp_path: Path) -> None:
    model = BenchmarkModel(phone, adbd_for(183, tmp_path / "adbd"))
    with pytest.raises(BenchmarkFailed) as caught:
        model.install()
    assert caught.value.cause is FailureCause.WRONG_ABI
    assert "ELF" in caught.value.detail


def test_a_program_without_its_linker_is_told(phone: AdbPhone, tmp_path: Path) -> None:
    binary = adbd_for(62, tmp_path / "adbd")
    content = binary.path.read_bytes().replace(b"/lib64/ld-linux", b"/lib64/no-linux")
    binary.path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    model = BenchmarkModel(phone, dataclasses.replace(binary, sha256=digest))
    with pytest.raises(BenchmarkFailed) as caught:
        model.install()
    assert caught.value.cause is FailureCause.NOT_LINKED


def test_a_full_phone_is_told_and_left_clean(phone: AdbPhone, tmp_path: Path) -> None:
    phone.run("head -c 80000000 /dev/zero >/data/local/tmp/full", timeout_s=60)
    model = BenchmarkModel(phone, adbd_for(62, tmp_path / "adbd"))
    with pytest.raises(NoSpace):
        model.install()
    assert phone.run("ls /data/local/tmp/pocketnas", timeout_s=10).text == ""


def test_a_folder_that_the_shell_may_not_make_is_told(phone: AdbPhone, tmp_path: Path) -> None:
    model = BenchmarkModel(phone, tool(tmp_path, "exit 0", shell=SHELL), "/data/mine")
    with pytest.raises(CommandFailed, match=r"cannot make the folder '/data/mine'.*ermission"):
        model.install()


def test_a_link_that_breaks_while_installing_leaves_no_half_file(
    front: Front, fronted: AdbPhone, tmp_path: Path
) -> None:
    body = f"{'# filling' * 60_000}\n{says(OF_TFLITE)}"
    model = BenchmarkModel(fronted, tool(tmp_path, body, shell=SHELL))
    fronted.run("true", timeout_s=10)
    front.drop_after_bytes = 300_000
    with pytest.raises(ConnectionLost):
        model.install()
    model.install()
    model.run(NET, BenchmarkOptions(), timeout_s=30)
