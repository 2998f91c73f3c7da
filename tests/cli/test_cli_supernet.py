"""Segmentation and pose from the command line: the loop with a supernet, and each step alone."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import Call, run, run_until

from toolchain.run_dir import RunDirectory

TASK = [
    "--task=people-and-shapes",
    "--image-size=32",
    "--task-set=scenes=(40, 16, 12)",
    "--space=scalenet",
    "--set=modules=(1, 1)",
    "--set=max_depth=2",
    "--set=stem_channels=8",
    "--set=stem_blocks=0",
]
SEARCH = [
    "--method=scalenas",
    "--method-set=evaluations=5",
    "--method-set=population=3",
    "--method-set=parents=2",
    "--supernet-set=teacher_steps=8",
    "--supernet-set=steps=12",
    "--supernet-set=batch_size=8",
    "--supernet-set=report_steps=2",
    "--budget-ms=50",
    "--workers=1",
]


@pytest.fixture(scope="module")
def finished_loop(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of the whole loop and what the program printed."""
    folder = tmp_path_factory.mktemp("segmentation") / "run"
    words = ["run", "-o", folder, *TASK, *SEARCH, "--sessions=1", "--int8"]
    ended = run(*words, **environment)
    assert ended.code in (0, 4), ended.err
    return folder, ended.out


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


@pytest.mark.slow
def test_the_loop_prints_what_it_found_in_the_tasks_metric(
    finished_loop: tuple[Path, str],
) -> None:
    folder, out = finished_loop
    test, int8 = read(folder, "test.json"), read(folder, "network.int8.json")["quantization"]
    assert "supernet, mIoU on validation data: teacher " in out
    assert "best of 5 scored: " in out
    assert "supernet mIoU " in out
    assert f"test mIoU {test['mean_iou']:.2%} on 12 images" in out
    assert f"mIoU {int8['accuracy']:.2%} for {int8['float_accuracy']:.2%}" in out
    assert int8["float_accuracy"] == pytest.approx(test["mean_iou"], abs=1e-6)
    assert f"report: {folder / 'report.html'}" in out
    assert "accuracy" not in out
    assert "data:image/png" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_each_step_alone_says_what_the_loop_said(
    finished_loop: tuple[Path, str], call: Call, tmp_path: Path
) -> None:
    folder, out = finished_loop
    table = folder.with_name("run.table")
    again = tmp_path / "again"
    searched = call("search", "-o", again, *TASK, *SEARCH, f"--table={table}")
    assert searched.code == 0, searched.err
    assert searched.out.endswith(f"next: pocketnas train {again}\n")
    for line in out.splitlines():
        if line.startswith(("supernet, ", "best of ")):
            assert line in searched.out
    trained = call("train", again)
    assert trained.out.splitlines()[0] in out.splitlines()
    exported = call("export", again, "--int8", "--json")
    assert json.loads(exported.out)["sha256"] == read(folder, "network.int8.json")["sha256"]
    measured = call("benchmark", again / "network.tflite", "--sessions=2", "--json")
    assert json.loads(measured.out)["measured_ms"] > 0
    assert call("report", again).out == f"{again / 'report.html'}\n"


@pytest.mark.slow
def test_a_search_killed_in_the_supernets_training_resumes_to_the_same_answer(
    finished_loop: tuple[Path, str], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished_loop
    killed = tmp_path / "killed"
    words = ["search", "-o", killed, *TASK, *SEARCH, f"--table={folder.with_name('run.table')}"]

    def is_under_way() -> bool:
        return len(RunDirectory(killed).records("supernet.jsonl")) >= 5

    run_until(is_under_way, signal.SIGKILL, *words)
    assert not (killed / "search.json").exists()
    complaint = call(*words).complaint
    assert "already holds a run; add --resume" in complaint
    assert call(*words, "--resume").code == 0
    for name in ("teacher", "supernet"):
        file = f"{name}.safetensors"
        assert (killed / file).read_bytes() == (folder / file).read_bytes()
    best, expected = (read(path, "search.json")["best"] for path in (killed, folder))
    assert best["genotype"] == expected["genotype"]
    assert best["metric"] == expected["metric"]
    assert best["p95_ms"] == pytest.approx(expected["p95_ms"])


@pytest.mark.slow
def test_a_resumed_loop_keeps_to_the_table_in_its_folder(
    finished_loop: tuple[Path, str], call: Call, tmp_path: Path
) -> None:
    """What lies beside the folder may have gone, or be of another version."""
    folder, out = finished_loop
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "test.json").unlink()
    ended = call("run", "-o", copy, *TASK, *SEARCH, "--sessions=1", "--resume")
    assert ended.code in (0, 4), ended.err
    assert not copy.with_name("copy.table").exists()
    assert [line for line in ended.out.splitlines() if line.startswith("test mIoU ")] == [
        line for line in out.splitlines() if line.startswith("test mIoU ")
    ]


