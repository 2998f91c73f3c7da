"""Words and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

UNKNOWN = "<unk>"
"""Stands for every word that is not in the vocabulary."""

END = "<eos>"
"""Ends a sentence."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words that a language model knows.

    Attributes:
        words: By their numbers; `UNKNOWN` is the first, no word comes twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            ValueError: `UNKNOWN` is not the first of them, or a word comes twice.
        """
        if self.words[:1] != (UNKNOWN,):
            raise ValueError(f"the first word must be {UNKNOWN}, got {self.words[:1]}")
        if len(self.numbers) != len(self.words):
            raise ValueError(f"{len(self.words) - len(self.numbers)} words come twice")

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, words: Iterable[str]) -> Tensor:
        """Return the numbers of words, int64; 0 for those that are not known."""
        return torch.tensor([self.numbers.get(word, 0) for word in words], dtype=torch.int64)

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Return the words of numbers."""
        return [self.words[number] for number in numbers]


def frequent_words(words: Iterable[str], size: int | None = None) -> Vocabulary:
    """Return the vocabulary of a text: its most frequent words, of equals the first by name.

    Args:
        words: The text that is to be learned from, and nothing else.
        size: Words of the vocabulary, `UNKNOWN` included; all of them when None.

    Raises:
        ValueError: `size` leaves no room for a word.
    """
    if size is not None and size < 2:
        raise ValueError(f"a vocabulary has at least 2 words, got {size}")
    counts = Counter(words)
    counts.pop(UNKNOWN, None)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary(words=(UNKNOWN, *ordered[: None if size is None else size - 1]))
