from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import models
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from profilers import litert_library
from profilers.compiled_model import EventKind, RecordedEvent
from profilers.errors import EventsDiffer, ModelRejected, RuntimeUnavailable
from profilers.litert import LiteRtModel, RunTimes, _run_profile, runtime_identity
from profilers.litert_self_test import check_runtime


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return models.write_dense(tmp_path / "dense.tflite", features=64, layers=3)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def test_outputs_are_those_of_numpy(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    weights = generator.standard_normal((5, 8)).astype(np.float32)
    builder = models.ModelBuilder()
    source = builder.tensor((1, 8))
    path = builder.write(
        tmp_path / "m.tflite", [source], [builder.fully_connected(source, weights)]
    )
    array = generator.standard_normal((1, 8)).astype(np.float32)
    with LiteRtModel(path) as model:
        model.set_input(array)
        model.run()
        np.testing.assert_allclose(model.read_output(), array @ weights.T, rtol=1e-5, atol=1e-6)


def test_several_inputs_and_outputs_keep_the_order_of_the_file(tmp_path: Path) -> None:
    builder = models.ModelBuilder()
    table = builder.tensor((2, 3), data=np.arange(6, dtype=np.float32))
    values, ids = builder.tensor((1, 4)), builder.tensor((2,), dtype="int32")
    rows = builder.operator("GATHER", [table, ids], (2, 3), schema.GatherOptionsT())
    positive = builder.operator("ABS", [values], (1, 4))
    path = builder.write(tmp_path / "m.tflite", [values, ids], [rows, positive])
    with LiteRtModel(path) as model:
        assert [(spec.shape, spec.dtype) for spec in model.inputs] == [
            ((1, 4), np.float32),
            ((2,), np.int32),
        ]
        model.set_input(np.array([[-1, 2, -3, 4]], np.float32))
        model.set_input(np.array([1, 0], np.int32), index=1)
        model.run()
        assert model.read_output(0).tolist() == [[3, 4, 5], [0, 1, 2]]
        assert model.read_output(1).tolist() == [[1, 2, 3, 4]]
        model.fill_inputs(0)
        model.run()
        assert set(model.read_output(0)[:, 0]) <= {0, 3}


def test_inputs_are_zero_until_set_and_a_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    path = models.write_concatenation(tmp_path / "m.tflite", branches=2)
    with LiteRtModel(path) as model:
        model.run()
        outputs = [model.read_output()]
        for seed in (3, 3, 4):
            model.fill_inputs(seed)
            model.run()
            outputs.append(model.read_output())
    assert not outputs[0].any()
    assert np.array_equal(outputs[1], outputs[2])
    assert not np.array_equal(outputs[2], outputs[3])


@pytest.mark.parametrize(
    "array", [np.zeros((1, 63), np.float32), np.zeros((1, 64)), np.zeros(64, np.float32)]
)
def test_an_input_of_another_shape_or_type_is_refused(dense: Path, array: np.ndarray) -> None:
    with LiteRtModel(dense) as model, pytest.raises(ValueError, match=r"float32\[1, 64\]"):
        model.set_input(array)


def test_an_input_that_is_not_contiguous_is_copied_right(tmp_path: Path) -> None:
    path = models.write_concatenation(tmp_path / "m.tflite", branches=1, side=4, channels=4)
    array = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4).transpose(0, 3, 2, 1)
    with LiteRtModel(path) as model:
        model.set_input(array)
        model.run()
        assert np.array_equal(model.read_output(), -array)


def test_a_delegated_model_has_one_event_per_kernel(dense: Path) -> None:
    with LiteRtModel(dense, profile=True) as model:
        profile = model.profile(runs=7, warmup=2)
    assert [operator.index for operator in profile.operators] == [0, 1, 2]
    for operator in profile.operators:
        assert operator.name.startswith("Fully Connected")
        assert operator.is_delegated
        assert len(operator.samples_ms) == 7
    assert len(profile.invoke_ms) == 7


