"""Language modelling: a text as numbers of words, in three parts, and its vocabulary.

Layouts: a folder with `train.txt`, `valid.txt` and `test.txt`, or the same with names that begin
with `ptb.`, as the Penn Treebank of T. Mikolov comes; a folder with `wiki.train.tokens`,
`wiki.valid.tokens` and `wiki.test.tokens`, as WikiText (arXiv 1609.07843) comes; the Brown corpus
(see `tasks/brown.py`). Every line ends with `<eos>`, an empty one too, as is customary: published
perplexities count these.

The vocabulary is of the training part alone; other parts' other words become `<unk>`.

Shapes: D words.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor

from toolchain.errors import DataUnusable
from toolchain.tasks.brown import Sentences, brown_samples
from toolchain.tasks.vocabulary import END, Vocabulary, frequent_words

LAYOUTS = ("{}.txt", "ptb.{}.txt", "wiki.{}.tokens")
"""Names of the files of the three parts."""

PARTS = ("train", "valid", "test")

BROWN_VOCABULARY = 10_000
BROWN_VALIDATION = 8
BROWN_TEST = 9
"""Of ten samples in the order of their names, which are for what; the others are for training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageData:
    """A text to learn, choose and report on.

    Attributes:
        name: What reports call it.
        vocabulary: Words of the training part.
        train: The only text that a model learns from: numbers of words, of shape D, int64.
        validation: Likewise, text that a search or a training chooses by.
        test: Likewise, held back for the figure that is reported at the very end.
    """

    name: str
    vocabulary: Vocabulary
    train: Tensor
    validation: Tensor
    test: Tensor


def load_language(data: Path | None = None, vocabulary: int | None = None) -> LanguageData:
    """Load a text; the Brown corpus when none is named.

    Args:
        data: Folder of one of the layouts, or an archive of the Brown corpus.
        vocabulary: Most frequent words to keep, `<unk>` included; when None, 10,000 of the Brown
            corpus and all of any other text.

    Raises:
        DataUnusable: The text cannot be found or read, or a part of it is empty.
        ValueError: `vocabulary` is less than 2.
    """
    layout = None if data is None or data.is_file() else _layout(data)
    if data is None or layout is None:
        return load_brown(data, BROWN_VOCABULARY if vocabulary is None else vocabulary)
    parts = [_lines(data / layout.format(part)) for part in PARTS]
    return _assemble(data.resolve().name, parts, vocabulary)


def load_brown(
    path: Path | None = None, vocabulary: int | None = BROWN_VOCABULARY
) -> LanguageData:
    """Load the Brown corpus, fetching it into the cache when this machine does not have it.

    Of every ten samples eight are for training, the ninth for validation, the tenth for testing.

    Args:
        path: Folder or archive of the samples; None for the cache.
        vocabulary: Most frequent words to keep, `<unk>` included; all of them when None.

    Raises:
        DataUnusable: The corpus cannot be had, or is not whole.
        ValueError: `vocabulary` is less than 2.
    """
    parts: list[Sentences] = [[], [], []]
    for number, sample in enumerate(brown_samples(path)):
        part = {BROWN_VALIDATION: 1, BROWN_TEST: 2}.get(number % 10, 0)
        parts[part].extend(sample)
    return _assemble("brown", parts, vocabulary)


def _layout(folder: Path) -> str | None:
    """The layout of a folder; None where it may hold the Brown corpus."""
    if not folder.exists():
        raise DataUnusable(f"{folder} does not exist: give a folder with {_known_files()}")
    for layout in LAYOUTS:
        names = [layout.format(part) for part in PARTS]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing and len(missing) < len(names):
            raise DataUnusable(f"{folder} has no {' and no '.join(missing)}: add what is missing")
        if not missing:
            return layout
    if (folder / "ca01").is_file():
        return None
    raise DataUnusable(
        f"{folder} holds no text of a known layout: give a folder with {_known_files()}, or the "
        "Brown corpus"
    )


def _known_files() -> str:
    return " or ".join(", ".join(layout.format(part) for part in PARTS) for layout in LAYOUTS)


def _lines(file: Path) -> Sentences:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise DataUnusable(f"{file} cannot be read as UTF-8 text: {problem}") from problem
    if not text.split():
        raise DataUnusable(f"{file} has no words: give a file with a text in it")
    # Not splitlines: that also splits at characters that text files hold inside a line.
    return [line.split() for line in text.removesuffix("\n").split("\n")]


def _assemble(name: str, parts: list[Sentences], size: int | None) -> LanguageData:
    texts = [
        list(chain.from_iterable([*sentence, END] for sentence in sentences))
        for sentences in parts
    ]
    vocabulary = frequent_words(texts[0], size)
    train, validation, test = (vocabulary.encode(text) for text in texts)
    return LanguageData(
        name=name,
        vocabulary=vocabulary,
        train=train,
        validation=validation,
        test=test,
    )
