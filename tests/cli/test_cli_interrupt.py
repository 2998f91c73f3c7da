"""Ctrl-C and kill -9 at a running program, which then goes on as if nothing had been."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from command_line import SPACE, Call, run_until

from latency_tables.store import load_table

Rows = list[tuple[str, int, str]]


def rows(table: Path) -> Rows:
    """What the journal of a profile holds, read as by another program."""
    journal = table.with_name(f"{table.name}.journal")
    if not journal.exists():
        return []
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        statement = "SELECT subject, session, payload FROM measurement ORDER BY id"
        return list(connection.execute(statement))
    except sqlite3.OperationalError:  # not made yet
        return []
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_a_profile_that_was_stopped_goes_on_without_losing_or_doubling_a_row(
    tmp_path: Path, call: Call, number: int
) -> None:
    table = tmp_path / "host.table"
    words = ["profile", "-o", table, *SPACE, "--set=input_shape=(1, 24, 24)", "--sessions=1"]
    ended = run_until(lambda: len(rows(table)) >= 5, number, *words)
    before = rows(table)
    assert len(before) >= 5
    assert not table.exists()
    if number == signal.SIGINT:
        assert ended.code == 130
        assert ended.out == ""
        (line,) = ended.err.splitlines()
        assert line.startswith("interrupted; what was finished is kept")
        assert "--resume" in line
    complaint = call(*words).complaint
    assert f"there is a journal at {table}.journal already; resume it with --resume" in complaint
    complaint = call(*words, "--resume", "--seed=7").complaint
    assert "belongs to another measurement: seed was '1', now '7'" in complaint
    assert rows(table) == before
    resumed = call(*words, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["kernels"] == len(load_table(table))
    after = rows(table)
    assert after[: len(before)] == before
    done = [(subject, session) for subject, session, _ in after]
    assert len(set(done)) == len(done) > len(before)


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def without_costs(found: dict[str, Any]) -> dict[str, Any]:
    """The content of search.json less the processor time that it took."""
    best = {name: value for name, value in found["best"].items() if name != "cpu_s"}
    return {**{name: value for name, value in found.items() if name != "cpu_s"}, "best": best}


@pytest.mark.slow
def test_a_search_interrupted_by_control_c_goes_on_to_the_result_of_one_that_was_not(
    search: list[str], finished: Path, tmp_path: Path, call: Call
) -> None:
    folder = tmp_path / "run"
    candidates = folder / "candidates.jsonl"
    words = ["search", "-o", folder, *search]
    ended = run_until(lambda: lines(candidates) >= 1, signal.SIGINT, *words)
    assert ended.code == 130
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith("interrupted; what was finished is kept")
    before = candidates.read_text()
    assert not (folder / "search.json").exists()
    assert "has not finished; go on with --resume" in call("train", folder).complaint
    assert f"{folder} already holds a run; add --resume" in call(*words).complaint
    complaint = call(*words, "--resume", "--seed=1").complaint
    assert "was made with other settings: seed was 0, now 1" in complaint
    assert call(*words, "--resume").code == 0
    assert candidates.read_text().startswith(before)
    found = json.loads((folder / "search.json").read_text())
    assert without_costs(found) == without_costs(
        json.loads((finished / "search.json").read_text())
    )


def copy_run(finished: Path, folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in ("config.json", "latency.table", "search.json", "candidates.jsonl", *names):
        shutil.copy(finished / name, folder)
    return folder


@pytest.mark.slow
def test_training_and_export_by_their_own_commands_give_what_the_whole_loop_gave(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    """The training is interrupted after an epoch and called again."""
    folder = copy_run(finished, tmp_path / "run")
    copy = tmp_path / "copy.tflite"
    assert "has no trained network; run: pocketnas train" in call("export", folder).complaint
    ended = run_until(
        lambda: lines(folder / "training.jsonl") == 1, signal.SIGINT, "train", folder
    )
    assert ended.code == 130
    assert "train and export when called again" in ended.err
    ended = call("train", folder, "--json")
    assert ended.code == 0, ended.err
    tested = json.loads((finished / "test.json").read_text())
    assert json.loads(ended.out) == tested
    weights = "weights.safetensors"
    assert (folder / weights).read_bytes() == (finished / weights).read_bytes()
    assert lines(folder / "training.jsonl") == 2
    ended = call("export", folder, "-o", copy, "--json")
    assert (ended.code, ended.err) == (0, "")
    card = json.loads(ended.out)
    assert card["path"] == "copy.tflite"
    assert copy.read_bytes() == (finished / "network.tflite").read_bytes()
    assert json.loads(copy.with_suffix(".json").read_text()) == card
