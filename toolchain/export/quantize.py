"""Quantize an exported network after training, and prove what came of it.

Static int8: weights per channel, activations per tensor, with ranges taken from images that the
network was trained on. The same file and the same images give the same bytes, in whatever order.

Source: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, arXiv 1712.05877, as litert-quantizer carries it out.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.atomic import atomic_path
from toolchain.errors import ExportFailed, NotInteger
from toolchain.export.artifact import Artifact, save_card, sha256_of
from toolchain.export.flatbuffer import INPUT_NAME, SIGNATURE
from toolchain.export.parity import run_litert, silenced_stderr
from toolchain.export.quantization import (
    WEIGHTED,
    Arithmetic,
    QuantizationReport,
    compare_outputs,
    read_arithmetic,
    read_input_shape,
)

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

PACKAGE = "litert-quantizer"

RECIPES: Mapping[str, str] = {"int8": "static_wi8_ai8", "dynamic": "dynamic_wi8_afp32"}
"""The quantizer's name of each recipe: everything in int8 with ranges from images; or weights in
int8 and activations quantized as they come, which needs no images."""

_LOGGER = logging.getLogger(__name__)


def quantize(
    content: bytes, samples_NCHW: Array, *, recipe: str = "int8", integer_io: bool = False
) -> bytes:
    """Quantize a float TFLite file that ``write_tflite`` wrote.

    Args:
        content: of the float file.
        samples_NCHW: normalised images whose activations give the ranges; not looked at by
            ``dynamic``.
        recipe: a name of ``RECIPES``.
        integer_io: whether input and output are int8 as well, for callers that convert
            themselves; else they are float32 and the file converts.

    Raises:
        NotInteger: operators would still compute in floating point: any of them by ``int8``, one
            with weights by ``dynamic``.
        ExportFailed: the quantizer does not take the file.
        ValueError: the recipe is not known, the file is quantized already, or the samples are no
            images that it takes.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe is {recipe!r}; give one of {', '.join(RECIPES)}")
    if integer_io and recipe != "int8":
        raise ValueError(f"input and output stay float32 by {recipe}; integers need int8")
    if read_arithmetic(content).integer_ops:
        raise ValueError("the network is quantized already; give the float file")
    _require_images(samples_NCHW, read_input_shape(content))
    try:
        quantized = _run_quantizer(content, samples_NCHW, recipe, integer_io=integer_io)
    except (RuntimeError, ValueError) as error:
        raise ExportFailed(
            f"{PACKAGE} does not take this network ({error}); ship the float file, and report "
            "the network as a bug"
        ) from error
    _require_integer(read_arithmetic(quantized), recipe)
    return quantized


def quantize_artifact(
    artifact: Artifact,
    path: Path,
    samples_NCHW: Array,
    held_out_NCHW: Array,
    labels_N: Labels | None,
    *,
    recipe: str = "int8",
    integer_io: bool = False,
) -> Artifact:
    """Quantize an exported network into a file with a card of its own.

    Args:
        artifact: the float network.
        path: the file to write; its card goes beside it.
        samples_NCHW: see ``quantize``.
        held_out_NCHW: normalised images that neither training nor calibration saw; the two
            files are compared on them.
        labels_N: class of each of these, if known.
        recipe: see ``quantize``.
        integer_io: see ``quantize``.

    Returns:
        The quantized network. Its parity is the float file's, its quantization says how far it
        is from that; its kernels are not known, because the runtime fuses int8 operators in ways
        that the plan does not foresee.

    Raises:
        ValueError, NotInteger, ExportFailed: see ``quantize``; nothing is written then.
    """
    content = artifact.path.read_bytes()
    quantized = quantize(content, samples_NCHW, recipe=recipe, integer_io=integer_io)
    movement = compare_outputs(
        run_litert(content, held_out_NCHW), run_litert(quantized, held_out_NCHW), labels_N
    )
    report = QuantizationReport(
        recipe=recipe,
        calibration_images=len(samples_NCHW) if recipe == "int8" else 0,
        images=len(held_out_NCHW),
        **asdict(read_arithmetic(quantized)),
        **asdict(movement),
    )
    result = _described(artifact, path, quantized, report, "int8" if integer_io else "float32")
    with atomic_path(path) as temporary:
        temporary.write_bytes(quantized)
    save_card(result)
    _LOGGER.info("quantized %s: %s", path, report.summary())
    return result


def _described(
    artifact: Artifact, path: Path, content: bytes, report: QuantizationReport, ends: str
) -> Artifact:
    return replace(
        artifact,
        path=path,
        sha256=sha256_of(content),
        size_bytes=len(content),
        inputs=tuple(replace(tensor, dtype=ends) for tensor in artifact.inputs),
        outputs=tuple(replace(tensor, dtype=ends) for tensor in artifact.outputs),
        kernels=(),
        versions={**artifact.versions, PACKAGE: version(PACKAGE)},
        quantization=report,
    )


def _require_images(samples_NCHW: Array, shape_NHWC: tuple[int, ...]) -> None:
    _, rows, columns, channels = shape_NHWC
    if samples_NCHW.dtype != np.float32 or samples_NCHW.shape[1:] != (channels, rows, columns):
        raise ValueError(
            f"calibration needs float32 images of shape {channels}x{rows}x{columns}, got "
            f"{samples_NCHW.dtype} of shape {samples_NCHW.shape}"
        )
    if len(samples_NCHW) == 0 or not np.isfinite(samples_NCHW).all():
        raise ValueError("calibration needs one image or more, of finite numbers")


def _require_integer(arithmetic: Arithmetic, recipe: str) -> None:
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


def _run_quantizer(content: bytes, samples_NCHW: Array, recipe: str, *, integer_io: bool) -> bytes:
    # Half a second, which no other command shall wait for.
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer import recipe as recipes

    with _silenced():
        session = quantizer.Quantizer(content)
        session.load_quantization_recipe(getattr(recipes, RECIPES[recipe])())
        if recipe == "int8" and not integer_io:
            for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
                session.update_quantization_recipe(
                    regex=".*", operation_name=end, algorithm_key="no_quantize"
                )
        ranges = None
        if session.need_calibration:
            ranges = _ranges(content, samples_NCHW, session.get_quantization_recipe())
        result = session.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(content: bytes, samples_NCHW: Array, recipe: Any) -> Any:
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
    calibration.calibrate({SIGNATURE: _feeds(samples_NCHW)}, manager)
    return calibration.get_model_qsvs()


def _feeds(samples_NCHW: Array) -> list[dict[str, Array]]:
    return [
        {INPUT_NAME: np.ascontiguousarray(image_CHW.transpose(1, 2, 0)[None])}
        for image_CHW in samples_NCHW
    ]


@contextmanager
def _silenced() -> Iterator[None]:
    """Hush the quantizer's progress bar, which has no switch, and LiteRT's remarks."""
    with silenced_stderr(), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        # Calibration looks at all tensors, of which LiteRT warns.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        yield
