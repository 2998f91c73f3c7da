"""Does the exported network compute what the trained one computes? Compared on real images.

Three runtimes see the same images: torch, whose outputs are the reference, ONNX Runtime and
LiteRT. Each runs on one thread. Shape suffixes: N images, C channels, H rows, W columns, F
features.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from torch import Tensor, nn

from toolchain.errors import ExportFailed

Array = npt.NDArray[np.float32]

TOLERANCE = 1e-4
"""Largest error of an output that is taken for rounding, as a share of the outputs' spread.

Float32 networks of some hundred operators differ by about 1e-6 from runtime to runtime.
"""

# What ONNX Runtime raises for a model that it cannot load; they have no base of their own.
_ONNX_RUNTIME_ERRORS = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NotImplemented,
)

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one runtime is from torch.

    Attributes:
        max_error: largest absolute difference of an output.
        max_relative_error: the same as a share of the spread (maximum - minimum) of all outputs.
        top1_agreement: share of images whose largest output is the same, in [0, 1].
    """

    max_error: float
    max_relative_error: float
    top1_agreement: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far the exported network is from the trained one.

    Attributes:
        images: how many were compared.
        onnx: ONNX Runtime on the ONNX model.
        litert: LiteRT on the TFLite model.
    """

    images: int
    onnx: Difference
    litert: Difference

    @property
    def compared(self) -> str:
        """How much was compared, in words."""
        return f"{self.images} images"

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``parity_from_json`` reads back."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Perplexities:
    """Perplexity of one text, as three runtimes compute it."""

    torch: float
    onnx: float
    litert: float


@dataclass(frozen=True, kw_only=True)
class TextParity:
    """How far an exported language model is from the trained one, its state fed back.

    Attributes:
        words: how many were read, one after the other.
        onnx: see ``Parity``.
        litert: see ``Parity``.
        perplexity: of these words.
    """

    words: int
    onnx: Difference
    litert: Difference
    perplexity: Perplexities

    @property
    def compared(self) -> str:
        """How much was compared, in words."""
        return f"{self.words} words"

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``parity_from_json`` reads back."""
        return asdict(self)


def parity_from_json(data: dict[str, Any]) -> Parity | TextParity:
    """The figures that ``to_json`` of either wrote.

    Raises:
        KeyError, TypeError: a field is absent or not known.
    """
    onnx, litert = Difference(**data["onnx"]), Difference(**data["litert"])
    if "words" in data:
        perplexity = Perplexities(**data["perplexity"])
        return TextParity(words=data["words"], onnx=onnx, litert=litert, perplexity=perplexity)
    return Parity(images=data["images"], onnx=onnx, litert=litert)


