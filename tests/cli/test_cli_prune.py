"""A GRAM search by the program, and the family that is pruned from it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import TRAINING, Call, run

from latency_tables.calibrate import Calibration
from latency_tables.model import LatencyModel
from latency_tables.store import load_table, save_table
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from profilers.host import HostRunner
from toolchain.methods.candidate import Appraiser
from toolchain.run_dir import RunDirectory
from toolchain.spaces.space import space_kernels
from toolchain.spaces.swiftnet import SwiftNetSpace

SPACE = SwiftNetSpace(
    nodes=(4, 4), input_shape=(1, 24, 24), classes=2, stem_channels=8, stem_width=0,
    widths=(8, 16), outputs=(16, 16), max_inputs=2,
)  # fmt: skip
SWIFTNET = [
    "--space=swiftnet",
    *(
        f"--set={name}={getattr(SPACE, name)}"
        for name in ("nodes", "stem_channels", "stem_width", "widths", "outputs", "max_inputs")
    ),
]
GRAM = [
    "--method=gram",
    "--method-set=evaluations=6",
    "--method-set=warm_up=4",
    "--method-set=chains=2",
]


def table_by_work(target: Target, ms: float = 2e-6) -> LatencyTable:
    """The more work, the longer: measured, such small networks differ by less than the noise.

    Args:
        target: what the table is of.
        ms: of one multiply-accumulate.
    """
    rows = {}
    for kernel in space_kernels(SPACE):
        work = math.prod(kernel.output) * (kernel.inputs[0][-1] if kernel.kind == "conv2d" else 9)
        median_ms = 0.001 + ms * work
        rows[kernel] = KernelLatency(
            median_ms=median_ms, iqr_ms=0.0, p95_ms=median_ms, samples=30, contexts=3
        )
    fit = Calibration(
        overhead_ms=0.01, scale=1.0, per_kernel_ms=0.0, p95_ratio=1.1, median_error=0.01,
        worst_error=0.05, networks=40,
    )  # fmt: skip
    return LatencyTable(target=target, rows=rows, calibration=fit)


@pytest.fixture(scope="session")
def swiftnet(data: Path) -> list[str]:
    return ["--task=image-folder", f"--data={data}", *SWIFTNET]


@pytest.fixture(scope="session")
def gram(
    swiftnet: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished search with a table of this host, made by the program."""
    folder = tmp_path_factory.mktemp("gram")
    table = folder / "host.table"
    save_table(table_by_work(HostRunner().target), table)
    words = [*swiftnet, *TRAINING, *GRAM, f"--table={table}", "--budget-ms=50"]
    ended = run("search", "-o", folder / "run", *words, "--json", **environment)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == json.loads((folder / "run" / "search.json").read_text())
    return folder / "run"


