"""Whatever a user gets wrong ends in one line with a remedy, exit code 1 or 2, and no loss."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import SPACE, TRAINING, Call, write_images
from PIL import Image

from toolchain.run_dir import RunDirectory


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("profile -o t --space swift", "unknown space 'swift'; known are: mobilenet", 1),
        ("profile -o t --task sorting", "unknown task 'sorting'; known are: ", 1),
        ("profile -o t --device pixel", "pixel: no phone has this name; ", 1),
        ("profile -o t --device host --device p", "would disturb this machine", 2),
        ("profile -o t --device p --device p", "a device is named twice: p, p", 2),
        ("profile -o t --precision float16", "float16 is for phones", 2),
        ("profile -o t --precision int4", "precision is 'int4'; give float32 or float16", 2),
        ("profile -o t --cpu-mask f0", "start pocketnas under taskset", 2),
        ("profile -o t --set colour=1", "'colour'; known are: activation, base_width", 1),
        ("profile -o t --set nodes=99", "2 to 10 nodes, got 99", 2),
        ("profile -o t --set nodes=many", "nodes must be like 8, got 'many'", 2),
        ("profile -o t --set nodes", "expected name=value, got 'nodes'", 2),
        ("profile -o t --set activation=step", "unknown activation 'step'; known are", 2),
        ("profile -o t --set base_width=-4", "must be more than 0, got -4", 2),
        ("profile -o t --set input_shape=5", "input_shape must be like", 2),
        ("profile -o t --sessions 0", "sessions is 0; give at least 1", 2),
        ("profile -o t --threads 0", "threads is 0; give at least 1", 2),
        ("profile -o t --seed -1", "'--seed'", 2),
        ("profile -o t --set nodes=2", "networks, calibration needs at least 8; widen", 1),
        ("profile -o .", ". is a folder; give the table a name", 2),
        ("profile", "Missing option '--output' / '-o'", 2),
        ("profil -o t", "No such command 'profil'", 2),
        ("profile -o t --colour", "No such option: --colour", 2),
        ("profile -o file/t", "cannot make the folder file", 2),
        ("profile -o t --task image-folder", "give a folder or a tar archive", 1),
        ("profile -o t --task image-folder --data no", "no does not exist: give a folder", 1),
        ("profile -o t --task image-folder --image-size 0", "'--image-size'", 2),
        ("search -o r --fill 0.5", "--fill is a share of the budget: give --budget-ms too", 2),
        ("search -o r --measure-missing", "--measure-missing needs --table; make one", 2),
        ("search -o r --budget-ms 5", "needs --table; make one: pocketnas profile", 2),
        ("run -o r --budget-ms 0", "a budget must be more than 0 ms, got 0", 2),
        ("run -o r --budget-ms -2.5", "a budget must be more than 0 ms, got -2.5", 2),
        ("run -o r --budget-ms nan", "a budget must be more than 0 ms, got nan", 2),
        ("run -o r --budget-ms inf", "a budget must be more than 0 ms, got inf", 2),
        ("run -o r --budget-ms soon", "'--budget-ms'", 2),
        ("run -o r --budget-ms 5 --confidence 2", "confidence lies in [0.5, 1), got 2", 2),
        ("run -o r --budget-ms 5 --fill 1", "budget to fill lies in [0, 1), got 1", 2),
        ("run -o file --budget-ms 5", "file exists and is no run; choose another folder", 1),
        ("run -o full --budget-ms 5", "full exists and is no run; choose another folder", 1),
        ("benchmark no.tflite", "cannot read the model no.tflite: No such file", 1),
        ("benchmark file", "file (7 bytes) is not a TFLite model; give a whole file", 1),
        ("benchmark full", "'full' is a directory", 2),
        ("benchmark file --sessions 1", "'--sessions'", 2),
        ("benchmark file --table no.table", "there is no table no.table; make one with", 1),
        ("train full", "full is no run: it has no config.json. Make one", 1),
        ("train no", "no is no run: it has no config.json. Make one", 1),
        ("export full", "full is no run: it has no config.json. Make one", 1),
        ("report full", "full is no run: it has no config.json. Make one", 1),
        ("tables show no.table", "there is no table no.table; make one with", 1),
        ("tables show file", "file is not a latency table, or it is truncated", 1),
        ("tables show full", "full is not a latency table", 1),
        ("zoo show", "give the name of a network, or --from FILE.json", 2),
        ("zoo show lenet", "unknown network 'lenet'; known are: higherhrnet-w32, ", 1),
        ("zoo show --from no.json", "cannot read a graph from no.json", 2),
        ("zoo show --from file", "cannot read a graph from file", 2),
        ("zoo show shrinkcnn-a --svg no/a.svg", "cannot write no/a.svg", 2),
        ("zoo export lenet -o a.tflite", "unknown network 'lenet'", 1),
        ("zoo export shrinkcnn-a -o no/a.tflite", "cannot write no/a.tflite", 2),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line_and_leaves_nothing_behind(
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
    Path("full/notes.txt").write_text("mine")
    ended = call(*words.split())
    assert complaint in ended.complaint
    assert ended.complaint.startswith("error: ")
    assert ended.code == code
    assert sorted(map(str, Path().rglob("*"))) == ["file", "full", "full/notes.txt"]
    assert Path("file").read_text() == "nothing"


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        (
            "--method gradient",
            "unknown method 'gradient'; known are: autoshrink, evolution, gram",
            1,
        ),
        ("--method-set mode=fast", "mode is one of paper, budget, got 'fast'", 2),
        ("--method-set steps=3", "'steps'; known are: candidates_per_step", 1),
        ("--proxy none", "unknown proxy 'none'; known are: paper, quick", 1),
        ("--proxy-set training.epochs=0", "epochs 0 is out of range", 2),
        ("--epochs 0", "epochs 0 is out of range", 2),
        ("--train-set batch_size=x", "batch_size must be like 64, got 'x'", 2),
        ("--workers -1", "'--workers'", 2),
        ("--proxy-set train_per_class=99", "ask for fewer per class, or add images", 1),
        ("", "AutoShrink in budget mode needs a budget in ms", 2),
    ],
)
def test_a_search_that_cannot_begin_leaves_its_folder_free(
    words: str, complaint: str, code: int, task: list[str], call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ended = call("search", "-o", folder, *task, *TRAINING, *words.split())
    assert complaint in ended.complaint
    assert ended.code == code
    RunDirectory.require_usable(folder, resume=False)


def test_a_budget_that_nothing_meets_names_the_fastest_network(
    search: list[str], call: Call, tmp_path: Path
) -> None:
    complaint = call("search", "-o", tmp_path / "run", *search, "--budget-ms=0.0001").complaint
    assert "no network of space shrinkcnn was found within 0.0001 ms at 95%" in complaint
    assert "the fastest of" in complaint
    assert "Raise the budget to that" in complaint
    assert not (tmp_path / "run").exists()


def one_class(root: Path) -> None:
    for part in ("train", "test"):
        shutil.rmtree(root / part / "down")


def no_images(root: Path) -> None:
    for file in root.rglob("*.png"):
        file.unlink()


def broken_image(root: Path) -> None:
    file = root / "train" / "down" / "3.png"
    file.write_bytes(file.read_bytes()[:50])


def another_size(root: Path) -> None:
    Image.new("L", (9, 9)).save(root / "train" / "down" / "3.png")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (one_class, "has the one class 'across': a classifier needs two"),
        (no_images, "has no images: expected *.jpg or *.png"),
        (broken_image, "down/3.png is not a readable image"),
        (another_size, "choose the image size that all are resized to"),
        (lambda root: shutil.rmtree(root / "train"), "has no train/ folder"),
        (lambda root: shutil.rmtree(root / "test"), "has neither test/ nor val/"),
    ],
)
def test_damaged_data_are_told_of_before_anything_is_made(
    damage: Callable[[Path], None], complaint: str, call: Call, tmp_path: Path
) -> None:
    write_images(tmp_path / "data", train=4, test=2)
    damage(tmp_path / "data")
    data = ["--task=image-folder", f"--data={tmp_path / 'data'}"]
    for words in (["search"], ["run", "--budget-ms=5"], ["profile"]):
        ended = call(*words, "-o", tmp_path / "new", *data)
        assert complaint in ended.complaint
        assert ended.code == 1
        assert not (tmp_path / "new").exists()


def test_data_that_vanished_do_not_cost_the_run(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"] = str(tmp_path / "gone")
    (folder / "config.json").write_text(json.dumps(config))
    before = sorted(folder.iterdir())
    for command in ("train", "export"):
        assert "gone does not exist" in call(command, folder).complaint
    assert sorted(folder.iterdir()) == before
    assert call("report", folder).code == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"task": "image-folder"}'])
@pytest.mark.parametrize("command", ["train", "export", "report"])
def test_a_run_with_a_damaged_configuration_is_told_of(
    content: str, command: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(content)
    assert "config.json" in call(command, tmp_path).complaint


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_table_is_told_of_by_every_command_that_reads_one(
    fraction: float, table: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    content = table.read_bytes()
    truncated = tmp_path / "half.table"
    truncated.write_bytes(content[: int(fraction * len(content))])
    for words in (
        ["tables", "show", truncated],
        ["benchmark", tmp_path / "net.tflite", f"--table={truncated}"],
        ["search", "-o", tmp_path / "run", *task, f"--table={truncated}", "--budget-ms=5"],
    ):
        complaint = call(*words).complaint
        assert "half.table is not a latency table, or it is truncated" in complaint
        assert "profile again" in complaint
    assert not (tmp_path / "run").exists()


def test_a_table_of_a_newer_schema_is_told_of(table: Path, call: Call, tmp_path: Path) -> None:
    arrow = pq.read_table(table)
    manifest = json.loads(arrow.schema.metadata[b"pocketnas"])
    manifest["schema_version"] += 1
    metadata = {**arrow.schema.metadata, b"pocketnas": json.dumps(manifest).encode()}
    newer = tmp_path / "newer.table"
    pq.write_table(arrow.replace_schema_metadata(metadata), newer)
    complaint = call("tables", "show", newer).complaint
    newest = manifest["schema_version"] - 1
    told = (
        f"has schema version {newest + 1}, this pocketnas reads up to {newest}; update pocketnas"
    )
    assert told in complaint


def test_a_parquet_file_of_something_else_is_told_of(call: Call, tmp_path: Path) -> None:
    other = tmp_path / "other.table"
    pq.write_table(pa.table({"name": ["a"]}), other)
    assert "not a latency table of pocketnas" in call("tables", "show", other).complaint


def test_a_run_is_not_written_over_without_resume(
    search: list[str], finished: Path, call: Call
) -> None:
    before = {file.name: file.read_bytes() for file in finished.iterdir()}
    for command in ("search", "run"):
        complaint = call(command, "-o", finished, *search).complaint
        assert "already holds a run; add --resume to go on with it" in complaint
    complaint = call("search", "-o", finished, *search, "--resume", "--epochs=9").complaint
    assert "was made with other settings: training.epochs was 2, now 9" in complaint
    assert {file.name: file.read_bytes() for file in finished.iterdir()} == before


def test_a_run_in_use_by_another_process_is_left_to_it(
    search: list[str], finished: Path, call: Call
) -> None:
    with RunDirectory.open(finished).locked():
        for words in (
            ["train", finished],
            ["export", finished],
            ["search", "-o", finished, *search, "--resume"],
            ["run", "-o", finished, *search, "--resume"],
        ):
            ended = call(*words)
            assert f"{finished} is in use by process {os.getpid()}; wait" in ended.complaint


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of its own, with options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("needs the right to mount a tmpfs")
        return folder

    yield mounted
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return filler


def test_a_full_disk_costs_neither_the_profile_nor_the_old_table(
    task: list[str], table: Path, disk: Callable[..., Path], call: Call
) -> None:
    folder = disk("size=2m")
    for file in table.parent.iterdir():
        shutil.copy(file, folder)
    copy = folder / table.name
    filler = fill(folder)
    words = ["profile", "-o", copy, *task, "--sessions=1", "--resume"]
    complaint = call(*words).complaint
    assert "cannot write the" in complaint
    assert copy.read_bytes() == table.read_bytes()
    filler.unlink()
    copy.unlink()
    assert call(*words).code == 0
    assert copy.read_bytes() == table.read_bytes()


def test_a_full_disk_while_exporting_is_told_of(
    finished: Path, disk: Callable[..., Path], call: Call
) -> None:
    folder = disk("size=4m") / "run"
    shutil.copytree(finished, folder)
    fill(folder.parent)
    ended = call("export", folder)
    assert "No space left on device" in ended.complaint
    assert (folder / "network.tflite").read_bytes() == (finished / "network.tflite").read_bytes()


def test_a_disk_that_may_only_be_read_is_told_of(
    finished: Path, task: list[str], disk: Callable[..., Path], call: Call
) -> None:
    folder = disk("size=4m")
    shutil.copytree(finished, folder / "run")
    (folder / "empty").mkdir()
    remount(folder, "ro")
    for words in (
        ["train", folder / "run"],
        ["export", folder / "run"],
        ["report", folder / "run"],
        ["search", "-o", folder / "new", *task, "--method=random", *TRAINING],
        ["search", "-o", folder / "empty", *task, "--method=random", *TRAINING],
        ["profile", "-o", folder / "new.table", *task],
        ["profile", "-o", folder / "deep" / "new.table", *task],
        ["zoo", "export", "shrinkcnn-a", "-o", folder / "a.tflite"],
    ):
        assert "Read-only file system" in call(*words).complaint, words


def test_a_profile_in_use_by_another_process_is_left_to_it(call: Call, tmp_path: Path) -> None:
    with (tmp_path / "host.table.journal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242\n")
        lock.flush()
        complaint = call("profile", "-o", tmp_path / "host.table", *SPACE, "--resume").complaint
        assert "process 4242 has the journal" in complaint
        assert "wait for it to end, or give another path" in complaint


@pytest.mark.parametrize("graph", ["{}", "[]", "3", '{"name": 1, "nodes": [1]}', "{"])
def test_a_file_that_is_no_graph_is_told_of(graph: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(graph)
    ended = call("zoo", "show", "--from", tmp_path / "graph.json")
    assert "cannot read a graph from" in ended.complaint
    assert ended.code == 2