def check_parity(
    module: nn.Module,
    onnx_model: bytes,
    tflite_model: bytes,
    images_NCHW: Tensor,
    *,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Run images through all three and compare.

    Args:
        module: the trained network; it is left in evaluation mode.
        onnx_model: content of the ONNX file.
        tflite_model: content of the TFLite file.
        images_NCHW: normalised images, float32, as the network was trained on.
        tolerance: largest ``max_relative_error`` allowed.

    Raises:
        ExportFailed: a runtime rejects its model or is further off than the tolerance; or the
            network's own outputs are not finite or all equal, so that nothing can be compared.
    """
    if images_NCHW.dtype != torch.float32 or images_NCHW.ndim != 4 or len(images_NCHW) == 0:
        raise ValueError(
            "images must be float32 of shape NCHW, one or more, got "
            f"{images_NCHW.dtype} of shape {tuple(images_NCHW.shape)}"
        )
    reference_NF = _run_torch(module, images_NCHW)
    spread = float(np.ptp(reference_NF))
    # A NaN compares false.
    if not 0 < spread < np.inf:
        raise ExportFailed(
            f"the trained network's outputs have spread {spread} over {len(images_NCHW)} images, "
            "so that nothing can be compared; train it further, or give other images"
        )
    images = images_NCHW.numpy(force=True)
    parity = Parity(
        images=len(images),
        onnx=_difference(reference_NF, _run_onnx(onnx_model, images), spread),
        litert=_difference(reference_NF, run_litert(tflite_model, images), spread),
    )
    _LOGGER.info("parity: %s", parity)
    for runtime, difference in (("ONNX Runtime", parity.onnx), ("LiteRT", parity.litert)):
        if not difference.max_relative_error <= tolerance:
            raise ExportFailed(
                f"{runtime} is off by {difference.max_error:.3g}, which is "
                f"{difference.max_relative_error:.2g} of the outputs' spread (allowed: "
                f"{tolerance:g}); top-1 agrees on {difference.top1_agreement:.1%} of "
                f"{parity.images} images: do not ship this file, and report the network as a bug"
            )
    return parity


def _difference(reference_NF: Array, output_NF: Array, spread: float) -> Difference:
    if output_NF.shape != reference_NF.shape:
        raise ExportFailed(
            f"the exported network's outputs have shape {output_NF.shape[1:]}, the trained one's "
            f"{reference_NF.shape[1:]}; report the network as a bug"
        )
    error = float(np.abs(output_NF - reference_NF).max())
    agree = output_NF.argmax(axis=1) == reference_NF.argmax(axis=1)
    return Difference(
        max_error=error,
        max_relative_error=error / spread,
        top1_agreement=float(agree.mean()),
    )


def _run_torch(module: nn.Module, images_NCHW: Tensor) -> Array:
    module.eval()
    device = next((parameter.device for parameter in module.parameters()), None)
    with torch.no_grad():
        outputs = [module(image[None].to(device)) for image in images_NCHW]
    result: Array = torch.cat(outputs).numpy(force=True)
    return result


def onnx_session(model: bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime with a model, on one thread.

    Raises:
        ExportFailed: it rejects the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _ONNX_RUNTIME_ERRORS as error:
        raise ExportFailed(f"ONNX Runtime rejects the exported model: {error}") from error


def _run_onnx(model: bytes, images_NCHW: Array) -> Array:
    session = onnx_session(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images_NCHW])


def litert_interpreter(model: bytes) -> Interpreter:
    """LiteRT with a TFLite file, on one thread, ready to run.

    Raises:
        ExportFailed: it rejects the file.
    """
    try:
        with silenced_stderr():
            interpreter = Interpreter(model_content=model, num_threads=1)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ExportFailed(f"LiteRT rejects the exported model: {error}") from error
    return interpreter


def run_litert(model: bytes, images_NCHW: Array) -> Array:
    """The outputs of a TFLite file, computed image by image, on one thread.

    Integers at either end of a quantized file are converted by the scale that the file states.

    Args:
        model: content of the file.
        images_NCHW: normalised images, float32.

    Returns:
        Outputs NF, or NCHW where the network ends in feature maps.

    Raises:
        ExportFailed: LiteRT rejects the file.
    """
    interpreter = litert_interpreter(model)
    (image,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    outputs = []
    for image_HWC in images_NCHW.transpose(0, 2, 3, 1):
        interpreter.set_tensor(image["index"], as_stored(image_HWC[None], image))
        interpreter.invoke()
        outputs.append(as_numbers(interpreter.get_tensor(output["index"]), output))
    result: Array = np.concatenate(outputs)
    return np.moveaxis(result, -1, 1) if result.ndim == 4 else result


def as_stored(values: Array, tensor: dict[str, Any]) -> npt.NDArray[Any]:
    """Numbers as an interpreter's tensor, given by its details, holds them."""
    if tensor["dtype"] == np.float32:
        return np.ascontiguousarray(values)
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    stored = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    return np.asarray(stored, dtype=tensor["dtype"])


def as_numbers(stored: npt.NDArray[Any], tensor: dict[str, Any]) -> Array:
    """What ``as_stored`` made of numbers, as numbers."""
    if tensor["dtype"] == np.float32:
        return stored
    scale, zero_point = tensor["quantization"]
    numbers: Array = (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return numbers


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """LiteRT's C code announces its delegate on standard error; a library does not talk there."""
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
