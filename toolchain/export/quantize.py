"""Quantize an exported network after training, and prove what came of it.

Static int8: weights per channel, activations per tensor, with ranges taken from images that the
network was trained on. The same file and the same images give the same bytes, in whatever order.

Source: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, arXiv 1712.05877, as litert-quantizer carries it out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolchain.atomic import atomic_path
from toolchain.export.artifact import Artifact, save_card, sha256_of
from toolchain.export.parity import run_litert
from toolchain.export.quantization import (
    QuantizationReport,
    compare_outputs,
    read_arithmetic,
    read_end_types,
    read_input_shape,
)
from toolchain.export.quantizer import (
    PACKAGE,
    Feed,
    require_integer,
    require_quantizable,
    run_quantizer,
)
from toolchain.kernels import IMAGE_NAME

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

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
    require_quantizable(content, recipe, integer_io=integer_io)
    _require_images(samples_NCHW, read_input_shape(content))
    quantized = run_quantizer(content, _feeds(samples_NCHW), recipe, integer_io=integer_io)
    require_integer(read_arithmetic(quantized), recipe)
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
    judge: Callable[[Array], float] | None = None,
    metric: str = "accuracy",
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
        judge: what outputs on the held-out images are worth, where that is not told by labels.
        metric: what that figure is called.

    Returns:
        The quantized network. Its parity is the float file's, its quantization says how far it
        is from that; its kernels are not known, because the runtime fuses int8 operators in ways
        that the plan does not foresee.

    Raises:
        ValueError, NotInteger, ExportFailed: see ``quantize``; nothing is written then.
    """
    content = artifact.path.read_bytes()
    quantized = quantize(content, samples_NCHW, recipe=recipe, integer_io=integer_io)
    float_NF, quantized_NF = (run_litert(one, held_out_NCHW) for one in (content, quantized))
    movement = compare_outputs(float_NF, quantized_NF, labels_N)
    if judge is not None:
        movement = replace(movement, accuracy=judge(quantized_NF), float_accuracy=judge(float_NF))
    report = QuantizationReport(
        recipe=recipe,
        calibration_images=len(samples_NCHW) if recipe == "int8" else 0,
        images=len(held_out_NCHW),
        **asdict(read_arithmetic(quantized)),
        **asdict(movement),
        metric=metric,
    )
    return save_quantized(artifact, path, quantized, report)


def save_quantized(
    artifact: Artifact, path: Path, content: bytes, report: QuantizationReport
) -> Artifact:
    """Write a quantized network and its card: that of its float file with what came of it."""
    types = read_end_types(content)
    result = replace(
        artifact,
        path=path,
        sha256=sha256_of(content),
        size_bytes=len(content),
        inputs=tuple(replace(tensor, dtype=types[tensor.name]) for tensor in artifact.inputs),
        outputs=tuple(replace(tensor, dtype=types[tensor.name]) for tensor in artifact.outputs),
        kernels=(),
        versions={**artifact.versions, PACKAGE: version(PACKAGE)},
        quantization=report,
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    save_card(result)
    _LOGGER.info("quantized %s: %s", path, report.summary())
    return result


def _require_images(samples_NCHW: Array, shape_NHWC: tuple[int, ...]) -> None:
    _, rows, columns, channels = shape_NHWC
    if samples_NCHW.dtype != np.float32 or samples_NCHW.shape[1:] != (channels, rows, columns):
        raise ValueError(
            f"calibration needs float32 images of shape {channels}x{rows}x{columns}, got "
            f"{samples_NCHW.dtype} of shape {samples_NCHW.shape}"
        )
    if len(samples_NCHW) == 0 or not np.isfinite(samples_NCHW).all():
        raise ValueError("calibration needs one image or more, of finite numbers")


def _feeds(samples_NCHW: Array) -> list[Feed]:
    return [
        {IMAGE_NAME: np.ascontiguousarray(image_CHW.transpose(1, 2, 0)[None])}
        for image_CHW in samples_NCHW
    ]
