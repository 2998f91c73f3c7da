"""Tables of other tools, to show and compare: their target is not known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from latency_tables.errors import ForeignUnreadable, TableForeign
from latency_tables.kernel import Kernel
from latency_tables.nn_meter import read_nn_meter
from latency_tables.ofa import read_ofa
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target

Read = Callable[[str], dict[Kernel, KernelLatency]]

FORMATS: Mapping[str, tuple[str, Read]] = {
    ".yaml": ("once-for-all or ProxylessNAS", read_ofa),
    ".yml": ("once-for-all or ProxylessNAS", read_ofa),
    ".csv": ("nn-Meter", read_nn_meter),
}
"""By the ending of the file: whose tables these are, and how they are read."""

UNKNOWN = "unknown"


def import_table(path: Path) -> LatencyTable:
    """The table in another tool's file.

    Its rows hold means, in the place of medians, and nothing of their spread. Its target is
    unknown in every field but the fingerprint, which is the file's name and hash, so that no two
    files pass for the same target. It has no calibration.

    Raises:
        ForeignUnreadable: there is no such file, or its format is none of those that are read.
    """
    if path.suffix not in FORMATS:
        raise ForeignUnreadable(
            f"{path} ends in {path.suffix or 'nothing'}; tables are imported from once-for-all "
            "and ProxylessNAS (.yaml) and nn-Meter (.csv)"
        )
    tool, read = FORMATS[path.suffix]
    try:
        text = path.read_text(encoding="utf-8")
        rows = read(text)
    except (OSError, UnicodeDecodeError, ForeignUnreadable) as error:
        raise ForeignUnreadable(f"cannot import {path}: {error}") from error
    if not rows:
        raise ForeignUnreadable(f"cannot import {path}: it is empty")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return LatencyTable(
        target=Target(
            device=UNKNOWN,
            fingerprint=f"{path.name}, sha256 {digest}",
            soc=UNKNOWN,
            abi=UNKNOWN,
            runtime=UNKNOWN,
            runtime_version=UNKNOWN,
            runtime_sha256=UNKNOWN,
            delegate=UNKNOWN,
            precision=UNKNOWN,
            threads=0,
            cpu_mask=UNKNOWN,
            clock=UNKNOWN,
        ),
        rows=rows,
        settings={"imported": f"{path.name} of {tool}", "statistic": "mean"},
    )


def require_own(table: LatencyTable, use: str) -> None:
    """Refuse an imported table where the target must be known.

    Args:
        table: the table.
        use: what was to be done with it, such as ``merged``.

    Raises:
        TableForeign: it was imported.
    """
    if "imported" in table.settings:
        raise TableForeign(
            f"this table was imported ({table.settings['imported']}): its target is not known and "
            f"its rows are not pocketnas's kernels. It can be shown and compared, not {use}; make "
            "one of your own device with: pocketnas profile"
        )
