"""`pocketnas tables` on a table that the program measured on this host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from command_line import Call
from tflite_builder import NetworkBuilder

from latency_tables.store import load_table, save_table
from latency_tables.table import LatencyTable

OFA = """\
expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1:
  count: 100
  mean: 0.86918
  std: 0.013281099352086765
"""


@pytest.fixture
def altered(
    table: Path, tmp_path: Path
) -> Callable[[Callable[[LatencyTable], LatencyTable]], Path]:
    """A changed copy of the table, the journal beside it."""

    def alter(change: Callable[[LatencyTable], LatencyTable]) -> Path:
        path = tmp_path / "altered.table"
        save_table(change(load_table(table)), path)
        shutil.copy(f"{table}.journal", f"{path}.journal")
        return path

    return alter


Alter = Callable[[Callable[[LatencyTable], LatencyTable]], Path]


def scaled(table: LatencyTable, factor: float = 1.25) -> LatencyTable:
    rows = {k: replace(row, median_ms=factor * row.median_ms) for k, row in table.rows.items()}
    return replace(table, rows=rows)


def test_two_tables_are_compared(table: Path, altered: Alter, call: Call) -> None:
    other = altered(scaled)
    ended = call("tables", "diff", table, other, "--json", "--largest", "3")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert told["total"]["ratio"] == pytest.approx(1.25)
    assert told["total"]["shared"] == len(load_table(table))
    assert {family["kind"] for family in told["families"]} == {k.kind for k in load_table(table)}
    assert len(told["largest"]) == 3
    text = call("tables", "diff", table, other).out
    assert text.startswith("same target")
    assert "1.250" in text


def test_a_table_merges_with_its_copy(
    table: Path, altered: Alter, call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "merged.table"
    ended = call("tables", "merge", table, altered(lambda one: one), "-o", output, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["table"] == str(output)
    assert load_table(output) == load_table(table)


def test_a_merge_that_cannot_be_right_is_refused_in_one_line(
    table: Path, altered: Alter, call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "merged.table"
    slow = altered(scaled)
    assert "more than 5% apart" in call("tables", "merge", table, slow, "-o", output).complaint
    other = altered(lambda one: replace(one, target=replace(one.target, threads=2)))
    complaint = call("tables", "merge", table, other, "-o", output).complaint
    assert "threads is 1 against 2" in complaint
    copy = altered(lambda one: one)
    Path(f"{copy}.journal").unlink()
    complaint = call("tables", "merge", table, copy, "-o", output).complaint
    assert f"there is no journal {copy}.journal" in complaint
    assert "give two" in call("tables", "merge", table, table, "-o", output).complaint
    assert not output.exists()


def test_a_merge_without_journals_has_no_calibration_and_no_search_takes_it(
    table: Path, altered: Alter, call: Call, tmp_path: Path, task: list[str]
) -> None:
    copy, output = altered(lambda one: one), tmp_path / "merged.table"
    Path(f"{copy}.journal").unlink()
    ended = call("tables", "merge", table, copy, "-o", output, "--uncalibrated")
    assert ended.code == 0
    assert load_table(output).calibration is None
    words = ["search", "-o", tmp_path / "run", *task, "--budget-ms=50", f"--table={output}"]
    assert "no calibration" in call(*words).complaint


@pytest.mark.slow
def test_a_table_is_verified_and_the_exit_code_is_the_verdict(table: Path, call: Call) -> None:
    ended = call("tables", "verify", table, "--sessions", "2", "--json")
    told = json.loads(ended.out)
    assert ended.code == {"holds": 0, "drifted": 3, "undecided": 4}[told["verdict"]]
    assert told["false_alarms"] == 0.01
    assert told["networks"] + told["disturbed"] > 0


@pytest.mark.slow
def test_a_table_that_is_wrong_by_half_does_not_verify(altered: Alter, call: Call) -> None:
    """Of a machine that is busy all the time nothing can be said, that it holds least of all."""
    ended = call("tables", "verify", altered(lambda one: scaled(one, 1.5)), "--sessions", "2")
    assert ended.code in (3, 4)
    assert "verdict: HOLDS" not in ended.out
    assert "verify again" in ended.out


def test_what_cannot_be_verified_is_refused_in_one_line(altered: Alter, call: Call) -> None:
    other = altered(lambda one: replace(one, target=replace(one.target, soc="Tensor G3")))
    assert "soc is 'Tensor G3'" in call("tables", "verify", other).complaint
    unknown = altered(lambda one: replace(one, settings={"space": "small"}))
    complaint = call("tables", "verify", unknown).complaint
    assert "of the space 'small', which this pocketnas does not know" in complaint
    few = altered(lambda one: replace(one, rows=dict(list(one.rows.items())[:2])))
    assert "the table has 2 kernels" in call("tables", "verify", few).complaint


def test_rows_are_exported_as_csv(table: Path, call: Call, tmp_path: Path) -> None:
    ended = call("tables", "export", table, "--format", "csv")
    assert (ended.code, ended.err) == (0, "")
    frame = pd.read_csv(StringIO(ended.out))
    loaded = load_table(table)
    assert dict(zip(frame["kernel"], frame["median_ms"], strict=True)) == {
        kernel.key: row.median_ms for kernel, row in loaded.rows.items()
    }
    path = tmp_path / "rows.csv"
    assert call("tables", "export", table, "--format", "csv", "-o", path).out == ""
    assert path.read_text() == ended.out


def test_layers_are_exported_as_once_for_all_names_them(table: Path, call: Call) -> None:
    ended = call("tables", "export", table, "--format", "ofa-yaml")
    assert (ended.code, ended.err) == (0, "")
    layers = [line for line in ended.out.splitlines() if line.endswith(":")]
    assert len(layers) == len(set(layers)) == ended.out.count("  mean: ")
    assert any(layer.startswith("expanded_conv-input:24x24x") for layer in layers)


def test_a_table_without_layers_of_once_for_all_is_told_so(altered: Alter, call: Call) -> None:
    adds = altered(
        lambda one: replace(one, rows={k: r for k, r in one.rows.items() if k.kind == "add"})
    )
    complaint = call("tables", "export", adds, "--format", "ofa-yaml").complaint
    assert "export it as csv" in complaint
    assert "'xml'" in call("tables", "export", adds, "--format", "xml").complaint


def test_an_imported_table_is_shown_and_compared_but_not_searched_with(
    table: Path, call: Call, tmp_path: Path, task: list[str]
) -> None:
    source, output = tmp_path / "160_lookup_table.yaml", tmp_path / "note10.table"
    source.write_text(OFA)
    ended = call("tables", "import", source, "-o", output)
    assert (ended.code, ended.err) == (0, "")
    assert "1 kernels on unknown" in call("tables", "show", output).out
    assert "device is 'host' against 'unknown'" in call("tables", "diff", table, output).out
    refused = "was imported (160_lookup_table.yaml of once-for-all or ProxylessNAS)"
    words = ["search", "-o", tmp_path / "run", *task, "--budget-ms=50", f"--table={output}"]
    for command in (
        words,
        ["tables", "verify", output],
        ["tables", "merge", table, output, "-o", tmp_path / "m"],
    ):
        assert refused in call(*command).complaint
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_table_of_anyone_is_refused_in_one_line(
    call: Call, tmp_path: Path
) -> None:
    source = tmp_path / "notes.yaml"
    source.write_text("conv2d: 3\n")
    complaint = call("tables", "import", source, "-o", tmp_path / "t").complaint
    assert "line 1 is neither a layer of once-for-all" in complaint


def others_network(path: Path, *, concats: int = 0) -> Path:
    """A network of nobody's space; each concat of six falls out of XNNPACK."""
    builder = NetworkBuilder()
    value = builder.input(1, 12, 12, 3)
    for channels in (5, 7, 9, 11):
        value = builder.convolution(value, channels, activation=3)
    for _ in range(concats):
        joined = builder.operator(
            "CONCATENATION", [value] * 6, (1, 12, 12, 66), type="ConcatenationOptions", axis=3
        )
        value = builder.convolution(joined, 11)
    path.write_bytes(builder.content(value))
    return path


