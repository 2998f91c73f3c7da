"""The stand-in benchmark_model: one executable file that a user pushes to a stand-in phone.

`python tests/phone/rig_benchmark.py` builds it and prints where it is; it needs a C compiler.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rig_image import RigUnavailable, image_path

SOURCES = Path(__file__).with_name("benchmark_model")
CONFIG = "benchmark_model.conf"  # in the phone's state folder
_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,-z,now", "-o"]
_LIBRARIES = ["-ldl", "-lm"]


def build() -> Path:
    """Compile the stand-in unless this version of it lies in the cache, and return its path.

    Raises:
        RigUnavailable: This machine has no C compiler.
    """
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    path = image_path().with_name("benchmark_model") / digest / "benchmark_model"
    if path.exists():
        return path
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RigUnavailable("the stand-in benchmark_model needs a C compiler: install gcc")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        output = Path(scratch) / path.name
        subprocess.run([compiler, *_FLAGS, output, *SOURCES.glob("*.c"), *_LIBRARIES], check=True)
        output.replace(path)  # two test runs may build at once
    return path


def runtime_library() -> Path:
    """LiteRT's C library in the installed wheel.

    Raises:
        RigUnavailable: The wheel is not installed.
    """
    spec = importlib.util.find_spec("ai_edge_litert")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        path = Path(folder) / "libLiteRt.so"
        if path.exists():
            return path
    raise RigUnavailable("the phone rig needs LiteRT: pip install ai-edge-litert")


def configure(state: Path, **lines: str | float) -> None:
    """Choose what the stand-in prints and how it fails, from its next start on.

    Args:
        state: The phone's state folder.
        lines: `family`, `fail`, `slow`; see benchmark_model/main.c. None: a plain v3 that works.
    """
    path = state / CONFIG
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    os.replace(partial, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logging.info("%s", build())
    except RigUnavailable as reason:
        sys.exit(str(reason))
