"""The commands one after the other, as a user calls them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from command_line import Call

from latency_tables.store import load_table, save_table


def test_the_whole_loop_ends_with_a_verdict_and_a_report(finished: Path) -> None:
    result = json.loads((finished.parent / "result.json").read_text())
    assert result["run"] == str(finished)
    assert result["benchmark"]["verdict"] == "met"
    assert result["search"] == json.loads((finished / "search.json").read_text())
    assert result["test"] == json.loads((finished / "test.json").read_text())
    assert result["benchmark"] == json.loads((finished / "benchmark.json").read_text())
    assert Path(result["report"]) == finished / "report.html"
    assert "<html" in (finished / "report.html").read_text()


def test_a_finished_search_is_not_repeated(search: list[str], finished: Path, call: Call) -> None:
    candidates = (finished / "candidates.jsonl").read_bytes()
    ended = call("search", "-o", finished, *search, "--resume")
    assert (ended.code, ended.err) == (0, "")
    best = json.loads((finished / "search.json").read_text())["best"]
    assert f"best of 3 trained: {best['genotype']}" in ended.out
    assert ended.out.endswith(f"next: pocketnas train {finished}\n")
    assert (finished / "candidates.jsonl").read_bytes() == candidates


def test_a_finished_training_is_not_repeated(finished: Path, call: Call) -> None:
    weights = (finished / "weights.safetensors").read_bytes()
    ended = call("train", finished, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == json.loads((finished / "test.json").read_text())
    assert (finished / "weights.safetensors").read_bytes() == weights


def test_a_report_is_written_again_and_named(finished: Path, call: Call) -> None:
    (finished / "report.html").unlink()
    ended = call("report", finished)
    assert (ended.code, ended.out) == (0, f"{finished / 'report.html'}\n")
    assert (finished / "report.html").exists()


def test_a_met_budget_exits_0_and_a_missed_one_3(finished: Path, table: Path, call: Call) -> None:
    network = finished / "network.tflite"
    for limit_ms, verdict, code in (("50", "met", 0), ("0.001", "missed", 3)):
        ended = call(
            "benchmark", network, f"--table={table}", f"--budget-ms={limit_ms}", "--sessions=2",
            "--json",
        )  # fmt: skip
        report = json.loads(ended.out)
        assert (ended.code, report["verdict"], ended.err) == (code, verdict, "")
        assert report["predicted_p50_ms"] > 0
        assert report["is_certain"]


def test_a_table_of_another_target_is_refused(
    finished: Path, table: Path, tmp_path: Path, call: Call
) -> None:
    loaded = load_table(table)
    other = tmp_path / "pixel.table"
    save_table(replace(loaded, target=replace(loaded.target, device="Pixel 8")), other)
    ended = call("benchmark", finished / "network.tflite", f"--table={other}")
    assert ended.complaint.startswith("error: these latencies are of different targets: device")
    assert "Profile this target" in ended.complaint


def test_a_card_of_another_file_is_refused(finished: Path, tmp_path: Path, call: Call) -> None:
    for name in ("network.tflite", "network.json"):
        shutil.copy(finished / name, tmp_path)
    with (tmp_path / "network.tflite").open("ab") as file:
        file.write(b"more")
    assert "network" in call("benchmark", tmp_path / "network.tflite").complaint


def test_missing_kernels_are_named_and_measured_on_request(
    search: list[str], table: Path, tmp_path: Path, call: Call
) -> None:
    loaded = load_table(table)
    dropped = sorted(loaded, key=str)[0]
    rows = {kernel: row for kernel, row in loaded.rows.items() if kernel != dropped}
    lacking = tmp_path / "lacking.table"
    save_table(replace(loaded, rows=rows), lacking)
    words = ["search", "-o", tmp_path / "run", *search, f"--table={lacking}"]
    complaint = call(*words).complaint
    assert f"has no kernel '{dropped}'" in complaint
    assert "--measure-missing" in complaint
    assert load_table(lacking).rows == rows
    # A budget that nothing meets ends the search as soon as the kernels are there.
    complaint = call(*words, "--measure-missing", "--budget-ms=0.0001").complaint
    assert "the fastest of" in complaint
    assert not (tmp_path / "run").exists()
    completed = load_table(lacking)
    assert set(completed) == set(loaded)
    assert all(completed[kernel] == loaded[kernel] for kernel in rows)


def test_without_a_table_the_loop_profiles_first_beside_its_folder(
    task: list[str], tmp_path: Path, call: Call
) -> None:
    """The budget cannot be met, so that nothing is trained, and the profile is kept."""
    folder = tmp_path / "new" / "run"
    words = ["run", "-o", folder, *task, "--budget-ms=0.0001", "--sessions=1"]
    ended = call(*words)
    assert ended.code == 1
    assert "no network of space shrinkcnn was found within 0.0001 ms" in ended.err
    assert "Raise the budget" in ended.err
    assert not folder.exists()
    assert load_table(folder.with_name("run.table")).calibration is not None


def test_an_int8_export_says_what_it_cost_and_can_be_measured(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    output = tmp_path / "net8.tflite"
    ended = call("export", finished, "--int8", "--calibration=20", "-o", output, "--json")
    assert (ended.code, ended.err) == (0, "")
    quantization = json.loads(ended.out)["quantization"]
    assert quantization["calibration_images"] == 20
    assert quantization["integer_ops"] > 0
    assert output.stat().st_size < (finished / "network.tflite").stat().st_size
    measured = call("benchmark", output, "--sessions=2", "--json")
    assert (measured.code, json.loads(measured.out)["measured_ms"] > 0) == (0, True)
