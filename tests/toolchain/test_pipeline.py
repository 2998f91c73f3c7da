from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import middle_ms, table_of
from small_run import (
    GENOTYPE,
    METHOD_SETTINGS,
    SPACE,
    STOPPED,
    make_data,
    make_task,
    small_config,
    space_of,
    start,
)

from latency_tables.budget import Budget
from latency_tables.errors import KernelMissing
from latency_tables.store import load_table
from toolchain import pipeline
from toolchain.errors import BudgetUnreachable, RunUnusable
from toolchain.kinds.classification import Classification
from toolchain.kinds.task import OnStep
from toolchain.module import GraphModule
from toolchain.run_dir import RunDirectory
from toolchain.train.checkpoint import load_weights

HERE = Path(__file__).parent


def kill_in(stage: str, path: Path, method: str, *, workers: int, after: int) -> None:
    """Do a stage in a process of its own and kill it with SIGKILL in the middle."""
    script = (
        "from pathlib import Path; from small_run import stop_in; "
        f"stop_in({stage!r}, Path({str(path)!r}), {method!r}, workers={workers}, after={after})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"},
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline_s = time.monotonic() + 60
        while not (path / STOPPED).exists():
            assert child.poll() is None, f"ended before it was killed: {child.communicate()[1]}"
            assert time.monotonic() < deadline_s, "did not come so far"
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -9
    (path / STOPPED).unlink()


def tear_last_line(path: Path) -> None:
    """As if the kill had come while the line was written."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines)[: -len(lines[-1]) // 2])


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the processor time that it took, the one thing that may differ."""
    return {
        name: timeless(value) if isinstance(value, dict) else value
        for name, value in record.items()
        if name != "cpu_s"
    }


def candidates(run: RunDirectory) -> dict[str, dict[str, Any]]:
    records = run.records("candidates.jsonl")
    assert max(Counter(record["genotype"] for record in records).values()) == 1
    return {record["genotype"]: timeless(record) for record in records}


def search(path: Path, method: str, *, workers: int, resume: bool = False) -> RunDirectory:
    run, config, appraiser = start(path, method, resume=resume)
    answer = pipeline.search(run, config, appraiser, make_task(), workers=workers)
    assert answer == pipeline.found(run)
    return run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return {method: search(folder / method, method, workers=1) for method in METHOD_SETTINGS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "workers_before", "workers_after", "is_torn"),
    [("autoshrink", 2, 1, True), ("random", 1, 2, False), ("gram", 2, 1, True)],
)
def test_a_killed_search_goes_on_to_the_same_result(
    uninterrupted: dict[str, RunDirectory],
    tmp_path: Path,
    method: str,
    workers_before: int,
    workers_after: int,
    is_torn: bool,
) -> None:
    path = tmp_path / "run"
    kill_in("search", path, method, workers=workers_before, after=5)
    killed = RunDirectory(path)
    assert len(candidates(killed)) in (5, 6)  # a second worker may have finished one more
    with pytest.raises(RunUnusable, match="has not finished; go on with --resume"):
        pipeline.found(killed)
    if is_torn:
        tear_last_line(path / "candidates.jsonl")
        assert len(killed.records("candidates.jsonl")) in (4, 5)
    trained = set(candidates(killed))
    resumed = search(path, method, workers=workers_after, resume=True)
    expected = uninterrupted[method]
    assert trained < set(candidates(expected))
    assert candidates(resumed) == candidates(expected)
    assert timeless(pipeline.found(resumed)) == timeless(pipeline.found(expected))
    assert [timeless(step) for step in pipeline.found(resumed)["trajectory"]] == [
        timeless(step) for step in pipeline.found(expected)["trajectory"]
    ]


def test_the_answer_is_a_trained_candidate_within_the_budget(
    uninterrupted: dict[str, RunDirectory],
) -> None:
    for method, run in uninterrupted.items():
        limit_ms = middle_ms(space_of(method))
        found = pipeline.found(run)
        trained = candidates(run)
        assert found["evaluations"] == len(trained)
        assert timeless(found["best"]) == trained[found["best"]["genotype"]]
        within = [one for one in trained.values() if one["p95_ms"] <= limit_ms * (1 + 1e-9)]
        assert found["best"]["metric"] == max(one["metric"] for one in within)
        # The budget is a limit for this run: only AutoShrink's walk must train what breaks it.
        assert (len(within) < len(trained)) == (method == "autoshrink")


def test_a_finished_search_is_not_done_again(uninterrupted: dict[str, RunDirectory]) -> None:
    for method, run in uninterrupted.items():
        before = {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()}
        search(run.path, method, workers=1, resume=True)
        assert {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()} == before


def test_candidates_are_told_of_once_each_also_when_resumed(
    uninterrupted: dict[str, RunDirectory], tmp_path: Path
) -> None:
    run, config, appraiser = start(tmp_path / "run", "random")
    journal = (uninterrupted["random"].path / "candidates.jsonl").read_bytes()
    (run.path / "candidates.jsonl").write_bytes(journal)
    told: list[str] = []
    pipeline.search(
        run, config, appraiser, make_task(), workers=1,
        on_candidate=lambda candidate: told.append(candidate.genotype),
    )  # fmt: skip
    assert sorted(told) == sorted(candidates(run))
    assert (run.path / "candidates.jsonl").read_bytes() == journal