def test_a_file_of_others_is_predicted_once_its_kernels_are_measured(
    altered: Alter, call: Call, tmp_path: Path
) -> None:
    table = altered(lambda one: one)
    before = load_table(table)
    network = others_network(tmp_path / "theirs.tflite", concats=1)
    words = ["tables", "predict", network, "--table", table, "--json"]
    told = json.loads(call(*words).out)
    assert (told["is_complete"], told["p50_ms"]) == (False, None)
    missing = told["missing"]
    assert len(missing) == 7
    assert told["outside"][0]["reason"] == "concat of 6 inputs: XNNPACK takes 2 to 5"
    assert load_table(table) == before
    ended = call(*words, "--measure-missing", "--sessions", "1")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert told["is_complete"]
    assert 0 < told["p50_ms"] <= told["p95_ms"]
    after = load_table(table)
    assert {kernel: after[kernel] for kernel in before} == dict(before.rows)
    assert {kernel.key for kernel in after} >= set(missing)
    again = json.loads(call(*words, "--measure-missing").out)
    assert again["p50_ms"] == pytest.approx(told["p50_ms"])
    assert load_table(table) == after
    text = call("tables", "predict", network, "--table", table).out
    assert "theirs.tflite: " in text
    assert "6 kernels in 3 partitions: 4 in XNNPACK, 1 in TFLite, 1 in XNNPACK" in text


def test_a_network_of_the_tables_own_space_lacks_nothing(
    finished: Path, table: Path, call: Call
) -> None:
    told = json.loads(
        call("tables", "predict", finished / "network.tflite", "--table", table, "--json").out
    )
    assert (told["is_complete"], told["known_kernels"]) == (True, 1.0)
    assert len(told["dearest"]) <= 10


def test_what_cannot_be_predicted_is_refused_in_one_line(
    table: Path, altered: Alter, call: Call, tmp_path: Path
) -> None:
    network = others_network(tmp_path / "net.tflite")
    missing = tmp_path / "none.tflite"
    assert "No such file" in call("tables", "predict", missing, "--table", table).complaint
    assert "not a TFLite model" in call("tables", "predict", table, "--table", table).complaint
    complaint = call("tables", "predict", network, "--table", missing).complaint
    assert f"there is no table {missing}" in complaint
    bare = altered(lambda one: replace(one, calibration=None, evidence=None))
    assert "no calibration" in call("tables", "predict", network, "--table", bare).complaint
    other = altered(lambda one: replace(one, target=replace(one.target, soc="Tensor G3")))
    words = ["tables", "predict", network, "--table", other, "--measure-missing"]
    assert "soc is 'Tensor G3'" in call(*words).complaint
