from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_tool import (
    IGNORED,
    LITERT,
    LOADED,
    OF_2020,
    OF_LITERT,
    OF_TFLITE,
    OLD,
    PARTIAL,
    TFLITE,
    WHOLE,
    says,
    timings,
    tool,
)

from device_farm.device import CommandResult
from device_farm.errors import CommandFailed, CommandTimeout, DeviceError
from device_farm.host import HostDevice
from profilers.benchmark_model import BenchmarkModel, BenchmarkOptions
from profilers.errors import (
    BenchmarkFailed,
    BinaryUnusable,
    OptionUnsupported,
    OutputUnreadable,
    ToolKilled,
)
from profilers.failure_cause import FailureCause, FailureScope

OPTIONS = BenchmarkOptions()
GPU = BenchmarkOptions(delegate="gpu")
Installed = Callable[..., BenchmarkModel]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """A tool with the given body, installed on this machine."""

    def install(body: str, flags: tuple[str, ...] = TFLITE) -> BenchmarkModel:
        model = BenchmarkModel(
            HostDevice(), tool(tmp_path, body, flags=flags), str(tmp_path / "d")
        )
        model.install()
        return model

    return install


def run(model: BenchmarkModel, options: BenchmarkOptions = OPTIONS) -> object:
    return model.run("net.tflite", options, timeout_s=20)