def train(path: Path, on_step: OnStep | None = None) -> RunDirectory:
    run, config, _ = start(path, "random", resume=True)
    list(pipeline.train_network(run, config, GENOTYPE, make_task(), on_step=on_step))
    return run


def weights_sha256(run: RunDirectory) -> str:
    return hashlib.sha256((run.path / "weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(tmp_path_factory.mktemp("trained") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("after", "killed_in_epoch"), [(10, 2), (21, 3)])
def test_a_killed_training_goes_on_to_the_same_weights(
    trained: RunDirectory, tmp_path: Path, after: int, killed_in_epoch: int
) -> None:
    # 108 images in batches of 16 are 7 steps an epoch: in the second, at the end of the third.
    path = tmp_path / "run"
    kill_in("train", path, "random", workers=1, after=after)
    assert not RunDirectory(path).has("weights.safetensors")
    done: list[int] = []
    resumed = train(path, on_step=lambda step, steps, loss: done.append(step))
    assert done == list(range(7 * (killed_in_epoch - 1) + 1, 22))
    assert weights_sha256(resumed) == weights_sha256(trained)
    assert resumed.read_json("test.json") == trained.read_json("test.json")
    curve = [record["epoch"] for record in resumed.records("training.jsonl")]
    assert curve == [1, 2, 3]


def test_a_training_leaves_weights_curve_and_test_accuracy(trained: RunDirectory) -> None:
    module = GraphModule(SPACE.decode(GENOTYPE))
    assert load_weights(trained.path / "weights.safetensors", module)["genotype"] == GENOTYPE
    tested = trained.read_json("test.json")
    assert tested["genotype"] == GENOTYPE
    assert tested["images"] == 30
    assert 0.5 < tested["accuracy"] <= 1
    data = make_data()
    module.eval()
    pixels = data.test.images.float()
    mean, std = (255 * torch.tensor(value) for value in (data.test.mean, data.test.std))
    with torch.no_grad():
        right = module((pixels - mean) / std).argmax(1) == data.test.labels
    assert right.float().mean().item() == pytest.approx(tested["accuracy"])


def test_a_finished_training_is_not_done_again(trained: RunDirectory) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in trained.path.iterdir()}
    train(trained.path)
    assert {file.name: file.stat().st_mtime_ns for file in trained.path.iterdir()} == before


def test_an_untrained_run_is_not_exported(tmp_path: Path) -> None:
    run, config, _ = start(tmp_path / "run", "random")
    with pytest.raises(RunUnusable, match="no trained network; run: pocketnas train"):
        pipeline.export(run, config, make_task())


def test_an_int8_network_is_calibrated_on_training_images_and_judged_on_test_images(
    tmp_path: Path,
) -> None:
    run = search(tmp_path / "run", "random", workers=1)
    config, data, task = small_config("random"), make_data(), make_task()
    list(pipeline.train_network(run, config, pipeline.found(run)["best"]["genotype"], task))
    artifact = pipeline.export(run, config, task)
    quantized = pipeline.quantize(run, config, task, artifact, calibration_images=30)
    assert quantized.path == run.path / "network.int8.tflite"
    report = quantized.quantization
    assert report is not None
    assert (report.calibration_images, report.images, report.float_ops) == (30, 30, ())
    assert report.float_accuracy == pytest.approx(run.read_json("test.json")["accuracy"])
    assert report.sqnr_db > 10

    def again(**images: torch.Tensor) -> str:
        changed = {name: replace(getattr(data, name), images=it) for name, it in images.items()}
        other = Classification(replace(data, **changed))
        return pipeline.quantize(run, config, other, artifact, calibration_images=30).sha256

    assert again() == again(test=data.test.images.flip(0)) == quantized.sha256
    assert again(train=data.train.images // 2) != quantized.sha256
    everything = pipeline.quantize(run, config, task, artifact, calibration_images=10**6)
    assert everything.quantization is not None
    assert everything.quantization.calibration_images == len(data.train)
    with pytest.raises(ValueError, match="1 image or more, got 0"):
        pipeline.quantize(run, config, task, artifact, calibration_images=0)


def test_a_run_keeps_its_table_and_refuses_another(tmp_path: Path) -> None:
    config, table = small_config(), table_of(SPACE)
    run = pipeline.open_run(tmp_path / "run", config, table, resume=False)
    assert load_table(run.path / "latency.table") == table
    pipeline.open_run(run.path, config, table, resume=True)
    other = replace(table, settings={"seed": 2})
    with pytest.raises(RunUnusable, match="table_sha256 was"):
        pipeline.open_run(run.path, config, other, resume=True)


def test_a_search_that_cannot_succeed_is_refused_before_anything_is_trained() -> None:
    table = table_of(SPACE)
    config = small_config(budget=Budget(limit_ms=1e-4))
    with pytest.raises(BudgetUnreachable, match="the fastest of"):
        pipeline.make_appraiser(config, table)
    rows = dict(table.rows)
    rows.popitem()
    with pytest.raises(KernelMissing):
        pipeline.make_appraiser(small_config(), replace(table, rows=rows))
    with pytest.raises(ValueError, match="needs a latency table"):
        pipeline.make_appraiser(small_config(), None)
    assert pipeline.make_appraiser(small_config(budget=None), None).model is None
