"""Language models from the command line: the loop, each step alone, and what does not fit."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import Call, run, run_until

from toolchain.run_dir import RunDirectory

SPACE = ["--space=shrinkrnn", "--set=hidden=8", "--set=nodes=3"]
TRAINING = [
    "--proxy-set=training.epochs=1",
    "--proxy-set=training.batch_size=4",
    "--proxy-set=training.evaluation_batch_size=4",
    "--epochs=2",
    "--train-set=batch_size=4",
    "--budget-ms=50",
    "--workers=1",
]
SEARCH = ["--method-set=candidates_per_step=2", *TRAINING]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sentences of five words; what is seen follows from who sees and how."""
    folder = tmp_path_factory.mktemp("data") / "farm"
    folder.mkdir()
    rng = random.Random(0)
    who, how, what = ("dog", "cat", "bird"), ("sees", "likes"), ("milk", "corn", "fish", "bread")
    for part, sentences in (("train", 300), ("valid", 60), ("test", 60)):
        drawn = [(rng.randrange(3), rng.randrange(2)) for _ in range(sentences)]
        lines = [f"the {who[i]} {how[j]} the {what[i + j]}\n" for i, j in drawn]
        (folder / f"ptb.{part}.txt").write_text("".join(lines))
    return ["--task=text-folder", f"--data={folder}", *SPACE]


