"""What every benchmark prints beside its figures: the machine and how a figure spread."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profilers.host import cpu_model
from toolchain.versions import versions


def machine() -> dict[str, Any]:
    """Processor, cores, load now, and the versions that ran."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    low, middle, high = (float(value) for value in np.percentile(values, (0, 50, 100)))
    return {"min": low, "median": middle, "max": high}


def report(name: str, figures: Mapping[str, Any], output: Path | None) -> None:
    """Print figures with the machine they come from, and write them if a path is given."""
    record = {"benchmark": name, "machine": machine(), **figures}
    print(json.dumps(record, indent=1))
    if output:
        output.write_text(json.dumps(record, indent=1) + "\n")