@pytest.mark.slow
def test_one_supernet_serves_two_budgets(
    finished_loop: tuple[Path, str], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished_loop
    table = f"--table={folder.with_name('run.table')}"
    words = [*TASK, *SEARCH, table, "--budget-ms=49"]
    ended = call("search", "-o", tmp_path / "other", *words, f"--supernet={folder}")
    assert ended.code == 0, ended.err
    assert read(tmp_path / "other", "supernet.json") == read(folder, "supernet.json")
    refused = call("search", "-o", tmp_path / "third", *words, f"--supernet={folder}", "--seed=1")
    assert "the supernet in" in refused.complaint
    assert "seed was 0, now 1" in refused.complaint
    RunDirectory.require_usable(tmp_path / "third", resume=False)


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("--task people-and-shapes --space swiftnet", "classify images: they have no head", 2),
        ("--task people-and-shapes --space swiftnet", "take --space scalenet", 2),
        ("--task people-and-shapes --space shrinkrnn", "shrinkrnn read no images", 2),
        ("--task people-and-shapes --space scalenet --set head=pose", "leave --set head out", 2),
        ("--task people-and-shapes --space scalenet --set classes=7", "it is 5, not 7", 2),
        ("--task people-and-shapes --data file", "draws its own images: leave --data out", 1),
        ("--task people-and-shapes --image-size 32,48", "as many rows as columns", 2),
        ("--task people-and-shapes --image-size 50 --space scalenet", "multiples of 16", 2),
        ("--task people-and-shapes --image-size small", "'--image-size'", 2),
        ("--task people-and-shapes --image-size 1,2,3", "rows and columns like 96,128", 2),
        ("--task people-and-shapes --task-set loss=focal", "plain, weighted, hard", 2),
        ("--task people-and-shapes --task-set side=3", "'side'; known are: augment", 1),
        ("--task people-and-shapes --task-set loss", "expected name=value", 2),
        ("--task stick-people --space swiftnet", "have no head 'pose'; take --space scalenet", 2),
        ("--task camvid", "camvid has no data of its own: give a folder or a tar archive", 1),
        ("--task camvid --data no", "no does not exist: give a folder that holds train/", 1),
        ("--task coco-keypoints --data full", "full has no annotations/ folder", 1),
    ],
)
def test_tasks_sizes_and_spaces_that_do_not_fit_are_told_in_one_line(
    words: str,
    complaint: str,
    code: int,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("nothing")
    Path("full").mkdir()
    small = [] if "loss" in words or "camvid" in words or "coco" in words else ["--task-set"]
    small += ["scenes=(4, 2, 2)"] if small else []
    ended = call("profile", "-o", "t", *small, *words.split())
    assert complaint in ended.complaint
    assert ended.code == code
    assert sorted(map(str, Path().rglob("*"))) == ["file", "full"]


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("--weights all", "weights is one of auto, own, shared, got 'all'", 2),
        ("--supernet-set steps=0", "steps must be 1 or more, got 0", 2),
        ("--supernet-set step=3", "'step'; known are: batch_size, clip_norm", 1),
        ("--supernet-set sampling=some", "sampling is one of grouped", 2),
        ("--method random --supernet-set steps=3", "here each has its own", 2),
        ("--weights own --proxy paper", "unknown proxy 'paper'; known are: quick", 1),
        ("--weights own --epochs 0", "an epoch of training or more, got 0", 2),
        ("--epochs -1", "epochs -1 is out of range", 2),
        ("--train-set augment=none", "'augment'; known are: batch_size", 1),
        ("--supernet nothing", "nothing is no run", 1),
        ("--task-set validation=100", "ask for fewer, or add images", 1),
        ("--weights own --task-set validation=100", "ask for fewer, or add images", 1),
        ("--proxy-set train=64", "here they share a supernet's weights", 2),
        ("--method gram", "GRAM", 2),
    ],
)
def test_a_search_of_choices_that_do_not_go_together_leaves_its_folder_free(
    words: str, complaint: str, code: int, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    method = [] if "--method" in words else ["--method=scalenas"]
    ended = call("search", "-o", folder, *TASK, *method, *words.split())
    assert complaint in ended.complaint
    assert ended.code == code
    RunDirectory.require_usable(folder, resume=False)


def test_a_classifier_has_no_supernet(task: list[str], call: Call, tmp_path: Path) -> None:
    ended = call("search", "-o", tmp_path / "run", *task, "--method=random", "--weights=shared")
    assert "no supernet for networks of this kind of task: take --weights own" in ended.complaint
    assert ended.code == 2