def test_a_concatenation_of_six_leaves_xnnpack_in_order_and_is_counted_once(
    tmp_path: Path,
) -> None:
    path = models.write_concatenation(tmp_path / "m.tflite", branches=6, side=128, channels=8)
    with LiteRtModel(path, profile=True) as model:
        profile = model.profile(runs=15, warmup=3)
    found = [(operator.name, operator.is_delegated) for operator in profile.operators]
    assert found == [("Abs (NC)", True)] * 6 + [("CONCATENATION", False), ("Negate (NC)", True)]
    medians = [np.median(operator.samples_ms) for operator in profile.operators]
    assert 0.7 * np.median(profile.invoke_ms) < sum(medians) < 1.1 * np.median(profile.invoke_ms)


def test_a_concatenation_of_five_is_one_event_with_the_time_of_all_copies(tmp_path: Path) -> None:
    path = models.write_concatenation(tmp_path / "m.tflite", branches=5, side=256, channels=16)
    with LiteRtModel(path, profile=True) as model:
        profile = model.profile(runs=15, warmup=3)
    names = [operator.name for operator in profile.operators]
    assert names == ["Abs (NC)"] * 5 + ["Copy (NC, X32)", "Negate (NC)"]
    medians = [np.median(operator.samples_ms) for operator in profile.operators]
    # Were only one of the copies counted, the rest of the graph would be far from the whole.
    assert 0.85 * np.median(profile.invoke_ms) < sum(medians) < 1.1 * np.median(profile.invoke_ms)
    assert medians[5] > 2 * medians[0]


def test_times_are_whole_microseconds_rounded_down(tmp_path: Path) -> None:
    operators = 400
    builder = models.ModelBuilder()
    source = value = builder.tensor((1, 1024))
    for number in range(operators):
        value = builder.operator("ABS" if number % 2 else "NEG", [value], (1, 1024))
    path = builder.write(tmp_path / "m.tflite", [source], [value])
    with LiteRtModel(path, profile=True) as model:
        profile = model.profile(runs=20, warmup=3)
    samples_us = 1e3 * np.array([operator.samples_ms for operator in profile.operators])
    assert np.allclose(samples_us, np.round(samples_us))
    # 400 operators of some 0.1 us read 0, although the graph takes tens of microseconds.
    assert np.median(samples_us.sum(axis=0)) < 0.2 * np.median(profile.invoke_ms) * 1e3


def test_thousands_of_operators_fit_the_profiler(tmp_path: Path) -> None:
    builder = models.ModelBuilder()
    source = value = builder.tensor((1, 4))
    for number in range(2500):
        value = builder.operator("ABS" if number % 2 else "NEG", [value], (1, 4))
    path = builder.write(tmp_path / "m.tflite", [source], [value])
    with LiteRtModel(path, profile=True) as model:
        profile = model.profile(runs=40, warmup=0)
    assert [operator.index for operator in profile.operators] == list(range(2500))
    assert {len(operator.samples_ms) for operator in profile.operators} == {40}
    assert len(profile.invoke_ms) == 40


def test_runs_that_report_different_operators_are_not_paired() -> None:
    graph = RecordedEvent(EventKind.GENERAL, "Invoke", 0, 9)
    run = [graph, RecordedEvent(EventKind.DELEGATED_OPERATOR, "Abs (NC)", 0, 5)]
    renamed = [graph, run[1]._replace(name="Clamp (NC)")]
    slower = [graph, run[1]._replace(elapsed_us=6)]
    assert _run_profile(run + slower, 2, Path("net.tflite")).operators[0].samples_ms == (
        5e-3,
        6e-3,
    )
    for other in (renamed, [graph], [*run, run[1]], [], run * 2):
        with pytest.raises(EventsDiffer, match=r"2 runs of net\.tflite"):
            _run_profile(run + other, 2, Path("net.tflite"))


