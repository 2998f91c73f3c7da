from __future__ import annotations

import pytest
import torch

from toolchain.tasks.vocabulary import END, UNKNOWN, Vocabulary, frequent_words

TEXT = ["the", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "a", "cat", END]


def test_words_come_by_frequency_then_by_name() -> None:
    vocabulary = frequent_words(TEXT)
    assert vocabulary.words == (UNKNOWN, "the", "cat", "dog", "saw", END, "a", "and")


def test_the_size_counts_the_unknown_word() -> None:
    vocabulary = frequent_words(TEXT, 4)
    assert len(vocabulary) == 4
    assert vocabulary.words == (UNKNOWN, "the", "cat", "dog")
    assert len(frequent_words(TEXT, 100)) == 8


def test_a_word_that_is_not_known_becomes_the_unknown_one() -> None:
    vocabulary = frequent_words(TEXT, 4)
    numbers = vocabulary.encode(["a", "dog", "the", "unicorn"])
    assert numbers.dtype == torch.int64
    assert numbers.tolist() == [0, 3, 1, 0]
    assert vocabulary.decode(numbers.tolist()) == [UNKNOWN, "dog", "the", UNKNOWN]


def test_a_text_that_has_the_unknown_word_gets_no_second_one() -> None:
    vocabulary = frequent_words(["<unk>", "a", "<unk>", "b"])
    assert vocabulary.words == (UNKNOWN, "a", "b")
    assert vocabulary.encode(["<unk>"]).tolist() == [0]


def test_a_vocabulary_without_room_for_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 words, got 1"):
        frequent_words(TEXT, 1)


def test_words_that_are_no_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="the first word must be <unk>"):
        Vocabulary(words=("a", UNKNOWN))
    with pytest.raises(ValueError, match="1 words come twice"):
        Vocabulary(words=(UNKNOWN, "a", "a"))
