"""Quantize an exported language model, and measure the perplexity that this costs.

Ranges come from real steps: the float file reads a text, its state fed back. How the recipes treat
a language model (litert-quantizer 0.11, LiteRT 2.3):

* ``int8``: all arithmetic is in integers. The table of words is int8 as well and held once, with a
  scale for each word; its look-up gives float32, of one word, which is quantized again.
* ``dynamic``: the products' weights and the table are int8, all else stays float32.

Shape suffixes: D words of a text.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from toolchain.export.artifact import Artifact
from toolchain.export.quantization import (
    PERPLEXITY,
    QuantizationReport,
    read_arithmetic,
    sqnr_db,
)
from toolchain.export.quantize import save_quantized
from toolchain.export.quantizer import (
    Feed,
    require_integer,
    require_quantizable,
    run_quantizer,
)
from toolchain.export.text_readers import Words, litert_reader, read_text
from toolchain.spaces.shrinkrnn_step import NEXT_STATE, STATE, TOKEN
from toolchain.train.language import perplexity


def quantize_text(
    content: bytes,
    words_D: Words,
    *,
    hidden: int,
    count: int = 1,
    recipe: str = "int8",
    integer_io: bool = False,
) -> bytes:
    """Quantize a float file of ``export_recurrent``.

    Args:
        content: of the float file.
        words_D: a text that the model was trained on; its steps give the ranges. Not looked at by
            ``dynamic``.
        hidden: values of the state.
        count: words that the file reads at a time.
        recipe: a name of ``RECIPES``.
        integer_io: whether the state and the scores are int8 as well. The state then goes round
            as it is: input and output have one scale.

    Raises:
        NotInteger: operators would still compute in floating point: any of them by ``int8``, one
            with weights by ``dynamic``.
        ExportFailed: the quantizer does not take the file.
        ValueError: the recipe is not known, the file is quantized already, or the text is too
            short.
    """
    require_quantizable(content, recipe, integer_io=integer_io)
    calls = read_text(litert_reader(content), words_D, hidden=hidden, count=count)
    feeds: list[Feed] = [
        {TOKEN: call.words.astype(np.int32), STATE: call.state}
        for call in (calls if recipe == "int8" else ())
    ]
    quantized = run_quantizer(
        content, feeds, recipe, integer_io=integer_io, recurrent={STATE: NEXT_STATE}
    )
    require_integer(read_arithmetic(quantized), recipe)
    return quantized


def quantize_text_artifact(
    artifact: Artifact,
    path: Path,
    words_D: Words,
    held_out_D: Words,
    *,
    recipe: str = "int8",
    integer_io: bool = False,
) -> Artifact:
    """Quantize an exported language model into a file with a card of its own.

    Args:
        artifact: the float file.
        path: the file to write; its card goes beside it.
        words_D: see ``quantize_text``.
        held_out_D: a text that neither training nor calibration saw, in which the files'
            perplexities are compared.
        recipe: see ``quantize_text``.
        integer_io: see ``quantize_text``.

    Returns:
        The quantized network; ``accuracy`` in its report is the perplexity. Its kernels are not
        known: the runtime fuses int8 operators in ways that the plan does not foresee.

    Raises:
        ValueError, NotInteger, ExportFailed: see ``quantize_text``; nothing is written then.
    """
    words, state = artifact.inputs
    hidden, count = state.shape[-1], words.shape[0]
    content = artifact.path.read_bytes()
    quantized = quantize_text(
        content, words_D, hidden=hidden, count=count, recipe=recipe, integer_io=integer_io
    )
    report = QuantizationReport(
        recipe=recipe,
        calibration_images=(len(words_D) - 1) // count * count if recipe == "int8" else 0,
        **asdict(read_arithmetic(quantized)),
        **_compared(content, quantized, held_out_D, hidden, count),
        metric=PERPLEXITY,
    )
    return save_quantized(artifact, path, quantized, report)


def _compared(
    content: bytes, quantized: bytes, words_D: Words, hidden: int, count: int
) -> dict[str, Any]:
    """What a report says of both files on one text."""
    signal = noise = float_surprise = surprise = 0.0
    words = same = 0
    pairs = zip(
        read_text(litert_reader(content), words_D, hidden=hidden, count=count),
        read_text(litert_reader(quantized), words_D, hidden=hidden, count=count),
        strict=True,
    )
    for before, after in pairs:
        signal += float(np.square(before.logits, dtype=np.float64).sum())
        noise += float(np.square(after.logits - before.logits, dtype=np.float64).sum())
        same += int((after.logits.argmax(axis=1) == before.logits.argmax(axis=1)).sum())
        float_surprise += before.surprise
        surprise += after.surprise
        words += len(before.words)
    return {
        "images": words,
        "sqnr_db": sqnr_db(signal, noise),
        "top1_agreement": same / words,
        "accuracy": perplexity(surprise / words),
        "float_accuracy": perplexity(float_surprise / words),
    }