def test_control_flow_is_not_timed_per_operator(tmp_path: Path) -> None:
    path = models.write_branch(tmp_path / "if.tflite")
    with LiteRtModel(path, profile=True) as model:
        assert len(model.time_runs(runs=2, warmup=0).wall_ms) == 2
        with pytest.raises(ModelRejected, match="control flow"):
            model.profile(runs=1, warmup=0)


def test_profiling_must_be_asked_for_when_opening(dense: Path) -> None:
    with LiteRtModel(dense) as model, pytest.raises(ValueError, match="profile=True"):
        model.profile(runs=1, warmup=0)


def test_cpu_time_with_one_thread_is_the_latency_and_close_to_wall_time(tmp_path: Path) -> None:
    path = models.write_dense(tmp_path / "m.tflite", features=1024, layers=4)
    with LiteRtModel(path) as model:
        times = model.time_runs(runs=30, warmup=5)
    assert len(times.cpu_ms) == len(times.wall_ms) == 30
    assert times.samples_ms == times.cpu_ms
    # The quietest run was not preempted: then both clocks agree.
    quiet = int(np.argmin(times.wall_ms))
    assert times.cpu_ms[quiet] == pytest.approx(times.wall_ms[quiet], rel=0.2)


def test_several_threads_compute_the_same_and_are_timed_by_the_wall(tmp_path: Path) -> None:
    path = models.write_dense(tmp_path / "m.tflite", features=256, layers=4)
    outputs = []
    for threads in (1, 2):
        with LiteRtModel(path, threads=threads) as model:
            model.fill_inputs(0)
            times = model.time_runs(runs=3, warmup=1)
            outputs.append(model.read_output())
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    assert times.samples_ms == times.wall_ms
    assert times == RunTimes(threads=2, cpu_ms=times.cpu_ms, wall_ms=times.wall_ms)


@pytest.mark.parametrize(("runs", "warmup"), [(0, 0), (1, -1)])
def test_counts_out_of_range_are_refused(dense: Path, runs: int, warmup: int) -> None:
    with LiteRtModel(dense) as model, pytest.raises(ValueError, match="give at least"):
        model.time_runs(runs, warmup)
    with pytest.raises(ValueError, match="threads is 0"):
        LiteRtModel(dense, threads=0)


def test_a_closed_model_refuses_to_run_instead_of_crashing(dense: Path) -> None:
    model = LiteRtModel(dense, profile=True)
    model.close()
    model.close()
    for action in (
        model.run,
        model.read_output,
        lambda: model.fill_inputs(0),
        lambda: model.set_input(np.zeros((1, 64), np.float32)),
        lambda: model.time_runs(1, 0),
        lambda: model.profile(1, 0),
    ):
        with pytest.raises(ValueError, match="is closed"):
            action()


@pytest.mark.parametrize("profile", [False, True])
def test_closing_frees_everything(tmp_path: Path, profile: bool) -> None:
    # A leak of the weights alone would be 300 MB over the 300 cycles.
    path = models.write_dense(tmp_path / "m.tflite", features=512)
    cycles = 300 if not profile else 40
    for cycle in range(cycles):
        with LiteRtModel(path, profile=profile) as model:
            model.run()
            if profile:
                model.profile(1, 0)
        if cycle == cycles // 10:
            settled_mb = resident_mb()
    assert resident_mb() - settled_mb < 20


def test_rejected_models_leak_nothing(tmp_path: Path) -> None:
    path = models.write_unknown_operator(tmp_path / "m.tflite")
    for cycle in range(100):
        with pytest.raises(ModelRejected):
            LiteRtModel(path)
        if cycle == 10:
            settled_mb = resident_mb()
    assert resident_mb() - settled_mb < 10


