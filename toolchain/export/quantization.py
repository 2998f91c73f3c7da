"""What quantizing did to a network: which operators compute in integers, how far outputs moved.

A file that was asked to be int8 need not be: operators that the quantizer does not know stay in
floating point between a DEQUANTIZE and a QUANTIZE, which costs more than it saves and shows in no
message. So the file that was written is read again.

Shape suffixes: N images, F features.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from toolchain.errors import ExportFailed

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""Operators with weights, where nearly all of the arithmetic is."""

PERPLEXITY = "perplexity"
"""Name of the figure of a language model: less is better."""

# Share of the power; equal outputs have none, but JSON knows no infinity.
_SMALLEST_NOISE = 1e-30

# Between the two worlds; they compute nothing.
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
_TYPES = {
    code: name.lower()
    for name, code in vars(schema.TensorType).items()
    if not name.startswith("_")
}


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What the operators of a file compute in, conversions left out.

    Attributes:
        integer_ops: how many read int8, be it activations or only weights.
        float_ops: names of the others, in execution order.
    """

    integer_ops: int
    float_ops: tuple[str, ...]

    def describe_float(self) -> str:
        """The operators that stayed in floating point, each with how often."""
        counts = Counter(self.float_ops)
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """How a quantized file came about, and how far it is from the float one.

    Attributes:
        recipe: a name of ``RECIPES``.
        calibration_images: how many gave the ranges of the activations; 0 when none were needed.
            Of a language model, words, here and below.
        integer_ops: operators that compute in integers.
        float_ops: names of those that do not, in execution order.
        images: held-out images on which the two files were compared.
        sqnr_db: power of the float file's outputs over that of the difference, in dB.
        top1_agreement: share of the images whose largest output is the same, in [0, 1].
        accuracy: of the quantized file on these images, in [0, 1]; None without labels.
        float_accuracy: of the float file, likewise.
        metric: what both accuracies are of: ``accuracy`` itself, or another task's figure, such
            as ``perplexity``, which is no share.
    """

    recipe: str
    calibration_images: int
    integer_ops: int
    float_ops: tuple[str, ...]
    images: int
    sqnr_db: float
    top1_agreement: float
    accuracy: float | None
    float_accuracy: float | None
    metric: str = "accuracy"

    def summary(self) -> str:
        """The figures in one line."""
        is_text = self.metric == PERPLEXITY
        text = (
            f"{self.recipe} against float on {self.images} {'words' if is_text else 'images'}: "
            f"SQNR {self.sqnr_db:.1f} dB, top-1 agreement {self.top1_agreement:.1%}"
        )
        if self.accuracy is not None and self.float_accuracy is not None:
            form = ".2f" if is_text else ".2%"
            text += f", {self.metric} {self.accuracy:{form}} for {self.float_accuracy:{form}}"
        if self.float_ops:
            text += f"; {len(self.float_ops)} operators compute in floating point"
        return text

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``quantization_from_json`` reads back."""
        return asdict(self)


def quantization_from_json(data: dict[str, Any]) -> QuantizationReport:
    """The figures that ``QuantizationReport.to_json`` wrote.

    Raises:
        KeyError, TypeError: a field is absent or not known.
    """
    return QuantizationReport(**{**data, "float_ops": tuple(data["float_ops"])})


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How far the outputs of a quantized file are from the float file's; see the report."""

    sqnr_db: float
    top1_agreement: float
    accuracy: float | None
    float_accuracy: float | None


def read_arithmetic(content: bytes) -> Arithmetic:
    """What each operator of a TFLite file computes in, read from the types of its inputs."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    integer_ops, float_ops = 0, []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in _CONVERSIONS:
            continue
        # An optional input that is left out has index -1.
        types = {graph.tensors[index].type for index in operator.inputs if index >= 0}
        if schema.TensorType.INT8 in types:
            integer_ops += 1
        else:
            float_ops.append(name)
    return Arithmetic(integer_ops=integer_ops, float_ops=tuple(float_ops))


def read_input_shape(content: bytes) -> tuple[int, ...]:
    """Shape of the one input of a TFLite file, NHWC."""
    graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    (index,) = graph.inputs
    return tuple(int(size) for size in graph.tensors[index].shape)


def read_end_types(content: bytes) -> dict[str, str]:
    """Element types of the inputs and outputs of a TFLite file, by the names that callers use."""
    model = schema.ModelT.InitFromPackedBuf(content)
    (signature,) = model.signatureDefs
    tensors = model.subgraphs[signature.subgraphIndex].tensors
    return {
        entry.name.decode(): _TYPES[tensors[entry.tensorIndex].type]
        for entry in (*signature.inputs, *signature.outputs)
    }


def compare_outputs(float_NF: Array, quantized_NF: Array, labels_N: Labels | None) -> Movement:
    """How far quantizing moved the outputs.

    Args:
        float_NF: outputs of the float file.
        quantized_NF: outputs of the quantized file on the same images.
        labels_N: class of each image, if known.

    Raises:
        ExportFailed: the float outputs are not finite or all zero, so that nothing can be
            compared.
    """
    signal = float(np.square(float_NF, dtype=np.float64).sum())
    # A NaN compares false.
    if not 0 < signal < np.inf:
        raise ExportFailed(
            f"the float network's outputs have power {signal} over {len(float_NF)} images, so "
            "that nothing can be compared; train it further, or give other images"
        )
    noise = float(np.square(quantized_NF - float_NF, dtype=np.float64).sum())
    top_N, float_top_N = quantized_NF.argmax(axis=1), float_NF.argmax(axis=1)
    return Movement(
        sqnr_db=sqnr_db(signal, noise),
        top1_agreement=float((top_N == float_top_N).mean()),
        accuracy=None if labels_N is None else float((top_N == labels_N).mean()),
        float_accuracy=None if labels_N is None else float((float_top_N == labels_N).mean()),
    )


def sqnr_db(signal: float, noise: float) -> float:
    """Power of a signal over that of the noise, in dB; finite where there is none."""
    return float(10 * np.log10(signal / max(noise, signal * _SMALLEST_NOISE)))
