"""Run a language model over a text, word by word or several at a time, its state fed back.

Shape suffixes: D words of a text, T words that are read at a time, V words of the vocabulary, H
values of the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from toolchain.export.parity import as_numbers, as_stored, litert_interpreter, onnx_session
from toolchain.spaces.shrinkrnn_step import LOGITS, NEXT_STATE, STATE, TOKEN
from toolchain.train.language import perplexity
from toolchain.train.recurrent import RecurrentModule

Array = npt.NDArray[np.float32]
Words = npt.NDArray[np.int64]


class Reader(Protocol):
    """A language model in some runtime."""

    def __call__(self, words_T: Words, state_1H: Array) -> tuple[Array, Array]:
        """Scores of the next word after each word, TV, and the next state, 1H."""


def torch_reader(module: RecurrentModule) -> Reader:
    """The trained model itself."""
    device = module.bias.device

    @torch.no_grad()
    def read(words_T: Words, state_1H: Array) -> tuple[Array, Array]:
        tokens_T1 = torch.from_numpy(words_T)[:, None].to(device)
        unrolled = module(tokens_T1, torch.from_numpy(state_1H).to(device))
        return unrolled.logits[:, 0].numpy(force=True), unrolled.state.numpy(force=True)

    return read


def onnx_reader(model: bytes) -> Reader:
    """ONNX Runtime.

    Raises:
        ExportFailed: it rejects the model.
    """
    session = onnx_session(model)

    def read(words_T: Words, state_1H: Array) -> tuple[Array, Array]:
        logits_TV, state_1H = session.run([LOGITS, NEXT_STATE], {TOKEN: words_T, STATE: state_1H})
        return logits_TV, state_1H

    return read


def litert_reader(model: bytes) -> Reader:
    """LiteRT; integers at either end of a quantized file are converted by the file's scales.

    Raises:
        ExportFailed: it rejects the file.
    """
    interpreter = litert_interpreter(model)
    run = interpreter.get_signature_runner()
    inputs, outputs = run.get_input_details(), run.get_output_details()

    def read(words_T: Words, state_1H: Array) -> tuple[Array, Array]:
        stored = as_stored(state_1H, inputs[STATE])
        found = run(**{TOKEN: words_T.astype(np.int32), STATE: stored})
        logits_TV, state_1H = (
            as_numbers(found[name], outputs[name]) for name in (LOGITS, NEXT_STATE)
        )
        return logits_TV, state_1H

    return read


class Call(NamedTuple):
    """What one call of a reader read and gave.

    Attributes:
        words: T words.
        state: before them, 1H.
        logits: scores of the next word after each, TV.
        following: the words that did follow, T.
    """

    words: Words
    state: Array
    logits: Array
    following: Words

    @property
    def surprise(self) -> float:
        """Cross-entropy in nats of the words that followed, summed."""
        logits_TV = self.logits.astype(np.float64)
        peak_T1 = logits_TV.max(axis=1, keepdims=True)
        norm_T = np.log(np.exp(logits_TV - peak_T1).sum(axis=1)) + peak_T1[:, 0]
        hit_T = logits_TV[np.arange(len(self.following)), self.following]
        return float((norm_T - hit_T).sum())


def read_text(reader: Reader, words_D: Words, *, hidden: int, count: int = 1) -> Iterator[Call]:
    """Read a text from the zero state; what does not fill the last call is left out.

    Args:
        reader: the model.
        words_D: the text; its last word is only predicted.
        hidden: values of the state.
        count: words that the model reads at a time.

    Raises:
        ValueError: the text is shorter than one call.
    """
    if len(words_D) <= count:
        raise ValueError(f"the text has {len(words_D)} words, needed are more than {count}")
    state_1H = np.zeros((1, hidden), np.float32)
    for start in range(0, len(words_D) - count, count):
        words_T = words_D[start : start + count]
        logits_TV, next_1H = reader(words_T, state_1H)
        yield Call(words_T, state_1H, logits_TV, words_D[start + 1 : start + count + 1])
        state_1H = next_1H


def text_perplexity(reader: Reader, words_D: Words, *, hidden: int, count: int = 1) -> float:
    """Perplexity of the words of a text that ``read_text`` reads.

    Raises:
        ValueError: see ``read_text``.
    """
    surprise, words = 0.0, 0
    for call in read_text(reader, words_D, hidden=hidden, count=count):
        surprise += call.surprise
        words += len(call.words)
    return perplexity(surprise / words)
