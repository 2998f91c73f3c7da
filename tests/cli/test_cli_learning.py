"""Tables that start from another device's, and that learn from candidates, as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import TRAINING, Call, Ended

from latency_tables.store import load_table, save_table
from toolchain.run_dir import RunDirectory


@pytest.fixture
def doubting(table: Path, tmp_path: Path) -> Path:
    """The table, with most of what it was calibrated on forgotten, and rows said to be rough."""
    known = load_table(table)
    assert known.evidence is not None
    few = replace(
        known.evidence, networks=known.evidence.networks[:8], usual_doubt=0.0, row_error=0.2
    )
    path = tmp_path / "doubting.table"
    save_table(replace(known, evidence=few), path)
    return path


def test_a_profile_starts_from_another_devices_table(
    table: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "two.table"
    ended = call(
        "profile", "-o", path, *task, "--threads=2", "--sessions=1", f"--from={table}",
        "--networks=12", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    told, carried = json.loads(ended.out), load_table(path)
    assert carried.target.threads == 2
    assert told["settings"]["networks"] == 12
    assert "1 thread(s)" in told["settings"]["carried_from"]
    assert set(carried) == set(load_table(table))
    assert carried.evidence is not None
    assert len(carried.evidence.networks) < 30  # a full profile has a hundred


def test_a_start_from_what_is_no_table_is_refused(
    task: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call("profile", "-o", tmp_path / "t", *task, "--from", tmp_path / "none.table")
    assert "none.table" in ended.complaint
    assert not list(tmp_path.iterdir())


def test_too_few_networks_are_refused_before_anything_is_measured(
    task: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call("profile", "-o", tmp_path / "t", *task, "--networks=0")
    assert "networks is 0; give at least 1" in ended.complaint
    assert not list(tmp_path.iterdir())


def test_a_search_measures_what_its_table_doubts(
    doubting: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    def search(name: str, *words: str) -> Ended:
        return call(
            "search", "-o", tmp_path / name, *task, *TRAINING, "--method=random",
            "--method-set=evaluations=2", "--table", doubting, "--budget-ms=50", *words,
        )  # fmt: skip

    doubted = search("doubted")
    assert doubted.code == 0, doubted.err
    assert "less certain: 2 of them, the best too (see --measure-doubtful)" in doubted.out
    assert not (tmp_path / "doubted" / "learned.table").exists()

    measured = search("measured", "--measure-doubtful")
    assert measured.code == 0, measured.err
    before, after = (
        load_table(path).evidence for path in (doubting, tmp_path / "measured" / "learned.table")
    )
    assert before is not None
    assert after is not None
    learned = {one.subject for one in set(after.networks) - set(before.networks)}
    assert 1 <= len(learned) <= 2
    assert learned <= {
        json.loads(line)["genotype"]
        for line in (tmp_path / "measured" / "candidates.jsonl").read_text().splitlines()
    }


def test_a_table_is_of_so_many_threads(
    doubting: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call(
        "search", "-o", tmp_path / "run", *task, *TRAINING, "--table", doubting, "--threads=2"
    )
    assert "--threads 2: the table is of threads 1; leave --threads out" in ended.complaint
    assert not (tmp_path / "run").exists()


def test_a_search_that_cannot_be_leaves_its_folder_free(
    doubting: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    words = ["search", "-o", tmp_path / "run", *task, *TRAINING, "--table", doubting]
    refused = call(*words, "--budget-ms=50", "--method=gram", "--measure-doubtful")
    assert "GRAM searches the SwiftNet space" in refused.complaint
    RunDirectory.require_usable(tmp_path / "run", resume=False)


def test_without_a_table_there_is_nothing_to_doubt(
    task: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call("search", "-o", tmp_path / "run", *task, *TRAINING, "--measure-doubtful")
    assert "--measure-doubtful needs --table" in ended.complaint
    assert not (tmp_path / "run").exists()
