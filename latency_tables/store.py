"""Latency tables as files: one Parquet file, its manifest inside.

Rows are kernels. The manifest is JSON in the Parquet schema's metadata under ``pocketnas``: schema
version, units, target, settings, calibration. One file, so that a table is copied, mailed and
replaced as a whole; any Parquet reader opens it.

History of the schema version:
    1  first version
    2  evidence: the networks measured end to end, and what they say of rows and noise; origin of
       each row. A table of version 1 has no evidence, and all its rows are measured
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from latency_tables.calibrate import Calibration
from latency_tables.errors import TableNotWritten, TableUnreadable, TargetMismatch
from latency_tables.evidence import Evidence, MeasuredNetwork
from latency_tables.kernel import Kernel, parse_kernel
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

SCHEMA_VERSION = 2
_METADATA_KEY = b"pocketnas"
_UNITS = {"median_ms": "ms", "iqr_ms": "ms", "p95_ms": "ms", "samples": "1", "contexts": "1"}
_TEXTS = ("origin",)


def save_table(table: LatencyTable, path: Path) -> None:
    """Write a table, all of it or nothing.

    Raises:
        TableNotWritten: the folder is missing or not writable, or the disk is full.
    """
    frame = to_frame(table)
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    manifest = json.dumps(_manifest(table), sort_keys=True).encode()
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), _METADATA_KEY: manifest}
    )
    partial = path.with_name(path.name + ".partial")
    try:
        pq.write_table(arrow, partial)
        partial.replace(path)
    except OSError as error:
        # What could not be written can often not be removed either; the first error tells why.
        with contextlib.suppress(OSError):
            partial.unlink()
        raise TableNotWritten(f"cannot write the table {path}: {error}") from error


def load_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        TableUnreadable: no such file, not a table, truncated, or of a newer schema version.
    """
    try:
        with pq.ParquetFile(path) as file:
            arrow = file.read()
    except FileNotFoundError as error:
        raise TableUnreadable(
            f"there is no table {path}; make one with: pocketnas profile -o {path}"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise TableUnreadable(
            f"{path} is not a latency table, or it is truncated ({_first_line(error)}); "
            "profile again"
        ) from error
    metadata = arrow.schema.metadata or {}
    if _METADATA_KEY not in metadata:
        raise TableUnreadable(f"{path} is a Parquet file but not a latency table of pocketnas")
    return _from_manifest(metadata[_METADATA_KEY], arrow.to_pandas(), path)


def load_tables(path: Path) -> list[LatencyTable]:
    """The table of a file, or all tables (``*.table``) of a folder.

    Raises:
        TableUnreadable: one of them is no table, or the folder has none.
    """
    if not path.is_dir():
        return [load_table(path)]
    tables = [load_table(file) for file in sorted(path.glob("*.table"))]
    if not tables:
        raise TableUnreadable(f"{path}: no *.table in this folder; make one: pocketnas profile")
    return tables


def table_of(target: Target, tables: Sequence[LatencyTable]) -> LatencyTable:
    """The table that was measured on a target.

    Raises:
        TargetMismatch: there is none; of a single table, what differs is named.
    """
    for table in tables:
        if table.target == target:
            return table
    if len(tables) == 1:
        tables[0].target.require_same(target)
    raise TargetMismatch(
        f"none of the {len(tables)} tables is of {target}: profile it with these settings"
    )


def table_sha256(table: LatencyTable) -> str:
    """Hash of a table's content: equal tables have equal hashes, whatever file they are in."""
    content = to_frame(table).to_csv(index=False) + json.dumps(_manifest(table), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def to_frame(table: LatencyTable) -> pd.DataFrame:
    """The rows as a data frame, sorted by kernel: key, kind and KernelLatency's fields."""
    rows = [
        {"kernel": kernel.key, "kind": kernel.kind, **asdict(latency)}
        for kernel, latency in table.rows.items()
    ]
    columns = ["kernel", "kind", *_UNITS, *_TEXTS]
    return pd.DataFrame(rows, columns=columns).sort_values("kernel", ignore_index=True)


def _manifest(table: LatencyTable) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "units": _UNITS,
        "target": table.target.to_json(),
        "settings": dict(table.settings),
        "calibration": asdict(table.calibration) if table.calibration else None,
        "evidence": _evidence_to_json(table.evidence, table.rows) if table.evidence else None,
    }


def _evidence_to_json(evidence: Evidence, rows: Iterable[Kernel]) -> dict[str, Any]:
    """The evidence, kernels by the numbers of their rows in the file, the first being 0.

    A network with a kernel that has no row any more tells nothing and is left out.
    """
    numbers = {kernel: number for number, kernel in enumerate(sorted(rows, key=_key))}
    networks = [
        {
            "subject": network.subject,
            "measured_ms": network.measured_ms,
            "rows": [numbers[kernel] for kernel in network.kernels],
        }
        for network in evidence.networks
        if all(kernel in numbers for kernel in network.kernels)
    ]
    figures = {name: value for name, value in vars(evidence).items() if name != "networks"}
    return {**figures, "networks": networks}


def _evidence_from_json(data: dict[str, Any], kernels: Sequence[Kernel]) -> Evidence:
    networks = tuple(
        MeasuredNetwork(
            subject=one["subject"],
            kernels=tuple([kernels[number] for number in one["rows"]]),
            measured_ms=one["measured_ms"],
        )
        for one in data["networks"]
    )
    return Evidence(**{**data, "networks": networks})


def _key(kernel: Kernel) -> str:
    return kernel.key


def _from_manifest(text: bytes, frame: pd.DataFrame, path: Path) -> LatencyTable:
    try:
        manifest = json.loads(text)
        version = manifest["schema_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise TableUnreadable(f"{path} is damaged: {_first_line(error)}; profile again") from error
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise TableUnreadable(
            f"{path} has schema version {version}, this pocketnas reads up to {SCHEMA_VERSION}; "
            "update pocketnas"
        )
    columns = [*_UNITS, *(_TEXTS if version > 1 else ())]
    try:
        rows = {
            parse_kernel(str(row.kernel)): KernelLatency(
                **{name: getattr(row, name) for name in columns}
            )
            for row in frame.itertuples()
        }
        return LatencyTable(
            target=Target.from_json(manifest["target"]),
            rows=rows,
            settings=manifest["settings"],
            calibration=(
                Calibration(**manifest["calibration"]) if manifest["calibration"] else None
            ),
            evidence=(
                _evidence_from_json(manifest["evidence"], list(rows))
                if version > 1 and manifest["evidence"]
                else None
            ),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise TableUnreadable(f"{path} is damaged: {_first_line(error)}; profile again") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
