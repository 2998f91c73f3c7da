"""Versions of what decides a run's result."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("pocketnas", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy")


def versions() -> dict[str, str]:
    """Python and the packages that take part, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