def test_nothing_is_written_to_the_terminal(dense: Path) -> None:
    program = (
        "import sys; from profilers.litert import LiteRtModel\n"
        "with LiteRtModel(sys.argv[1], profile=True) as model: model.profile(2, 1)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, dense], capture_output=True, text=True
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_standard_error_works_after_models_were_opened_from_several_threads(
    dense: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def open_often() -> None:
        for _ in range(10):
            LiteRtModel(dense).close()

    threads = [threading.Thread(target=open_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("still here", file=sys.stderr)  # noqa: T201
    assert capfd.readouterr().err == "still here\n"


def test_what_litert_says_about_a_rejected_model_is_in_the_error(tmp_path: Path) -> None:
    path = models.write_unknown_operator(tmp_path / "m.tflite")
    with pytest.raises(ModelRejected, match=r"m\.tflite.*unresolved custom op: Unknown"):
        LiteRtModel(path)


def test_a_failure_on_certain_inputs_is_an_error_and_the_model_stays_usable(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    builder = models.ModelBuilder()
    table = builder.tensor((2, 3), data=np.arange(6, dtype=np.float32))
    ids = builder.tensor((1,), dtype="int32")
    rows = builder.operator("GATHER", [table, ids], (1, 3), schema.GatherOptionsT())
    path = builder.write(tmp_path / "m.tflite", [ids], [rows])
    with LiteRtModel(path) as model:
        model.set_input(np.array([7], np.int32))
        with pytest.raises(ModelRejected, match="on these inputs"):
            model.run()
        assert "out of bounds" in capfd.readouterr().err
        model.set_input(np.array([1], np.int32))
        model.run()
        assert model.read_output().tolist() == [[3, 4, 5]]


def test_text_inputs_are_rejected(tmp_path: Path) -> None:
    builder = models.ModelBuilder()
    source = builder.tensor((1, 4), dtype="string")
    path = builder.write(
        tmp_path / "m.tflite", [source], [builder.operator("ABS", [source], (1, 4))]
    )
    with pytest.raises(ModelRejected, match=r"input 0 of .* element type 5"):
        LiteRtModel(path)


def test_a_missing_model_is_rejected_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"missing\.tflite: No such file"):
        LiteRtModel(tmp_path / "missing.tflite")
    with pytest.raises(ModelRejected, match="Is a directory"):
        LiteRtModel(tmp_path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"not a model" * 100, bytes(5000)])
def test_files_of_another_kind_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match="is not a TFLite model"):
        LiteRtModel(path)


@pytest.mark.parametrize("fraction", [0.0001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_truncated_models_are_rejected(tmp_path: Path, fraction: float) -> None:
    path = models.write_dense(tmp_path / "m.tflite", features=512, layers=4)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(ModelRejected, match=r"m\.tflite"):
        LiteRtModel(path)


def test_constants_behind_the_end_of_the_file_are_rejected(tmp_path: Path) -> None:
    builder = models.ModelBuilder()
    source = builder.tensor((1, 4))
    output = builder.fully_connected(source, np.ones((4, 4), np.float32))
    constant = builder.model.buffers[1]
    path = builder.write(tmp_path / "m.tflite", [source], [output])
    constant.data, constant.offset, constant.size = None, path.stat().st_size + 4096, 64
    builder.write(path, [source], [output])
    with pytest.raises(ModelRejected, match="behind the end of the file"):
        LiteRtModel(path)


@pytest.mark.parametrize("noun", ["tensor", "buffer", "operator code", "subgraph"])
def test_indices_out_of_range_are_rejected(tmp_path: Path, noun: str) -> None:
    builder = models.ModelBuilder()
    source = builder.tensor((1, 4))
    output = builder.operator("ABS", [source], (1, 4))
    path = builder.write(tmp_path / "m.tflite", [source], [output])
    if noun == "tensor":
        builder.graph.operators[0].inputs = [77]
    elif noun == "buffer":
        builder.graph.tensors[0].buffer = 77
    elif noun == "operator code":
        builder.graph.operators[0].opcodeIndex = 77
    else:
        builder.model.signatureDefs[0].subgraphIndex = 77
    path.write_bytes(builder.packed())
    with pytest.raises(ModelRejected, match=f"{noun} 77 of"):
        LiteRtModel(path)


DAMAGE = """
import pathlib, random, sys
from profilers.errors import ModelRejected
from profilers.litert import LiteRtModel
path = pathlib.Path(sys.argv[1])
good = path.read_bytes()
generator = random.Random(0)
for _ in range(60):
    start = generator.randrange(8, len(good) - 64)
    path.write_bytes(good[:start] + generator.randbytes(64) + good[start + 64 :])
    try:
        LiteRtModel(path).close()
        print("ran")
    except ModelRejected:
        print("rejected")
"""


def test_models_with_overwritten_stretches_are_rejected_and_never_crash(tmp_path: Path) -> None:
    path = models.write_concatenation(tmp_path / "m.tflite", branches=6)
    process = subprocess.run([sys.executable, "-c", DAMAGE, path], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    outcomes = process.stdout.split()
    assert len(outcomes) == 60
    assert outcomes.count("rejected") > 40


def test_control_c_between_runs_leaves_a_model_that_works(tmp_path: Path) -> None:
    path = models.write_dense(tmp_path / "m.tflite", features=512)
    with LiteRtModel(path, profile=True) as model:
        for measure in (model.profile, model.time_runs):
            timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                measure(10**9, 0)
            timer.join()
        assert len(model.profile(3, 0).operators) == 1


def test_the_identity_is_that_of_the_installed_library() -> None:
    identity = runtime_identity()
    spec = importlib.util.find_spec("ai_edge_litert")
    assert spec is not None
    assert spec.origin is not None
    content = Path(spec.origin).with_name("libLiteRt.so").read_bytes()
    assert identity.sha256 == hashlib.sha256(content).hexdigest()
    assert identity.version == importlib.metadata.version("ai-edge-litert")
    assert identity.name == "litert"


@pytest.fixture
def fresh_runtime() -> Iterator[None]:
    caches = (litert_library.library, runtime_identity, check_runtime)
    for function in caches:
        function.cache_clear()
    yield
    for function in caches:
        function.cache_clear()


@pytest.mark.parametrize("version", ["2.1.2", "2.4.0", "3.0", "unknown"])
@pytest.mark.usefixtures("fresh_runtime")
def test_an_unknown_version_is_refused_with_the_known_ones(
    dense: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    for action in (runtime_identity, lambda: LiteRtModel(dense)):
        with pytest.raises(RuntimeUnavailable, match=rf"{version}.*>=2\.2,<2\.4"):
            action()


@pytest.mark.usefixtures("fresh_runtime")
def test_a_missing_or_foreign_library_is_refused(
    dense: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = importlib.util.spec_from_file_location(
        "ai_edge_litert", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(RuntimeUnavailable, match=r"no libLiteRt\.so"):
        LiteRtModel(dense)
    library = tmp_path / "libLiteRt.so"
    library.write_bytes(b"no library")
    with pytest.raises(RuntimeUnavailable, match="does not load"):
        LiteRtModel(dense)
    library.unlink()
    library.symlink_to(sys.modules["_ctypes"].__file__)
    with pytest.raises(RuntimeUnavailable, match="exports no LiteRt"):
        LiteRtModel(dense)


@pytest.mark.usefixtures("fresh_runtime")
def test_a_library_whose_structures_moved_fails_the_self_test(
    dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elapsed, start = litert_library.ProfilerEvent.start_us, litert_library.ProfilerEvent.elapsed_us
    monkeypatch.setattr(litert_library.ProfilerEvent, "elapsed_us", elapsed)
    monkeypatch.setattr(litert_library.ProfilerEvent, "start_us", start)
    with pytest.raises(RuntimeUnavailable, match=r"fails the self-test \(times read as"):
        LiteRtModel(dense)
