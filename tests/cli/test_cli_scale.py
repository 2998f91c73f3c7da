from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Call

from latency_tables.store import load_table


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "lock"
    }


@pytest.fixture(scope="session")
def answer(finished: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((finished / "search.json").read_text())["best"]
    return content


def test_an_answer_is_scaled_trained_exported_and_measured(
    finished: Path, answer: dict[str, object], tmp_path: Path, call: Call
) -> None:
    """Of outlines that the search's table lacks: they are measured, into a table of their own."""
    before = files(finished)
    words = ["scale", finished, "-o", tmp_path / "new" / "scaled", "--budget-ms=50"]
    words += ["--channel-scale=0.5", "--channel-scale=1", "--replicate=1,1", "--replicate=2,2"]
    complaint = call(*words).complaint
    assert "has no kernel" in complaint
    assert "--measure-missing" in complaint
    assert not (tmp_path / "new").exists()

    words.append("--measure-missing")
    ended = call(*words, "--json")
    assert (ended.code, ended.err) == (0, "")
    (wide,) = json.loads(ended.out)
    folder = tmp_path / "new" / "scaled" / "50ms"
    assert wide["run"] == str(folder)
    assert (wide["macs"], wide["params"]) == (answer["macs"], answer["params"])
    table = tmp_path / "new" / "scaled.table"
    assert files(finished) == before
    own_rows = load_table(finished / "latency.table").rows
    assert own_rows.items() < load_table(table).rows.items()

    made = files(tmp_path)
    ended = call(*words, "--resume")
    assert (ended.code, ended.err) == (0, "")
    expected = f"{folder}: scaled: {answer['genotype']} in channel_scale 1, replicate 2,2"
    assert expected in ended.out
    assert f"next, for each: pocketnas train {folder}" in ended.out
    assert files(tmp_path) == made

    tight_ms = 0.999 * wide["p95_ms"]
    words = ["scale", finished, "-o", tmp_path / "tight", f"--table={table}", "--json"]
    words += [f"--budget-ms={tight_ms}", "--channel-scale=0.5", "--channel-scale=1"]
    words += ["--replicate=1,1", "--replicate=2,2"]
    (tight,) = json.loads(call(*words).out)
    assert tight["p95_ms"] <= tight_ms
    assert tight["macs"] < wide["macs"]
    folder = Path(tight["run"])
    assert call("report", folder).code == 0
    page = (folder / "report.html").read_text()
    assert f"pocketnas scale {finished}" in page
    assert "This network is the answer of the search in" in page
    assert call("train", folder).code == 0
    exported = call("export", folder, "-o", tmp_path / "net.tflite", "--json")
    assert json.loads(exported.out)["genotype"] == answer["genotype"]
    measured = call(
        "benchmark", tmp_path / "net.tflite", f"--table={table}", f"--budget-ms={tight_ms}",
        "--sessions=2", "--json",
    )  # fmt: skip
    assert measured.code in (0, 3, 4), measured.err
    assert json.loads(measured.out)["predicted_p95_ms"] == pytest.approx(tight["p95_ms"])


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("--budget-ms=1e-5", "smaller: by --channel-scale below 1, or fewer --replicate", 1),
        ("--budget-ms=50 --budget-ms=0", "a budget must be more than 0 ms, got 0", 2),
        ("--budget-ms=50 --replicate=2;2", "cells of each stage like 1,2,2; got '2;2'", 2),
        ("--budget-ms=50 --replicate=1,2,2", "need one number for each stage", 2),
        ("--budget-ms=50 --channel-scale=0", "must be more than 0", 2),
        ("--budget-ms=50 --table=no.table", "there is no table no.table", 1),
        ("--replicate=2,2", "Missing option '--budget-ms'", 2),
    ],
)
def test_what_cannot_be_scaled_is_told_of_and_nothing_made(
    words: str, complaint: str, code: int, finished: Path, tmp_path: Path, call: Call
) -> None:
    given = [] if "replicate" in words else ["--replicate=2,2"]
    scales = [] if "channel" in words else ["--channel-scale=1"]
    ended = call("scale", finished, "-o", tmp_path / "scaled", *words.split(), *given, *scales)
    assert complaint in ended.complaint
    assert ended.code == code
    assert not (tmp_path / "scaled").exists()


def test_a_run_of_another_space_has_no_cell_to_scale(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    config = json.loads((other / "config.json").read_text())
    config["space"] = {"name": "mobilenet", "settings": {"classes": 2}}
    (other / "config.json").write_text(json.dumps(config))
    ended = call("scale", other, "-o", tmp_path / "scaled", "--budget-ms=50")
    assert "the run searched space mobilenet, whose networks do not repeat one" in ended.complaint
    assert ended.code == 1
