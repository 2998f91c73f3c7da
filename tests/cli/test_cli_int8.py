"""An int8 table, from profile to search and verify, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import TRAINING, Call, run

from latency_tables.store import load_table


@pytest.fixture(scope="module")
def int8_table(
    task: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.table"
    words = ["profile", "-o", path, *task, "--sessions=1", "--precision=int8"]
    ended = run(*words, **environment)
    assert ended.code == 0, ended.err
    return path


def test_an_int8_profile_measures_int8_kernels(int8_table: Path) -> None:
    loaded = load_table(int8_table)
    assert loaded.target.precision == "int8"
    kinds = {kernel.kind for kernel in loaded if kernel.dtype == "float32"}
    assert kinds == {"quantize"}  # of the image


def test_a_search_with_an_int8_table_predicts_int8_networks(
    int8_table: Path, table: Path, task: list[str], call: Call, tmp_path: Path
) -> None:
    found = {}
    for name, path in {"int8": int8_table, "float32": table}.items():
        ended = call(
            "search", "-o", tmp_path / name, *task, *TRAINING, "--method=random",
            "--method-set=evaluations=1", "--table", path, "--budget-ms=50", "--json",
        )  # fmt: skip
        assert ended.code == 0, ended.err
        found[name] = json.loads(ended.out)["best"]
    assert found["int8"]["genotype"] == found["float32"]["genotype"]
    assert 0 < found["int8"]["p50_ms"] != found["float32"]["p50_ms"]


def test_an_int8_table_is_verified_by_int8_networks(int8_table: Path, call: Call) -> None:
    ended = call("tables", "verify", int8_table, "--json")
    assert ended.code in (0, 3, 4), ended.err  # a busy machine leaves it open, or drifts
    assert json.loads(ended.out)["verdict"] in ("holds", "drifted", "undecided")


def test_the_loop_in_one_command_is_for_float_files(call: Call, tmp_path: Path) -> None:
    ended = call("run", "-o", tmp_path / "run", "--budget-ms=1", "--precision=int8")
    assert "run measures the float file; for int8: profile --precision int8" in ended.complaint
    assert not (tmp_path / "run").exists()


def test_texts_have_no_int8_profile(call: Call, tmp_path: Path) -> None:
    words = ["profile", "-o", tmp_path / "t", "--space=shrinkrnn", "--precision=int8"]
    assert "the networks of space shrinkrnn read no images" in call(*words).complaint
