"""The quantizer of TFLite files, run quietly, with ranges that hold every sample."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.errors import ExportFailed, NotInteger
from toolchain.export.flatbuffer import SIGNATURE
from toolchain.export.parity import silenced_stderr
from toolchain.export.quantization import WEIGHTED, Arithmetic, read_arithmetic
from toolchain.export.quantized_outputs import with_outputs_of_signature

PACKAGE = "litert-quantizer"

RECIPES: Mapping[str, str] = {"int8": "static_wi8_ai8", "dynamic": "dynamic_wi8_afp32"}
"""The quantizer's name of each recipe: everything in int8 with ranges from samples; or weights in
int8 and activations quantized as they come, which needs no samples."""

Feed = Mapping[str, npt.NDArray[Any]]
"""Inputs of one run, by name."""


def require_quantizable(content: bytes, recipe: str, *, integer_io: bool) -> None:
    """Refuse what cannot be asked for.

    Raises:
        ValueError: the recipe is not known or does not fit, or the file is quantized already.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe is {recipe!r}; give one of {', '.join(RECIPES)}")
    if integer_io and recipe != "int8":
        raise ValueError(f"input and output stay float32 by {recipe}; integers need int8")
    if read_arithmetic(content).integer_ops:
        raise ValueError("the network is quantized already; give the float file")


def require_integer(arithmetic: Arithmetic, recipe: str) -> None:
    """Check that a quantized file computes in integers.

    Raises:
        NotInteger: operators compute in floating point: any of them by ``int8``, one with weights
            by ``dynamic``.
    """
    floats = arithmetic.float_ops
    if recipe == "dynamic":
        floats = tuple(name for name in floats if name in WEIGHTED)
    if floats:
        raise NotInteger(
            "operators would still compute in floating point: "
            f"{replace(arithmetic, float_ops=floats).describe_float()}; {PACKAGE} "
            f"{version(PACKAGE)} does not quantize them: search with another activation, or ship "
            "the float file"
        )


def run_quantizer(
    content: bytes,
    feeds: Sequence[Feed],
    recipe: str,
    *,
    integer_io: bool,
    recurrent: Mapping[str, str] | None = None,
) -> bytes:
    """The content of the quantized file.

    Args:
        content: of the float file.
        feeds: runs whose activations give the ranges; not looked at by ``dynamic``.
        recipe: a name of ``RECIPES``.
        integer_io: whether inputs and outputs are int8 as well.
        recurrent: of a network that reads words, outputs by the inputs that they are fed back to.
            Both get one range, so that the state can go round without being changed.

    Raises:
        ExportFailed: the quantizer does not take the file.
    """
    # Half a second, which no other command shall wait for.
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer import recipe as recipes

    names = qtyping.TFLOperationName
    is_static = recipe == "int8"
    floats = [] if integer_io or not is_static else [names.INPUT, names.OUTPUT]
    if recurrent and floats:
        # Its outputs are converted afterwards, see quantized_outputs.py.
        floats = [names.INPUT]
    try:
        with _silenced():
            session = quantizer.Quantizer(content)
            session.load_quantization_recipe(getattr(recipes, RECIPES[recipe])())
            for end in floats:
                session.update_quantization_recipe(
                    regex=".*", operation_name=end, algorithm_key="no_quantize"
                )
            if recurrent and is_static:
                # Static int8 leaves tables out; a look-up of int8 rows gives float32.
                session.add_dynamic_config(".*", names.EMBEDDING_LOOKUP, num_bits=8)
            ranges = None
            if session.need_calibration:
                ranges = _ranges(content, feeds, session.get_quantization_recipe())
                for given, fed_back in (recurrent or {}).items():
                    _unite(ranges, given, fed_back)
            result = session.quantize(
                ranges, enable_progress_bar=False, enable_progress_report=False
            )
    except (RuntimeError, ValueError) as error:
        raise ExportFailed(
            f"{PACKAGE} does not take this network ({error}); ship the float file, and report "
            "the network as a bug"
        ) from error
    quantized = bytes(result.quantized_model)
    if recurrent and is_static:
        return with_outputs_of_signature(quantized, as_float=not integer_io)
    return quantized


def _ranges(content: bytes, feeds: Sequence[Feed], recipe: Any) -> dict[str, Any]:
    """The smallest and the largest value of every tensor over all samples.

    The quantizer's own ``calibrate`` averages, and forgets all but the last twenty images or so:
    it cuts off what single images reach. On a trained ShrinkCNN (Fashion-MNIST, 200 images) its
    ranges gave 14 dB where these give 28.
    """
    from litert_quantizer import calibrator, recipe_manager
    from litert_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    calibration = calibrator.Calibrator(
        content, num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    calibration.calibrate({SIGNATURE: list(feeds)}, manager)
    ranges: dict[str, Any] = calibration.get_model_qsvs()
    return ranges


def _unite(ranges: dict[str, Any], one: str, other: str) -> None:
    """Give two tensors the range that holds both."""
    both = {
        "min": np.minimum(ranges[one]["min"], ranges[other]["min"]),
        "max": np.maximum(ranges[one]["max"], ranges[other]["max"]),
    }
    ranges[one] = {**ranges[one], **both}
    ranges[other] = {**ranges[other], **both}


@contextmanager
def _silenced() -> Iterator[None]:
    """Hush the quantizer's progress bar, which has no switch, and LiteRT's remarks."""
    with silenced_stderr(), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        # Calibration looks at all tensors, of which LiteRT warns.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        yield
