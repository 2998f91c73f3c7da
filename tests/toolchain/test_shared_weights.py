"""The supernet of a run, and the loop around it: killed, gone on with, taken over."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import FINE, SUPERNET, shared_config, small_task, start_shared
from small_tasks import STOPPED as STOPPED_FILE

from latency_tables.budget import Budget
from toolchain import pipeline
from toolchain.config import config_from_json
from toolchain.errors import CheckpointUnusable, RunUnusable
from toolchain.run_dir import RunDirectory
from toolchain.shared_weights import (
    CURVE,
    SCORES,
    WEIGHTS,
    adopt_shared_weights,
    describe_shared_weights,
    inherited_network,
    train_shared_weights,
)
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.train.checkpoint import load_weights
from toolchain.train.supernet import Supernet, recalibrate
from toolchain.train.supernet_training import score

HERE = Path(__file__).parent
TIMES = {"seconds", "cpu_s", "images_per_second"}


def kill_in(stage: str, path: Path, after: int) -> None:
    """Do the loop in a process of its own and kill it with SIGKILL in the middle of a stage."""
    script = (
        "from pathlib import Path; from small_tasks import stop_shared; "
        f"stop_shared({stage!r}, Path({str(path)!r}), {after})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"},
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline_s = time.monotonic() + 120
        while not (path / STOPPED_FILE).exists():
            assert child.poll() is None, f"ended before it was killed: {child.communicate()[1]}"
            assert time.monotonic() < deadline_s, "did not come so far"
            time.sleep(0.01)
        child.kill()
    (path / STOPPED_FILE).unlink()


def do_all(path: Path, *, workers: int = 1) -> RunDirectory:
    """Supernet, search and two epochs of training, or what is left of them."""
    run, config, appraiser = start_shared(path, resume=True, epochs=2, train_set=FINE)
    task = small_task("segmentation")
    found = pipeline.search(run, config, appraiser, task, workers=workers)
    list(pipeline.train_network(run, config, found["best"]["genotype"], task))
    return run


def timeless(record: Any) -> Any:
    if isinstance(record, dict):
        return {name: timeless(one) for name, one in record.items() if name not in TIMES}
    return record


def results(run: RunDirectory) -> dict[str, Any]:
    """Everything that a run found and made, but for the times that it took."""
    weights = [*WEIGHTS.values(), "weights.safetensors", "predictions.png"]
    return {
        **{name: timeless(run.read_json(name)) for name in (SCORES, "search.json", "test.json")},
        **{name: hashlib.sha256((run.path / name).read_bytes()).hexdigest() for name in weights},
        "candidates": sorted(str(timeless(one)) for one in run.records("candidates.jsonl")),
        CURVE: [timeless(one) for one in run.records(CURVE)],
        "training": [timeless(one) for one in run.records("training.jsonl")],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return do_all(tmp_path_factory.mktemp("whole") / "run")


def test_a_run_leaves_teacher_supernet_curve_and_scores(whole: RunDirectory) -> None:
    curve = whole.records(CURVE)
    assert [(one["network"], one["step"]) for one in curve] == [
        *(("teacher", step) for step in (3, 6, 8)),
        *(("supernet", step) for step in (3, 6, 9, 12)),
    ]
    config = config_from_json(whole.config)
    scores = whole.read_json(SCORES)["scores"]
    assert set(scores) == {"teacher", "smallest", "largest"}
    space = config.space
    assert isinstance(space, ScaleNetSpace)
    supernet = Supernet(space)
    load_weights(whole.path / WEIGHTS["supernet"], supernet)
    objective = small_task("segmentation").objective(config.seed)
    assert scores["smallest"] == score(supernet, space.smallest(), objective)
    best = pipeline.found(whole)["best"]
    assert best["metric"] == score(supernet, best["genotype"], objective)
    assert config.budget is not None
    assert best["p95_ms"] <= config.budget.limit_ms
    text = describe_shared_weights(whole.read_json(SCORES), config)
    assert text.startswith("supernet, mIoU on validation data: teacher ")
    assert f"largest {scores['largest']:.2%}" in text


def test_the_answer_begins_with_the_supernets_weights(whole: RunDirectory) -> None:
    """With no epoch of training its test result is that of the extracted, recalibrated network."""
    config = shared_config()
    assert config.training.epochs == 0
    task = small_task("segmentation")
    best = pipeline.found(whole)["best"]
    genotype = best["genotype"]
    network = inherited_network(whole, config, task, genotype)
    objective = task.objective(config.seed)
    assert objective.score(network) == best["metric"]
    again = inherited_network(whole, config, task, genotype)
    recalibrate(again, objective.calibration())
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "after"),
    [("supernet", 5), ("supernet", 8), ("supernet", 15), ("search", 3), ("train", 6)],
)
def test_a_loop_killed_anywhere_goes_on_to_the_same_result(
    whole: RunDirectory, tmp_path: Path, stage: str, after: int
) -> None:
    """In the teacher's training, at its end, in the supernet's, in the search, in fine-tuning."""
    path = tmp_path / "run"
    kill_in(stage, path, after)
    assert not RunDirectory(path).has("test.json")
    resumed = do_all(path, workers=2)
    assert results(resumed) == results(whole)


def test_a_trained_supernet_is_not_trained_again(whole: RunDirectory) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in whole.path.iterdir()}
    steps: list[int] = []
    run, config, _ = start_shared(whole.path, resume=True, epochs=2, train_set=FINE)
    train_shared_weights(
        run, config, small_task("segmentation"), on_step=lambda done, *_: steps.append(done)
    )
    assert steps == []
    assert {file.name: file.stat().st_mtime_ns for file in whole.path.iterdir()} == before


def test_steps_are_counted_over_both_trainings(tmp_path: Path) -> None:
    run, config, _ = start_shared(tmp_path / "run")
    told: list[tuple[int, int, str]] = []
    train_shared_weights(
        run, config, small_task("segmentation"), on_step=lambda *one: told.append(one)
    )
    assert [done for done, _, _ in told] == list(range(1, 21))
    assert {steps for _, steps, _ in told} == {20}
    assert told[0][2].startswith("teacher: loss ")
    assert told[-1][2].startswith("supernet: loss ")
    assert not list(run.path.glob("*.checkpoint"))


def test_without_a_teacher_there_is_none(tmp_path: Path) -> None:
    run, config, _ = start_shared(
        tmp_path / "run", supernet_set=[*SUPERNET, "teacher_steps=0", "steps=4"]
    )
    scores = train_shared_weights(run, config, small_task("segmentation"))["scores"]
    assert set(scores) == {"smallest", "largest"}
    assert not run.has(WEIGHTS["teacher"])
    assert {one["network"] for one in run.records(CURVE)} == {"supernet"}


def test_one_supernet_serves_another_budget(whole: RunDirectory, tmp_path: Path) -> None:
    theirs = config_from_json(whole.config)
    assert theirs.budget is not None
    other = Budget(limit_ms=0.97 * theirs.budget.limit_ms)
    run, config, appraiser = start_shared(tmp_path / "run", budget=other)
    adopt_shared_weights(run, config, whole)
    steps: list[int] = []
    found = pipeline.search(
        run, config, appraiser, small_task("segmentation"),
        workers=1, on_supernet_step=lambda done, *_: steps.append(done),
    )  # fmt: skip
    assert steps == []
    assert found["best"]["p95_ms"] <= other.limit_ms
    assert run.read_json(SCORES) == whole.read_json(SCORES)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"seed": 6}, "seed was 5, now 6"),
        ({"supernet_set": [*SUPERNET, "steps=13"]}, "supernet was"),
        ({"task_set": ["scenes=(41, 16, 12)"]}, "task_settings was"),
    ],
)
def test_a_supernet_of_another_training_is_not_taken_over(
    whole: RunDirectory, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    run, config, _ = start_shared(tmp_path / "run", **changes)
    with pytest.raises(RunUnusable, match=complaint):
        adopt_shared_weights(run, config, whole)
    assert not run.has(SCORES)


def test_a_run_without_a_supernet_has_none_to_give(tmp_path: Path) -> None:
    run, config, _ = start_shared(tmp_path / "run")
    other, _, _ = start_shared(tmp_path / "other")
    with pytest.raises(RunUnusable, match="has no trained supernet; search there first"):
        adopt_shared_weights(run, config, other)


def test_weights_of_another_space_are_refused(whole: RunDirectory, tmp_path: Path) -> None:
    run, config, appraiser = start_shared(tmp_path / "run", kind="bottom-up")
    for name in (*WEIGHTS.values(), SCORES):
        shutil.copy(whole.path / name, run.path)
    with pytest.raises(CheckpointUnusable, match="holds the weights of another network"):
        pipeline.search(run, config, appraiser, small_task("bottom-up"), workers=1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": "some"}, "weights is one of auto, own, shared, got 'some'"),
        ({"space": ShrinkCnnSpace()}, "no supernet of the networks of space shrinkcnn"),
        ({"method": "random", "method_set": []}, "--supernet-set is of weights that candidates"),
        ({"supernet_set": ["teacher_steps=-1"]}, "teacher_steps must be 0 or more"),
        ({"supernet_set": ["report_steps=0"]}, "report_steps must be 1 or more"),
        ({"supernet_set": ["steps=0"]}, "steps must be 1 or more"),
        ({"supernet_set": ["sampling=best"]}, "sampling is one of grouped"),
        ({"epochs": -1}, "epochs -1 is out of range"),
        ({"weights": "own", "supernet_set": [], "epochs": 0}, "need an epoch of training"),
        ({"weights": "own", "supernet_set": [], "proxy_set": ["train=1"]}, "2 or more"),
    ],
    ids=str,
)
def test_choices_that_do_not_go_together_are_refused(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        shared_config(**changes)


def test_other_methods_share_weights_on_request() -> None:
    own = shared_config(method="random", method_set=[], supernet_set=[])
    assert own.supernet is None
    assert own.training.epochs == 30
    shared = shared_config(method="random", method_set=[], weights="shared")
    assert shared.supernet == shared_config().supernet


@pytest.mark.parametrize("kind", ["segmentation", "top-down", "bottom-up"])
def test_a_configuration_is_read_back_from_json(kind: str) -> None:
    import json

    for changes in ({}, {"weights": "own", "supernet_set": []}):
        config = shared_config(kind, **changes)
        assert config_from_json(json.loads(json.dumps(config.to_json()))) == config
