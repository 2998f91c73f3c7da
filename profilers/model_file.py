"""Check that a TFLite file is whole before C code that trusts every offset reads it."""

from __future__ import annotations

from pathlib import Path

from latency_tables.tflite.schema import ModelDamaged, read_model
from profilers.errors import ModelRejected


def verify_model_file(path: Path) -> None:
    """Check that each offset and index of a model stays inside the file.

    Raises:
        ModelRejected: The file is missing, empty, not a TFLite model, truncated or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelRejected(f"cannot read the model {path}: {reason}; check the path") from error
    try:
        read_model(content)
    except ModelDamaged as error:
        raise ModelRejected(
            f"{path} {error}; give a whole file written by an export to TFLite"
        ) from error
