"""The stand-in benchmark_model: that it is what the real tool's users meet."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig_benchmark
from ai_edge_litert import profiling_info_pb2
from rig_image import RigUnavailable
from rig_phone import FOLDER, StandInPhone

from device_farm.adb import AdbPhone, TcpRoute
from device_farm.device import CommandResult
from device_farm.errors import CommandTimeout, OutputTooLarge
from profilers.host import HostRunner
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import plan
from toolchain.zoo import make_network

sys.path.insert(0, str(Path(__file__).parents[1] / "profilers"))
import models

pytestmark = pytest.mark.phone

FAMILIES = ["v0", "v1", "v2", "v3", "v4", "v5"]
TOOL = "/data/local/tmp/benchmark_model"
MODEL = "/data/local/tmp/model.tflite"
SHORT = "--num_threads=1 --num_runs=10 --min_secs=0 --warmup_min_secs=0"
PROFILE = f"{SHORT} --enable_op_profiling=true --use_profiler=true"
# The time and the name of each row; v5 has no tabs.
ROW = re.compile(
    r"^\t? *(?P<type>\S.*?)[\t ]+(?:[\d.]+[\t ]+){1,2}(?P<mean>[\d.]+)[\t ]+[\d.]+%[\t ]+[\d.]+%"
    r"[\t ]+[\d.]+[\t ]+(?P<called>\d+)[\t ]+(?P<name>\S.*)$",
    re.MULTILINE,
)


class BenchmarkTool:
    """The stand-in on a phone, with its model."""

    def __init__(self, phone: AdbPhone, state: Path) -> None:
        self.phone = phone
        self.state = state
        phone.push(rig_benchmark.build(), TOOL)
        phone.run(f"chmod 755 {TOOL}", timeout_s=10)

    def run(self, flags: str = SHORT, *, timeout_s: float = 60, **config: str | float) -> str:
        """What a run that must succeed prints."""
        result = self.attempt(flags, timeout_s=timeout_s, **config)
        assert result.exit_code == 0, output_of(result)
        return output_of(result)

    def attempt(
        self, flags: str = SHORT, *, timeout_s: float = 60, **config: str | float
    ) -> CommandResult:
        rig_benchmark.configure(self.state, **config)
        return self.phone.run(f"{TOOL} --graph={MODEL} {flags}", timeout_s=timeout_s)


def output_of(result: CommandResult) -> str:
    return (result.stdout + result.stderr).decode(errors="replace")


def operators_of(text: str) -> list[re.Match[str]]:
    """Rows of the last table in order of execution."""
    table = text.rpartition(" Run Order ")[2].partition(" Top by Computation Time ")[0]
    return list(ROW.finditer(table))


def average_us(text: str) -> float:
    return float(re.findall(r"\b(?:avg|curr)=([\d.e+]+) (?:std|p5)", text)[-1])


@pytest.fixture
def tool(phone: AdbPhone, stand_in: StandInPhone) -> Iterator[BenchmarkTool]:
    yield BenchmarkTool(phone, stand_in.state)
    (stand_in.state / rig_benchmark.CONFIG).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zoo") / "shrinkcnn-a.tflite"
    kernels = plan(make_network("shrinkcnn-a"))
    path.write_bytes(write_tflite(kernels, random_weights(kernels, seed=0)))
    return path


@pytest.fixture
def zoo_tool(tool: BenchmarkTool, network: Path) -> BenchmarkTool:
    """With a network from the zoo."""
    tool.phone.push(network, MODEL)
    return tool


@pytest.fixture
def small_tool(tool: BenchmarkTool, tmp_path: Path) -> BenchmarkTool:
    """With a model of three operators."""
    tool.phone.push(models.write_dense(tmp_path / "dense.tflite", features=64, layers=3), MODEL)
    return tool


@pytest.fixture
def split_tool(tool: BenchmarkTool, tmp_path: Path) -> BenchmarkTool:
    """With a model that XNNPACK takes in two pieces, around one operator that it does not take."""
    tool.phone.push(models.write_concatenation(tmp_path / "split.tflite", branches=6), MODEL)
    return tool


def test_operators_are_those_of_the_host(zoo_tool: BenchmarkTool, network: Path) -> None:
    rows = operators_of(zoo_tool.run(PROFILE))
    host = HostRunner().operators(network, runs=2, warmup=1).operators
    assert [row["name"] for row in rows] == [
        f"Delegate/{operator.name}:{k}" for k, operator in enumerate(host)
    ]
    assert [row["type"] for row in rows] == [operator.name for operator in host]


@pytest.mark.parametrize("family", FAMILIES)
def test_operators_add_up_to_the_whole(zoo_tool: BenchmarkTool, family: str) -> None:
    text = zoo_tool.run(PROFILE, family=family)
    operators_us = 1e3 * sum(float(row["mean"]) for row in operators_of(text))
    assert 0.7 < operators_us / average_us(text) < 1.1


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_layout(small_tool: BenchmarkTool, family: str) -> None:
    result = small_tool.attempt(PROFILE, family=family)
    stdout, text = result.stdout.decode(), output_of(result)
    is_new, is_litert = family >= "v3", family >= "v4"
    assert ("STARTING!" in text) is not is_litert
    assert (text.count("INFO: Running benchmark for at least") == 2) is is_new
    assert (" median=" in text) is is_new
    assert ("========== BENCHMARK RESULTS ==========" in text) is is_litert
    assert ("Average inference timings in us: Warmup:" in text) is (family == "v0")
    assert ("Inference timings in us: Init:" in text) is (family in ("v1", "v2", "v3"))
    assert ("Peak memory footprint" in text) is (family == "v1")
    assert ("Profiling Info for Benchmark Initialization:" in text) is (
        family in ("v1", "v2", "v3")
    )
    assert ("[start]" in text) is (family not in ("v3", "v4"))
    assert ("\t" in text) is (family != "v5")
    assert ("=== Delegate Statistics ===" in text) is (family == "v5")
    assert stdout.startswith("STARTING!") is (family in ("v1", "v2"))
    called = {"v0": "0", "v5": "10"}.get(family, "1")
    kinds = {"v0": "FULLY_CONNECTED", "v5": "Delegate/Fully Connected (NC, F32) GEMM"}
    kinds |= {"v1": kinds["v0"], "v2": kinds["v0"]}
    kind = kinds.get(family, "Fully Connected (NC, F32) GEMM")
    assert [(row["type"], row["called"]) for row in operators_of(text)] == [(kind, called)] * 3


@pytest.mark.parametrize(
    ("failure", "exit_code", "message"),
    [
        ("oom", 137, "Running benchmark"),
        ("segv", 139, "Running benchmark"),
        ("abort", 134, "Running benchmark"),
        ("load", 1, f"ERROR: Failed to load model {MODEL}"),
        ("prepare", 1, "Node number 1 (CONCATENATION) failed to prepare.\nERROR: Failed to alloc"),
        ("delegate", 1, "ERROR: Failed to apply XNNPACK delegate."),
        ("invoke", 1, "failed to invoke.\nINFO: Inference timings in us: Init:"),
        ("link", 1, "CANNOT LINK EXECUTABLE"),
    ],
)
def test_it_fails_on_demand(
    small_tool: BenchmarkTool, failure: str, exit_code: int, message: str
) -> None:
    result = small_tool.attempt(f"{SHORT} --use_xnnpack=true", fail=failure)
    text = output_of(result)
    assert result.exit_code == exit_code
    assert message in text
    is_the_tools_own = exit_code == 1 and failure != "link"
    assert text.rstrip().endswith("ERROR: Benchmarking failed.") is is_the_tools_own


def test_it_succeeds_with_nonsense_on_demand(small_tool: BenchmarkTool) -> None:
    assert small_tool.run(fail="no_output") == ""
    assert "first=nan curr=1e999" in small_tool.run(fail="garbage")
    assert small_tool.run(fail="truncate").count("count=") == 1
    cut = small_tool.run(PROFILE, fail="truncate")
    assert len(operators_of(cut)) == 1
    assert cut.count("nodes observed") == 1


def test_it_hangs_and_floods_on_demand(small_tool: BenchmarkTool) -> None:
    with pytest.raises(CommandTimeout):
        small_tool.attempt(fail="hang", timeout_s=0.8)
    with pytest.raises(OutputTooLarge):
        small_tool.attempt(fail="flood")


def test_a_slip_in_the_configuration_is_not_ignored(small_tool: BenchmarkTool) -> None:
    for config in ({"fail": "ooms"}, {"family": "v9"}, {"slow": 0}, {"speed": 2}):
        assert small_tool.attempt(**config).exit_code == 99


def test_a_silent_fallback_runs_other_kernels(small_tool: BenchmarkTool) -> None:
    explicit = f"{PROFILE} --use_xnnpack=true"
    text = small_tool.run(explicit, fail="silent_fallback")
    assert "Though XNNPACK delegate is explicitly applied, the model graph will not be" in text
    assert [row["name"] for row in operators_of(text)] == ["[t2]:0", "[t4]:1", "[t6]:2"]
    refused = small_tool.attempt(
        f"{explicit} --require_full_delegation=true", fail="silent_fallback"
    )
    assert refused.exit_code == 1
    assert "ERROR: Disallowed CPU fallback detected." in output_of(refused)


def test_a_split_graph_is_told(split_tool: BenchmarkTool) -> None:
    for flags in (SHORT, PROFILE):
        text = split_tool.run(f"{flags} --use_xnnpack=true")
        assert "Replacing 7 out of 8 node(s) with delegate (TfLiteXNNPackDelegate)" in text
        assert "yielding 3 partitions for subgraph 0." in text
        assert "partially executed by the delegate w/ 2 delegate kernels." in text
    assert [row["name"] for row in operators_of(text)] == [
        *(f"Delegate/Abs (NC):{k}" for k in range(6)),
        "[t7]:6",
        "Delegate/Negate (NC):0",
    ]
    flags = f"{SHORT} --use_xnnpack=true --require_full_delegation=true"
    assert "Disallowed CPU fallback" in output_of(split_tool.attempt(flags))


def test_operators_of_several_partitions_fall_together(zoo_tool: BenchmarkTool) -> None:
    text = zoo_tool.run(PROFILE, fail="partial")
    assert "yielding 5 partitions" in text
    rows = operators_of(text)
    assert len(rows) > len({row["called"] for row in rows}) > 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Could not open"),
        (b"", "The model allocation is null/empty"),
        (b"no model at all", "The model is not a valid Flatbuffer buffer"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tool: BenchmarkTool, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "model").write_bytes(content)
        tool.phone.push(tmp_path / "model", MODEL)
    result = tool.attempt()
    assert result.exit_code == 1
    assert message in output_of(result)
    assert f"ERROR: Failed to load model {MODEL}\nERROR: Benchmarking failed." in output_of(result)


def test_a_truncated_model_is_refused(tool: BenchmarkTool, network: Path, tmp_path: Path) -> None:
    for size in (100, 3000, 30_000, 60_000):
        (tmp_path / "cut").write_bytes(network.read_bytes()[:size])
        tool.phone.push(tmp_path / "cut", MODEL)
        result = tool.attempt()
        assert result.exit_code == 1
        assert f"Failed to load model {MODEL}" in output_of(result)


def test_an_unknown_operator_is_refused(tool: BenchmarkTool, tmp_path: Path) -> None:
    tool.phone.push(models.write_unknown_operator(tmp_path / "unknown.tflite"), MODEL)
    result = tool.attempt()
    assert result.exit_code == 1
    assert "Node number 0 (Unknown) failed to prepare." in output_of(result)
    assert "ERROR: Failed to allocate tensors!\nERROR: Benchmarking failed." in output_of(result)


def test_flags_are_parsed_as_the_real_tool_does(small_tool: BenchmarkTool) -> None:
    text = small_tool.run(f"{SHORT} --num_runs=20 --nonsense=1 -x")
    assert "WARNING: Unconsumed cmdline flags: --num_runs=20 --nonsense=1 -x" in text
    assert "Min num runs: [10]" in text
    for flags in ("--num_runs=ten", "--verbose=yes"):
        result = small_tool.attempt(flags)
        assert result.exit_code == 1
        assert f"against argv '{flags}'" in output_of(result)
        assert "\nFlags:\n\t--num_runs=50 " in output_of(result)


def test_help_lists_what_a_family_knows(small_tool: BenchmarkTool) -> None:
    known = {}
    for family in FAMILIES:
        result = small_tool.attempt("--help", family=family)
        assert result.exit_code == 1
        known[family] = set(re.findall(r"^\t--(\w+)=", output_of(result), re.MULTILINE))
    assert "max_secs" not in known["v0"]
    assert {family for family in FAMILIES if "use_profiler" in known[family]} == {"v4", "v5"}
    assert "op_profiling_output_mode" in known["v3"] - known["v2"]
    assert "enable_op_profiling" in known["v3"] - known["v4"]


def test_seconds_and_runs_limit_each_other(small_tool: BenchmarkTool) -> None:
    def counts(flags: str) -> list[int]:
        return [int(count) for count in re.findall(r"count=(\d+)", small_tool.run(flags))]

    assert counts("--num_runs=7 --min_secs=0 --warmup_runs=3 --warmup_min_secs=0") == [3, 7]
    assert counts("--num_runs=7 --min_secs=0.1 --warmup_min_secs=0")[1] > 7
    assert counts("--num_runs=100000000 --max_secs=0.1 --warmup_min_secs=0")[1] < 100_000_000
    assert counts("--dry_run=true") == [0, 0]


def test_it_is_slowed_on_demand(zoo_tool: BenchmarkTool) -> None:
    plain, slowed = zoo_tool.run(PROFILE), zoo_tool.run(PROFILE, slow=4)
    for total in (average_us, lambda text: sum(float(row["mean"]) for row in operators_of(text))):
        assert 3 < total(slowed) / total(plain) < 5


def test_profiles_go_to_files(zoo_tool: BenchmarkTool, tmp_path: Path) -> None:
    names = [row["name"] for row in operators_of(zoo_tool.run(PROFILE))]
    local = tmp_path / "profile"

    zoo_tool.run(f"{PROFILE} --profiling_output_csv_file={MODEL}.csv")
    zoo_tool.phone.pull(f"{MODEL}.csv", local)
    table = local.read_text().rpartition(" Run Order ")[2].partition("\n\n")[0]
    fields = [line.rsplit(", ", 7) for line in table.splitlines()[2:]]
    assert [row[7].replace("\t", ",") for row in fields] == names
    assert {row[6] for row in fields} == {"1"}

    mode = f"--op_profiling_output_mode=proto --op_profiling_output_file={MODEL}.pb"
    zoo_tool.run(f"{PROFILE} {mode}")
    zoo_tool.phone.pull(f"{MODEL}.pb", local)
    data = profiling_info_pb2.BenchmarkProfilingData.FromString(local.read_bytes())
    (graph,) = data.runtime_profile.subgraph_profiles
    assert [row.name for row in graph.per_op_profiles] == names
    assert {row.inference_microseconds.count for row in graph.per_op_profiles} == {10}


def test_xnnpack_is_told_the_precision(zoo_tool: BenchmarkTool) -> None:
    flags = f"{PROFILE} --use_xnnpack=true --xnnpack_force_fp16=true"
    kinds = {row["type"] for row in operators_of(zoo_tool.run(flags))}
    assert "Fully Connected (NC, F16) GEMM" in kinds
    assert not any("F32" in kind for kind in kinds)


def test_without_a_gpu_it_falls_back(small_tool: BenchmarkTool) -> None:
    assert "GPU acceleration is unsupported" in small_tool.run(f"{SHORT} --use_gpu=true")
    refused = small_tool.attempt(f"{SHORT} --use_gpu=true --require_full_delegation=true")
    assert (refused.exit_code, "Disallowed CPU" in output_of(refused)) == (1, True)


def test_it_starts_fast(small_tool: BenchmarkTool) -> None:
    small_tool.run()
    times_s = []
    for _ in range(5):
        start = time.monotonic()
        small_tool.run()
        times_s.append(time.monotonic() - start)
    assert min(times_s) < 0.2


def test_its_time_counts_at_the_present_clock(
    small_tool: BenchmarkTool, stand_in: StandInPhone
) -> None:
    (policy, *_) = sorted(stand_in.state.glob("sys/devices/system/cpu/cpufreq/policy*"))
    table, clock = policy / "stats" / "time_in_state", policy / "scaling_cur_freq"
    rows, before = table.read_text(), clock.read_text()
    lowest = rows.split()[0]
    clock.write_text(f"{lowest}\n")
    try:
        small_tool.run("--min_secs=0.3 --warmup_min_secs=0")
        new, old = (
            {khz: int(ticks) for khz, ticks in map(str.split, text.splitlines())}
            for text in (table.read_text(), rows)
        )
    finally:
        clock.write_text(before)
        table.write_text(rows)
    assert 30 <= new.pop(lowest) - old.pop(lowest) < 1000  # in hundredths of a second
    assert new == old


def test_the_shell_user_changes_settings_and_no_governor(
    phone: AdbPhone, stand_in: StandInPhone
) -> None:
    governor = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    change = f"for file in {governor}; do echo performance >$file; done; sort -u {governor}"
    assert phone.run(change, timeout_s=10).text == "schedutil\n"
    setting = "settings put global pocketnas 3 && settings get global pocketnas"
    assert phone.run(setting, timeout_s=10).text == "3\n"
    assert phone.run("settings delete global pocketnas", timeout_s=10).text == "Deleted 1 rows\n"
    assert phone.run("settings get global pocketnas", timeout_s=10).text == "null\n"


def test_root_changes_the_governor(running_phone: StandInPhone, key_directory: Path) -> None:
    with StandInPhone(is_rooted=True) as rooted:
        phone = AdbPhone(TcpRoute(host=rooted.host, key_directory=key_directory))
        file = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
        change = f"id -un; for file in {file}; do echo performance >$file; done; sort -u {file}"
        assert phone.run(change, timeout_s=10).text == "root\nperformance\n"
        phone.close()


def test_it_is_compiled_once_and_only_with_a_compiler(
    running_phone: StandInPhone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = rig_benchmark.build()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rig_benchmark.build() == path
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))
    with pytest.raises(RigUnavailable, match="install gcc"):
        rig_benchmark.build()


def test_make_phone_runs_until_it_is_interrupted(running_phone: StandInPhone) -> None:
    command = [sys.executable, Path(__file__).with_name("phone.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        greeting = [process.stdout.readline() for _ in range(2)]
        found = re.search(r"at 10\.98\.(\d+)\.2:5555", greeting[0])
        assert found is not None
        assert Path(greeting[1].strip()) == rig_benchmark.build()
        assert (FOLDER / f"phone{found[1]}").exists()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert f"pocketnas devices --device 10.98.{found[1]}.2:5555" in rest
    assert not (FOLDER / f"phone{found[1]}").exists()


def test_make_phone_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = Path(__file__).with_name("phone.py")
    shown = subprocess.run(
        [sys.executable, script],
        env={"PATH": str(tmp_path), "POCKETNAS_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 1
    assert shown.stderr == (
        "no stand-in phone here: the phone image is built by root, on a machine with apt\n"
    )