def failure(model: BenchmarkModel, options: BenchmarkOptions = OPTIONS) -> BenchmarkFailed:
    with pytest.raises(BenchmarkFailed) as caught:
        run(model, options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(caught.value.cause.remedy)
    return caught.value


# Installing


def test_installing_twice_pushes_once(installed: Installed) -> None:
    model = installed(says(OF_TFLITE))
    first = os.stat(model.remote_path)
    assert first.st_mode & 0o777 == 0o755
    model.install()
    assert os.stat(model.remote_path).st_ino == first.st_ino


@pytest.mark.parametrize("damage", [b"#!/bin/sh\nexit 0\n", b""])
def test_a_damaged_copy_is_replaced(installed: Installed, damage: bytes) -> None:
    model = installed(says(OF_TFLITE))
    whole = Path(model.remote_path).read_bytes()
    Path(model.remote_path).write_bytes(damage)
    model.install()
    assert Path(model.remote_path).read_bytes() == whole


def test_a_copy_of_the_right_size_but_other_content_is_replaced(installed: Installed) -> None:
    model = installed(says(OF_TFLITE))
    whole = Path(model.remote_path).read_bytes()
    Path(model.remote_path).write_bytes(whole[:-2] + b"x\n")
    model.install()
    assert Path(model.remote_path).read_bytes() == whole


def test_a_copy_that_may_not_run_any_more_is_mended(installed: Installed) -> None:
    model = installed(says(OF_TFLITE))
    Path(model.remote_path).chmod(0o644)
    model.install()
    run(model)


def test_two_builds_live_side_by_side(installed: Installed) -> None:
    one, two = installed(says(OF_TFLITE)), installed(says(OF_2020))
    assert one.remote_path != two.remote_path
    assert run(one) != run(two)


@pytest.mark.parametrize("flags", [TFLITE, LITERT, OLD])
def test_a_build_tells_what_it_can_do(installed: Installed, flags: tuple[str, ...]) -> None:
    assert installed("exit 0", flags).capabilities == frozenset(flags)


def test_a_build_may_tell_its_version(tmp_path: Path) -> None:
    binary = tool(tmp_path, "exit 0")
    binary.path.write_text(
        binary.path.read_text().replace("usage:", "LiteRT version: 2.3.0-rc1\nusage:")
    )
    model = BenchmarkModel(HostDevice(), binary, str(tmp_path / "d"))
    assert model.version == "unknown"
    model.install()
    assert model.version == "2.3.0-rc1"
    known = BenchmarkModel(
        HostDevice(), dataclasses.replace(binary, version="2.2.0"), str(tmp_path / "d")
    )
    known.install()
    assert known.version == "2.2.0"


def test_another_program_is_no_benchmark_model(installed: Installed) -> None:
    with pytest.raises(BinaryUnusable, match=r"does not name --graph, --num_runs, --warmup_runs;"):
        installed("exit 0", flags=("num_threads", "iterations"))


def test_a_program_for_another_cpu_does_not_install(tmp_path: Path) -> None:
    binary = tool(tmp_path, "exit 0")
    content = bytearray(Path("/bin/true").resolve().read_bytes())
    struct.pack_into("<H", content, 18, 183)
    binary.path.write_bytes(content)
    model = BenchmarkModel(HostDevice(), binary, str(tmp_path / "d"))
    with pytest.raises(BenchmarkFailed, match=r"another kind of CPU.*Exec format error"):
        model.install()


def test_a_program_without_its_linker_does_not_install(tmp_path: Path) -> None:
    binary = tool(tmp_path, "exit 0", shell="/absent/linker64")
    model = BenchmarkModel(HostDevice(), binary, str(tmp_path / "d"))
    with pytest.raises(BenchmarkFailed, match="needs libraries"):
        model.install()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    model = BenchmarkModel(HostDevice(), tool(tmp_path, "exit 0"), str(tmp_path / "d"))
    with pytest.raises(CommandFailed, match="cannot make the folder"):
        model.install()


# The command


def test_every_word_arrives_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(reboot); *"
    seen = tmp_path / "seen"
    binary = tool(tmp_path, f"printf '%s\\n' \"$@\" >{seen}\n" + says(OF_TFLITE))
    model = BenchmarkModel(HostDevice(), binary, str(folder))
    model.install()
    model.run("/x/'a'; $(b) `c` \"d\" *", OPTIONS, timeout_s=20)
    assert seen.read_text().split("\n")[0] == "--graph=/x/'a'; $(b) `c` \"d\" *"
    assert "--num_runs=50" in seen.read_text().split("\n")


def test_a_pinned_tool_runs_on_its_cpus(installed: Installed, tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    model = installed(
        f"grep Cpus_allowed_list /proc/$$/status >{tmp_path}/cpus\n{says(OF_TFLITE)}"
    )
    run(model, BenchmarkOptions(cpu_mask=1 << cpu))
    assert (tmp_path / "cpus").read_text().split()[-1] == str(cpu)


def test_a_mask_of_absent_cpus_is_told(installed: Installed) -> None:
    model = installed(says(OF_TFLITE))
    error = failure(model, BenchmarkOptions(cpu_mask=1 << 900))
    assert error.cause is FailureCause.NOT_PINNED


# Runs that succeed


@pytest.mark.parametrize(
    ("text", "flags", "family"),
    [(OF_2020, TFLITE, "v2"), (OF_TFLITE, TFLITE, "v3"), (OF_LITERT, LITERT, "v4")],
)
def test_each_family_is_read(
    installed: Installed, text: str, flags: tuple[str, ...], family: str
) -> None:
    model = installed(says(text), flags)
    output = model.run("net.tflite", OPTIONS, timeout_s=20)
    assert output.timed is not None
    assert (output.family, output.timed.count, output.timed.mean_ms) == (family, 50, 1.8755)


def test_what_goes_to_standard_error_is_read_too(installed: Installed) -> None:
    model = installed(f"{{ {says(OF_LITERT)[:-7]}\n}} >&2")
    assert model.run("net.tflite", OPTIONS, timeout_s=20).timed is not None


def test_an_unmerged_standard_error_is_read_too(installed: Installed) -> None:
    result = CommandResult(
        stdout=timings(50).encode(), stderr=f"{LOADED}\n{WHOLE}".encode(), exit_code=0
    )
    output = installed("exit 0").read(result, OPTIONS)
    assert output.delegations[0].nodes == 31


def test_a_delegate_that_took_a_part_is_no_failure(installed: Installed) -> None:
    model = installed(says(f"{LOADED}\n{PARTIAL}\n{timings(50)}"))
    output = model.run("net.tflite", OPTIONS, timeout_s=20)
    assert (output.delegations[0].nodes, output.delegations[0].of_nodes) == (30, 31)


def test_more_runs_than_asked_are_no_failure(installed: Installed) -> None:
    model = installed(says(f"{LOADED}\n{WHOLE}\n{timings(170)}"))
    run(model, BenchmarkOptions(min_seconds=0.2))


@pytest.mark.parametrize(
    ("was", "reads", "says_so"),
    [
        ("max=2300", "max=3600002300", "a run of 3.6e+06 ms within 2.0 s"),
        ("min=1800", "min=-3599998200", "a time of -3599998200 us"),
        ("avg=1875.5", "avg=-7.2e+07", r"a time of -7.2e+07 us"),
        ("curr=2100", "curr=7000000", "a run of 7000 ms within 2.0 s"),
    ],
)
def test_times_by_a_clock_that_was_set_are_refused(
    installed: Installed, was: str, reads: str, says_so: str
) -> None:
    text = OF_TFLITE.replace(was, reads)
    result = CommandResult(stdout=text.encode(), stderr=b"", exit_code=0)
    with pytest.raises(BenchmarkFailed) as caught:
        installed("exit 0").read(result, OPTIONS, lasted_s=2.0)
    assert caught.value.cause is FailureCause.CLOCK_SET
    assert caught.value.detail == says_so


def test_without_a_delegate_a_fallback_is_none(installed: Installed) -> None:
    model = installed(says(f"{LOADED}\n{timings(50)}"))
    run(model, BenchmarkOptions(delegate="none"))


# Runs whose times may not be used, although the tool is content


def test_a_delegate_that_took_nothing_is_told(installed: Installed) -> None:
    model = installed(says(f"{LOADED}\n{IGNORED}\n{timings(50)}"))
    assert failure(model).cause is FailureCause.CPU_FALLBACK


def test_a_delegate_that_took_no_node_is_told(installed: Installed) -> None:
    nothing = WHOLE.split("\n")[0].replace("Replacing 31", "Replacing 0")
    model = installed(says(f"{LOADED}\n{nothing}\n{timings(50)}"))
    assert failure(model).cause is FailureCause.CPU_FALLBACK


def test_xnnpack_in_place_of_the_gpu_is_told(installed: Installed) -> None:
    model = installed(says(OF_LITERT), LITERT)
    error = failure(model, GPU)
    assert error.cause is FailureCause.CPU_FALLBACK
    assert error.detail == "delegate gpu; only XNNPACK took part"


def test_xnnpack_beside_the_gpu_is_fine(installed: Installed) -> None:
    gpu = WHOLE.split("\n")[0].replace("TfLiteXNNPackDelegate", "TfLiteGpuDelegateV2")
    model = installed(says(f"{LOADED}\n{gpu}\n{PARTIAL.split(chr(10))[0]}\n{timings(50)}"))
    run(model, GPU)


@pytest.mark.parametrize("wanted", [50, 10])
def test_runs_that_the_time_limit_ended_are_told(installed: Installed, wanted: int) -> None:
    model = installed(says(f"{LOADED}\n{WHOLE}\n{timings(15, wanted)}"))
    error = failure(model)
    assert (error.cause, error.cause.scope) == (FailureCause.TRUNCATED, FailureScope.RUN)
    assert error.detail == "15 of 50 runs in 60 s"


@pytest.mark.parametrize("text", ["", "\n \n", LOADED])
def test_a_tool_without_times_is_told(installed: Installed, text: str) -> None:
    assert failure(installed(says(text))).cause is FailureCause.NO_TIMES


def test_a_foreign_text_is_told(installed: Installed) -> None:
    with pytest.raises(OutputUnreadable):
        run(installed(says("Mon Nov 24 08:53:00 UTC 2026")))


def test_an_ignored_flag_is_told(installed: Installed) -> None:
    text = f"WARN: Unconsumed cmdline flags: --max_secs=60\n{OF_TFLITE}"
    with pytest.raises(OptionUnsupported, match=r"ignores --max_secs=60;"):
        run(installed(says(text)))


# Failures


@pytest.mark.parametrize(
    ("text", "exit_code", "cause", "detail"),
    [
        (
            'CANNOT LINK EXECUTABLE "./b": library "libc++_shared.so" not found',
            1,
            FailureCause.NOT_LINKED,
            "libc++_shared.so",
        ),
        (
            'CANNOT LINK EXECUTABLE "./b": cannot locate symbol "__x"\nAborted',
            134,
            FailureCause.NOT_LINKED,
            "cannot locate symbol",
        ),
        (
            '"./b" has unexpected e_machine: 183 (EM_AARCH64)',
            1,
            FailureCause.WRONG_ABI,
            "EM_AARCH64",
        ),
        (
            "/system/bin/sh: ./b: not executable: 64-bit ELF file",
            126,
            FailureCause.WRONG_ABI,
            "64-bit ELF",
        ),
        (
            "/system/bin/sh: ./b: can't execute: Permission denied",
            126,
            FailureCause.NO_PERMISSION,
            "Permission denied",
        ),
        (
            "/system/bin/sh: ./b: inaccessible or not found",
            127,
            FailureCause.NOT_FOUND,
            "inaccessible or not found",
        ),
        (
            "/system/bin/sh: taskset: inaccessible or not found",
            127,
            FailureCause.NOT_PINNED,
            "taskset",
        ),
        (
            f"{LOADED[:15]}\nERROR: Could not open 'net.tflite'.\n"
            "ERROR: Failed to load model net.tflite\nERROR: Benchmarking failed.",
            1,
            FailureCause.MODEL_MISSING,
            "Could not open 'net.tflite'",
        ),
        (
            "ERROR: The model is not a valid Flatbuffer buffer\n"
            "ERROR: Failed to load model net.tflite\nERROR: Benchmarking failed.",
            1,
            FailureCause.MODEL_NOT_LOADED,
            "not a valid Flatbuffer",
        ),
        (
            f"{LOADED}\n{PARTIAL}\nERROR: kernels/batch_matmul.cc:353 a != b (1 != 2)\n"
            "ERROR: Node number 57 (BATCH_MATMUL) failed to prepare.\n"
            "ERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.",
            1,
            FailureCause.OPERATOR_NOT_PREPARED,
            "Node number 57 (BATCH_MATMUL)",
        ),
        (
            f"{LOADED}\nERROR: Select TensorFlow op(s), included in the given model, is(are) not "
            "supported by this interpreter.\nERROR: Node number 3 (FlexErf) failed to prepare.\n"
            "ERROR: Failed to allocate tensors!",
            1,
            FailureCause.NEEDS_FLEX,
            "Select TensorFlow op(s)",
        ),
        (
            f"{LOADED}\nERROR: Node number 31 (TfLiteGpuDelegateV2) failed to prepare.\n"
            "ERROR: Restored original execution plan after delegate application failure.\n"
            "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.",
            1,
            FailureCause.DELEGATE_NOT_APPLIED,
            "Restored original",
        ),
        (
            f"{LOADED}\n{PARTIAL}\nERROR: Disallowed CPU fallback detected.",
            1,
            FailureCause.DELEGATE_NOT_APPLIED,
            "Disallowed",
        ),
        (
            f"{OF_TFLITE}\nERROR: Benchmarking failed.",
            1,
            FailureCause.INVOKE_FAILED,
            "Inference timings in us",
        ),
        (
            f"{LOADED}\nERROR: Node number 2 (TfLiteXNNPackDelegate) failed to invoke.\n"
            f"{timings(50)}\nERROR: Benchmarking failed.",
            1,
            FailureCause.INVOKE_FAILED,
            "Node number 2",
        ),
        (
            f"{LOADED}\nERROR: cannot write cache: No space left on device",
            1,
            FailureCause.NO_SPACE,
            "No space left",
        ),
        (
            "INFO: STARTING!\nERROR: odd\nINFO: x",
            1,
            FailureCause.UNKNOWN,
            "exit code 1, ERROR: odd",
        ),
        ("", 3, FailureCause.UNKNOWN, "exit code 3, without a word"),
    ],
)
def test_failures_are_told_apart(
    installed: Installed, text: str, exit_code: int, cause: FailureCause, detail: str
) -> None:
    error = failure(installed(says(text, exit_code)))
    assert error.cause is cause
    assert detail in error.detail
    assert str(error).startswith("host: " + cause.what)


@pytest.mark.parametrize(
    ("signal", "cause"),
    [
        ("KILL", FailureCause.KILLED),
        ("SEGV", FailureCause.CRASHED),
        ("ILL", FailureCause.CRASHED),
        ("BUS", FailureCause.CRASHED),
        ("ABRT", FailureCause.ABORTED),
    ],
)
@pytest.mark.parametrize("mask", [None, 1])
def test_signals_are_told_apart(
    installed: Installed, signal: str, cause: FailureCause, mask: int | None
) -> None:
    """Even when the text before it would tell of another failure."""
    model = installed(f"ulimit -c 0\necho 'ERROR: Failed to load model'; kill -{signal} $$")
    error = failure(model, BenchmarkOptions(cpu_mask=mask))
    assert error.cause is cause
    assert isinstance(error, ToolKilled) == (signal == "KILL")


def test_a_tool_that_vanished_is_told(installed: Installed) -> None:
    model = installed(says(OF_TFLITE))
    shutil.rmtree(Path(model.remote_path).parent)
    assert failure(model).cause is FailureCause.NOT_FOUND
    error = failure(model, BenchmarkOptions(cpu_mask=1))
    assert (error.cause, error.cause.scope) == (FailureCause.NOT_FOUND, FailureScope.TOOL)
    model.install()
    run(model)


def test_a_tool_that_hangs_is_ended(installed: Installed) -> None:
    with pytest.raises(CommandTimeout):
        installed("sleep 77").run("net.tflite", OPTIONS, timeout_s=0.5)


def test_a_tool_that_floods_is_ended(tmp_path: Path) -> None:
    device = HostDevice(max_output_bytes=1 << 20)
    model = BenchmarkModel(device, tool(tmp_path, "yes"), str(tmp_path / "d"))
    model.install()
    with pytest.raises(DeviceError, match="wrote over"):
        run(model)


@pytest.mark.parametrize(
    "piece",
    [
        "Failed to apply ",
        "taskset: ",
        "Node number 1 (",
        "Failed to load ",
        "(Flexa",
        "rror",
        "--a",
    ],
)
def test_a_text_that_is_made_to_be_slow_to_search_is_not(installed: Installed, piece: str) -> None:
    model = installed("exit 0")
    text = (piece * (4 << 20))[: 4 << 20].encode()
    start = time.monotonic()
    for line in (text, text + b"\n"):
        with pytest.raises(BenchmarkFailed):
            model.read(CommandResult(stdout=line, stderr=line, exit_code=1), OPTIONS)
    assert time.monotonic() - start < 5


def test_control_sequences_are_not_passed_on(installed: Installed) -> None:
    error = failure(installed("printf '\\033[2J\\007ERROR: \\377 bad\\n'; exit 1"))
    assert error.detail.isprintable()
    assert "bad" in error.detail


@pytest.mark.parametrize(
    ("name", "cause", "detail"),
    [
        ("05_v1_tf2.4_mi11_nnapi_qti-dsp_FAILED", FailureCause.DELEGATE_NOT_APPLIED, "Restored"),
        (
            "08_v3_android_aarch64_nightly_op_prepare_FAILED",
            FailureCause.OPERATOR_NOT_PREPARED,
            "Node number 57 (BATCH_MATMUL) failed to prepare",
        ),
        ("16_logcat_nnapi_dsp_invoke_FAILED", FailureCause.INVOKE_FAILED, "failed to invoke"),
    ],
)
def test_failures_of_other_peoples_phones_are_told_apart(
    installed: Installed, name: str, cause: FailureCause, detail: str
) -> None:
    folder = Path(os.environ.get("POCKETNAS_DATA", "/nonexistent")).parent / "benchmark_outputs"
    if not folder.is_dir():
        pytest.skip("POCKETNAS_DATA has no benchmark_outputs beside it")
    text = (folder / f"{name}.txt").read_bytes()
    result = CommandResult(stdout=text, stderr=b"", exit_code=1)
    with pytest.raises(BenchmarkFailed) as caught:
        installed("exit 0").read(result, OPTIONS)
    assert caught.value.cause is cause
    assert detail in caught.value.detail
