"""docs/tables.md says what the files hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from latency_tables.calibrate import Calibration
from latency_tables.store import save_table, to_frame
from latency_tables.table import LatencyTable
from latency_tables.target import Target

MakeTable = Callable[..., LatencyTable]

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


def test_the_five_lines_of_pandas_run_on_a_table(make_table: MakeTable, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in snippet.splitlines() if line]) <= 5
    save_table(make_table(), tmp_path / "host.table")
    command = [sys.executable, "-c", snippet]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "median_ms" in done.stdout
    assert "conv2d" in done.stdout


def test_every_column_and_field_is_on_the_page(make_table: MakeTable) -> None:
    table_rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    names = [field.name for kind in (Target, Calibration) for field in fields(kind)]
    for name in [*to_frame(make_table()).columns, *names]:
        assert re.search(rf"\b{name}\b", table_rows), f"{name} is not described"
