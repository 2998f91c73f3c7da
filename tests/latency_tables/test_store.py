from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latency_tables.errors import TableNotWritten, TableUnreadable
from latency_tables.evidence import MeasuredNetwork
from latency_tables.model import LatencyModel
from latency_tables.posterior import learn
from latency_tables.store import SCHEMA_VERSION, load_table, save_table, table_sha256, to_frame
from latency_tables.table import LatencyTable

MakeTable = Callable[..., LatencyTable]


def edit_manifest(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Write the file again with another manifest; `edit` changes it or returns a new one."""
    table = pq.read_table(path)
    manifest = json.loads(table.schema.metadata[b"pocketnas"])
    edited = edit(manifest)
    text = edited if isinstance(edited, bytes) else json.dumps(manifest).encode()
    pq.write_table(table.replace_schema_metadata({b"pocketnas": text}), path)


def put(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update({name: value})


VERSION_1 = Path(__file__).parents[1] / "golden" / "tables" / "version1.table"


def learned(table: LatencyTable) -> LatencyTable:
    """The table with evidence of networks that take what its rows say."""
    kernels = list(table)
    networks = [
        MeasuredNetwork(
            subject=f"n{number}",
            kernels=(one := tuple(kernels[number % 3 : number % 5 + 4] * (1 + number % 3))),
            measured_ms=0.05 + 0.01 * (number % 4) + sum(table[k].median_ms for k in one),
        )
        for number in range(20)
    ]
    return learn(table, networks)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 40])
def test_a_table_is_read_back_equal(
    make_table: MakeTable, tmp_path: Path, rows: int, calibrated: bool
) -> None:
    table = make_table(rows, calibrated=calibrated)
    path = tmp_path / "pixel.table"
    save_table(table, path)
    loaded = load_table(path)
    assert loaded == table
    assert table_sha256(loaded) == table_sha256(table)
    assert [file.name for file in tmp_path.iterdir()] == ["pixel.table"]


def test_any_parquet_reader_opens_a_table(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    save_table(table, tmp_path / "t")
    frame = pd.read_parquet(tmp_path / "t", engine="pyarrow")
    assert list(frame.columns) == [
        "kernel", "kind", "median_ms", "iqr_ms", "p95_ms", "samples", "contexts", "origin",
    ]  # fmt: skip
    assert frame["kernel"].is_monotonic_increasing
    assert set(frame["kernel"]) == {kernel.key for kernel in table}
    pd.testing.assert_frame_equal(frame, to_frame(table), check_dtype=False)


def test_the_hash_is_of_the_content_not_of_the_order_or_the_file(make_table: MakeTable) -> None:
    table = make_table()
    turned = replace(table, rows=dict(reversed(table.rows.items())))
    assert turned == table
    assert table_sha256(turned) == table_sha256(table)
    kernel, row = next(iter(table.rows.items()))
    others: Mapping[str, LatencyTable] = {
        "row": replace(table, rows={**table.rows, kernel: replace(row, median_ms=0.5)}),
        "target": replace(table, target=replace(table.target, threads=2)),
        "settings": replace(table, settings={}),
        "calibration": replace(table, calibration=None),
        "length": make_table(11),
    }
    assert len({table_sha256(one) for one in (table, *others.values())}) == 6


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_table_is_refused(make_table: MakeTable, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "t"
    save_table(make_table(), path)
    os.truncate(path, int(kept * path.stat().st_size))
    with pytest.raises(
        TableUnreadable, match=r"not a latency table, or it is truncated .*profile"
    ):
        load_table(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("conv2d takes 3 ms\n" * 100)
    for other in (path, tmp_path):
        with pytest.raises(TableUnreadable, match="not a latency table"):
            load_table(other)


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"kernel": ["conv2d"], "median_ms": [1.0]}), tmp_path / "t")
    with pytest.raises(TableUnreadable, match="a Parquet file but not a latency table"):
        load_table(tmp_path / "t")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TableUnreadable, match="pocketnas profile -o"):
        load_table(tmp_path / "none.table")


def test_a_table_of_version_1_opens_and_predicts_as_it_did() -> None:
    """It was written by the last version before evidence, from a profile of this host."""
    table = load_table(VERSION_1)
    fit = table.calibration
    assert fit is not None
    assert (len(table), table.evidence) == (43, None)
    assert all(row.is_measured for row in table.rows.values())
    latency = LatencyModel(table).predict(list(table))
    kernels_ms = sum(row.median_ms for row in table.rows.values())
    assert latency.p50_ms == pytest.approx(fit.predict_ms(kernels_ms, 43), rel=1e-12)
    assert latency.p50_ms == pytest.approx(0.0943398852544)
    assert latency.p95_ms == pytest.approx(fit.p95_ratio * latency.p50_ms)


def test_a_table_of_version_1_is_written_as_one_of_today(tmp_path: Path) -> None:
    old = load_table(VERSION_1)
    save_table(old, tmp_path / "t")
    assert load_table(tmp_path / "t") == old
    manifest = json.loads(pq.read_schema(tmp_path / "t").metadata[b"pocketnas"])
    assert manifest["schema_version"] == SCHEMA_VERSION


def test_evidence_is_read_back_equal(make_table: MakeTable, tmp_path: Path) -> None:
    table = learned(make_table())
    save_table(table, tmp_path / "t")
    loaded = load_table(tmp_path / "t")
    assert loaded == table
    assert table_sha256(loaded) == table_sha256(table)
    assert table_sha256(replace(table, evidence=None)) != table_sha256(table)
    kernels = list(table)[:5]
    now, then = (LatencyModel(one).predict(kernels) for one in (loaded, table))
    assert (now.p50_ms, now.p95_ms) == pytest.approx((then.p50_ms, then.p95_ms), rel=1e-9)


def test_evidence_about_a_kernel_without_a_row_is_not_written(
    make_table: MakeTable, tmp_path: Path
) -> None:
    table = learned(make_table())
    assert table.evidence is not None
    gone, *left = table.rows
    save_table(replace(table, rows={one: table[one] for one in left}), tmp_path / "t")
    loaded = load_table(tmp_path / "t").evidence
    assert loaded is not None
    assert 0 < len(loaded.networks) < len(table.evidence.networks)
    assert all(gone not in network.kernels for network in loaded.networks)


@pytest.mark.parametrize("row", [12, "0"])
def test_evidence_of_rows_that_are_not_there_is_refused(
    make_table: MakeTable, tmp_path: Path, row: object
) -> None:
    save_table(learned(make_table()), tmp_path / "t")

    def damage(manifest: dict[str, Any]) -> None:
        manifest["evidence"]["networks"][0]["rows"][0] = row

    edit_manifest(tmp_path / "t", damage)
    with pytest.raises(TableUnreadable, match="damaged"):
        load_table(tmp_path / "t")


def test_a_carried_row_stays_one(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    kernel, row = next(iter(table.rows.items()))
    carried = replace(row, origin="carried over from a Pixel 7, conv2d by 1.25")
    save_table(replace(table, rows={**table.rows, kernel: carried}), tmp_path / "t")
    assert load_table(tmp_path / "t")[kernel].origin == carried.origin


def test_a_newer_schema_is_refused_with_the_remedy(make_table: MakeTable, tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_table(make_table(), path)
    edit_manifest(path, put("schema_version", SCHEMA_VERSION + 1))
    with pytest.raises(TableUnreadable, match=f"version {SCHEMA_VERSION + 1}.*update pocketnas"):
        load_table(path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: b"{ torn",
        lambda manifest: b"[]",
        lambda manifest: manifest.pop("schema_version") and None,
        lambda manifest: manifest.pop("target") and None,
        put("target", {"device": "Pixel 8"}),
        put("calibration", {"slope": 1.0}),
    ],
)
def test_a_damaged_manifest_is_refused(
    make_table: MakeTable, tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    path = tmp_path / "t"
    save_table(make_table(), path)
    edit_manifest(path, edit)
    with pytest.raises(TableUnreadable, match="damaged"):
        load_table(path)


@pytest.mark.parametrize("column", ["kernel", "median_ms"])
def test_damaged_rows_are_refused(make_table: MakeTable, tmp_path: Path, column: str) -> None:
    path = tmp_path / "t"
    save_table(make_table(), path)
    table = pq.read_table(path)
    if column == "kernel":
        keys = pa.array([key.as_py()[1:] + "!" for key in table["kernel"]])
        table = table.set_column(0, "kernel", keys)
    else:
        table = table.drop_columns(["median_ms"])
    pq.write_table(table, path)
    with pytest.raises(TableUnreadable, match="damaged"):
        load_table(path)


def test_a_table_that_cannot_be_placed_is_an_error(make_table: MakeTable, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nowhere" / "t", tmp_path / "file" / "t", tmp_path / "folder"):
        with pytest.raises(TableNotWritten, match="cannot write the table"):
            save_table(make_table(), path)
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}


def test_a_full_disk_leaves_the_old_table(make_table: MakeTable, small_disk: Path) -> None:
    path = small_disk / "t"
    old, new = make_table(3), make_table(20_000)
    save_table(old, path)
    with pytest.raises(TableNotWritten, match="No space left"):
        save_table(new, path)
    assert load_table(path) == old
    assert [file.name for file in small_disk.iterdir()] == ["t"]


def test_a_read_only_disk_leaves_the_old_table(make_table: MakeTable, small_disk: Path) -> None:
    path = small_disk / "t"
    old = make_table(3)
    save_table(old, path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(TableNotWritten, match="Read-only"):
        save_table(make_table(4), path)
    assert load_table(path) == old