@pytest.fixture(scope="module")
def finished_loop(
    text: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of the whole loop and what the program printed."""
    folder = tmp_path_factory.mktemp("language") / "run"
    words: list[str | Path] = ["run", "-o", folder, *text, *SEARCH, "--sessions=1", "--int8"]
    ended = run(*words, **environment)
    assert ended.code in (0, 4), ended.err
    return folder, ended.out


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


@pytest.mark.slow
def test_the_loop_prints_perplexities_and_writes_the_words(
    finished_loop: tuple[Path, str],
) -> None:
    folder, out = finished_loop
    test, card = read(folder, "test.json"), read(folder, "network.json")
    int8 = read(folder, "network.int8.json")
    cost = int8["quantization"]
    assert 1 < test["perplexity"] < 11  # there are 11 words beside the unknown one
    assert f"test perplexity {test['perplexity']:.2f} on {60 * 6 - 1} words" in out
    found = read(folder, "search.json")
    assert f"best of {found['evaluations']} trained: {found['best']['genotype']}" in out
    assert "proxy perplexity " in out
    assert f"perplexity {cost['accuracy']:.2f} for {cost['float_accuracy']:.2f}" in out
    assert cost["float_accuracy"] == pytest.approx(test["perplexity"], rel=1e-4)
    assert "accuracy" not in out
    assert card["vocabulary"] == int8["vocabulary"] == "network.words.txt"
    words = (folder / "network.words.txt").read_text().splitlines()
    assert words[:3] == ["<unk>", "the", "<eos>"]
    assert len(words) == read(folder, "config.json")["space"]["settings"]["vocabulary"] == 12
    assert [tensor["shape"] for tensor in card["outputs"]] == [[1, 12], [1, 8]]


@pytest.mark.slow
def test_the_report_speaks_of_words(finished_loop: tuple[Path, str]) -> None:
    folder, _ = finished_loop
    page = (folder / "report.html").read_text()
    test = read(folder, "test.json")
    assert "<h2>Perplexity against latency</h2>" in page
    assert f"{test['perplexity']:.2f}" in page
    assert "read 200 words of the test text" in page
    assert "network.words.txt, one in each line" in page
    assert "same word" in page
    assert "trajectory" in page
    assert "--set vocabulary" not in page
    for wrong in ("ccuracy", "images", "batch norm", "has not found a network", "%%"):
        assert wrong not in page, wrong


@pytest.mark.slow
def test_each_step_alone_gives_what_the_loop_gave(
    finished_loop: tuple[Path, str], text: list[str], call: Call, tmp_path: Path
) -> None:
    folder, out = finished_loop
    table = folder.with_name("run.table")
    again = tmp_path / "again"
    searched = call("search", "-o", again, *text, *SEARCH, f"--table={table}")
    assert searched.code == 0, searched.err
    assert f"next: pocketnas train {again}\n" in searched.out
    trained = call("train", again)
    assert trained.out.splitlines()[0] in out.splitlines()
    copy = tmp_path / "words" / "model.tflite"
    copy.parent.mkdir()
    exported = call("export", again, "--int8", "-o", copy, "--json")
    assert exported.code == 0, exported.err
    card = json.loads(exported.out)
    assert card["sha256"] == read(folder, "network.int8.json")["sha256"]
    assert card["vocabulary"] == "model.words.txt"
    words = copy.with_name("model.words.txt").read_bytes()
    assert words == (folder / "network.words.txt").read_bytes()
    measured = call("benchmark", again / "network.tflite", "--sessions=2", "--json")
    assert json.loads(measured.out)["measured_ms"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["autoshrink", "random", "evolution"])
def test_every_method_for_cells_searches(
    method: str, finished_loop: tuple[Path, str], text: list[str], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished_loop
    settings = {
        "autoshrink": ["--method-set=mode=paper"],
        "random": ["--method-set=evaluations=3"],
        "evolution": [
            "--method-set=evaluations=3", "--method-set=population=2", "--method-set=sample=1",
            "--method-set=children_per_round=1",
        ],
    }[method]  # fmt: skip
    table = f"--table={folder.with_name('run.table')}"
    ended = call(
        "search", "-o", tmp_path / "run", *text, *TRAINING, table, f"--method={method}", *settings,
        "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    best = json.loads(ended.out)["best"]
    assert -12 <= best["metric"] < -1
    assert best["p95_ms"] <= 50


@pytest.mark.slow
def test_a_killed_search_and_a_killed_training_go_on_to_the_same_network(
    finished_loop: tuple[Path, str], text: list[str], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished_loop
    killed = tmp_path / "killed"
    table = f"--table={folder.with_name('run.table')}"
    words: list[str | Path] = ["search", "-o", killed, *text, *SEARCH, table]
    journal = RunDirectory(killed)
    run_until(lambda: len(journal.records("candidates.jsonl")) >= 1, signal.SIGKILL, *words)
    assert not (killed / "search.json").exists()
    assert "already holds a run; add --resume" in call(*words).complaint
    assert call(*words, "--resume").code == 0
    best, expected = (read(path, "search.json")["best"] for path in (killed, folder))
    assert (best["genotype"], best["metric"]) == (expected["genotype"], expected["metric"])
    run_until(lambda: len(journal.records("training.jsonl")) == 1, signal.SIGKILL, "train", killed)
    assert call("train", killed).code == 0
    assert [one["epoch"] for one in journal.records("training.jsonl")] == [1, 2]
    assert read(killed, "test.json") == read(folder, "test.json")
    weights = "weights.safetensors"
    assert (killed / weights).read_bytes() == (folder / weights).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("--method gram", "searches the SwiftNet space, not shrinkrnn: take another method", 2),
        ("--method scalenas", "the ScaleNet space, not shrinkrnn: take another method", 2),
        ("--weights shared", "no supernet for networks of this kind of task", 2),
        ("--set vocabulary=5", "it is 12, not 5; leave --set vocabulary out", 2),
        ("--task-set vocabulary=5", "pass --measure-missing", 1),
        ("--proxy-set training.batch_size=4000", "give a longer text, or a smaller batch", 1),
        ("--recipe imagenet", "known are: paper", 1),
        ("--epochs 0", "epochs 0 is out of range", 2),
        ("--budget-ms 0.00001", "Raise the budget to that", 1),
    ],
)
def test_a_search_that_cannot_be_leaves_its_folder_free(
    words: str,
    complaint: str,
    code: int,
    finished_loop: tuple[Path, str],
    text: list[str],
    call: Call,
    tmp_path: Path,
) -> None:
    table = f"--table={finished_loop[0].with_name('run.table')}"
    ended = call("search", "-o", tmp_path / "run", *text, *TRAINING, table, *words.split())
    assert complaint in ended.complaint
    assert ended.code == code
    RunDirectory.require_usable(tmp_path / "run", resume=False)


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("", "networks of space shrinkcnn read images: take --space shrinkrnn", 2),
        ("--space swiftnet", "networks of space swiftnet read images: take --space shrinkrnn", 2),
        ("--space shrinkrnn --image-size 32", "not images: leave --image-size out", 2),
        ("--space shrinkrnn --task-set vocabulary=1", "2 or more, or 0 for all words, got 1", 2),
        ("--space shrinkrnn --set hidden=0", "hidden and vocabulary must be more than 0", 2),
    ],
)
def test_choices_that_no_text_has_are_told_in_one_line(
    words: str, complaint: str, code: int, text: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call("profile", "-o", tmp_path / "t", *text[:2], *words.split())
    assert complaint in ended.complaint
    assert ended.code == code


def test_texts_that_are_not_there_are_told_in_one_line(
    text: list[str], call: Call, tmp_path: Path
) -> None:
    folder = Path(text[1].removeprefix("--data="))

    def complaint(*words: str | Path) -> str:
        return call("profile", "-o", tmp_path / "t", "--space=shrinkrnn", *words).complaint

    assert "text-folder has no data of its own: give a" in complaint("--task=text-folder")
    assert "no text of a known layout" in complaint("--task=text-folder", "--data", tmp_path)
    assert "0 of the 500 samples" in complaint("--task=brown", "--data", folder)
    partial = tmp_path / "partial"
    partial.mkdir()
    shutil.copy(folder / "ptb.train.txt", partial)
    told = complaint("--task=text-folder", "--data", partial)
    assert "has no ptb.valid.txt and no ptb.test.txt: add what is missing" in told