@pytest.fixture(scope="session")
def tight_ms(gram: Path) -> float:
    """A budget that little more than the smallest network keeps."""
    appraiser = Appraiser(space=SPACE, model=LatencyModel(load_table(gram / "latency.table")))
    latencies = [appraiser.appraise(one).latency for one in ("1c0/1c0", "1s0/1s0")]
    return round(1.02 * max(one.p95_ms for one in latencies if one is not None), 5)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def test_a_family_is_pruned_trained_exported_and_measured(
    gram: Path, tight_ms: float, tmp_path: Path, call: Call
) -> None:
    words = ["prune", gram, "--budget-ms=50", f"--budget-ms={tight_ms}", "-o", tmp_path / "family"]
    ended = call(*words, "--json")
    assert (ended.code, ended.err) == (0, "")
    wide, tight = json.loads(ended.out)
    assert tight["p95_ms"] <= tight_ms < wide["p95_ms"] <= 50
    assert tight["macs"] < wide["macs"]
    folder = tmp_path / "family" / f"{tight_ms:g}ms"
    assert tight["run"] == str(folder)
    assert json.loads((folder / "search.json").read_text())["pruned_from"] == str(gram)
    before = files(tmp_path)
    ended = call(*words, "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert f"{folder}: pruned from a meta-graph: {tight['genotype']}" in ended.out
    assert f"next, for each: pocketnas train {tmp_path / 'family' / '50ms'}" in ended.out
    assert files(tmp_path) == before

    page = call("report", folder)
    assert (page.code, page.err) == (0, "")
    assert "Not measured" in (folder / "report.html").read_text()
    assert call("train", folder).code == 0
    exported = call("export", folder, "-o", tmp_path / "member.tflite", "--json")
    assert exported.code == 0
    assert json.loads(exported.out)["genotype"] == tight["genotype"]
    measured = call(
        "benchmark", tmp_path / "member.tflite", f"--table={gram / 'latency.table'}",
        f"--budget-ms={tight_ms}", "--sessions=2", "--json",
    )  # fmt: skip
    assert measured.code in (0, 3, 4), measured.err
    assert json.loads(measured.out)["predicted_p95_ms"] == pytest.approx(tight["p95_ms"])


def test_a_table_of_another_device_prunes_for_that_device(
    gram: Path, tmp_path: Path, call: Call
) -> None:
    target = replace(HostRunner().target, device="Pixel 8")
    save_table(table_by_work(target, ms=4e-6), tmp_path / "pixel.table")
    words = ["prune", gram, "--budget-ms=1", "--json"]
    (own,) = json.loads(call(*words, "-o", tmp_path / "own").out)
    words.append(f"--table={tmp_path / 'pixel.table'}")
    (slower,) = json.loads(call(*words, "-o", tmp_path / "pixel").out)
    assert slower["macs"] < own["macs"]
    assert max(slower["p95_ms"], own["p95_ms"]) <= 1
    assert load_table(tmp_path / "pixel" / "1ms" / "latency.table").target.device == "Pixel 8"
    complaint = call(*words, "-o", tmp_path / "own", "--resume").complaint
    assert "was made with other settings: table_sha256 was" in complaint


def test_what_cannot_be_pruned_is_told_of_and_nothing_made(
    gram: Path, tight_ms: float, tmp_path: Path, call: Call
) -> None:
    family = tmp_path / "family"
    complaint = call("prune", gram, "-o", family, "--budget-ms=50", "--budget-ms=1e-5").complaint
    assert "no network of space swiftnet was found within 1e-05 ms" in complaint
    assert "the fastest of" in complaint
    assert "Raise the budget" in complaint
    complaint = call("prune", gram, "-o", family, "--budget-ms=0").complaint
    assert "a budget must be more than 0 ms, got 0" in complaint
    assert "Missing option '--budget-ms'" in call("prune", gram, "-o", family).complaint
    unfinished = tmp_path / "unfinished"
    shutil.copytree(gram, unfinished)
    (unfinished / "search.json").unlink()
    complaint = call("prune", unfinished, "-o", family, "--budget-ms=50").complaint
    assert "has not finished; go on with --resume" in complaint
    complaint = call("prune", tmp_path, "-o", family, "--budget-ms=50").complaint
    assert "is no run: it has no config.json" in complaint
    no_table = tmp_path / "no-table.table"
    words = ["prune", gram, "-o", family, "--budget-ms=50", f"--table={no_table}"]
    assert f"there is no table {no_table}" in call(*words).complaint
    assert not family.exists()

    assert call("prune", gram, "-o", family, "--budget-ms=50").code == 0
    before = files(family)
    for budget in ("50", str(tight_ms)):
        words = ["prune", gram, "-o", family, f"--budget-ms={budget}", "--budget-ms=50"]
        assert "already holds a run; add --resume" in call(*words).complaint
    assert files(family) == before


def test_a_run_of_another_method_is_not_pruned(finished: Path, tmp_path: Path, call: Call) -> None:
    ended = call("prune", finished, "-o", tmp_path / "family", "--budget-ms=50")
    assert "has no meta-graph to prune; search with --method gram" in ended.complaint
    assert ended.code == 1
    assert not (tmp_path / "family").exists()


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ("--method-set sampler=greedy", "the sampler is one of adaptive, random", 2),
        ("--method-set chains=0", "GRAM needs 1 <= chains <= warm_up <= evaluations", 2),
        ("--method-set propagation=2.0", "propagation lies in [0, 1], got 2.0", 2),
        ("--max-macs 0", "max_macs must be at least 1, got 0", 2),
        ("--max-params 20", "within max_params 20; the smallest of", 1),
        ("--max-memory-bytes 20", "within max_memory_bytes 20; the smallest of", 1),
        ("--space shrinkcnn --set activation=relu", "GRAM searches the SwiftNet space, not", 2),
        ("--set nodes=(1,1)", "a SwiftNet stage has at least 2 nodes, got 1", 2),
    ],
)
def test_a_gram_search_that_cannot_begin_is_told_of(
    words: str, complaint: str, code: int, swiftnet: list[str], call: Call, tmp_path: Path
) -> None:
    task = swiftnet[:2] if "shrinkcnn" in words else swiftnet
    ended = call("search", "-o", tmp_path / "run", *task, *TRAINING, *GRAM, *words.split())
    assert complaint in ended.complaint
    assert ended.code == code
    RunDirectory.require_usable(tmp_path / "run", resume=False)


def test_limits_are_kept_and_belong_to_the_run(
    gram: Path, swiftnet: list[str], tmp_path: Path, call: Call
) -> None:
    limit = json.loads((gram / "search.json").read_text())["best"]["macs"]
    words = ["search", "-o", tmp_path / "run", *swiftnet, *TRAINING, *GRAM]
    ended = call(*words, f"--max-macs={limit}", "--json")
    assert (ended.code, ended.err) == (0, "")
    lines = (tmp_path / "run" / "candidates.jsonl").read_text().splitlines()
    assert all(json.loads(line)["macs"] <= limit for line in lines)
    complaint = call(*words, f"--max-macs={limit + 1}", "--resume").complaint
    assert f"limits.max_macs was {limit}, now {limit + 1}" in complaint
    ended = call("prune", tmp_path / "run", "-o", tmp_path / "family", "--budget-ms=50")
    assert "had no table; give one with --table" in ended.complaint
