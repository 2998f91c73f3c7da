from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.tasks.language import LanguageData, load_language
from toolchain.tasks.vocabulary import END, UNKNOWN

TRAIN = " the cat sat \n the dog <unk> N \n"
VALID = " the bird sat \n"
TEST = " a cat sat down \n"


def write(folder: Path, layout: str, train: str = TRAIN) -> Path:
    for part, text in (("train", train), ("valid", VALID), ("test", TEST)):
        (folder / layout.format(part)).write_text(text, encoding="utf-8")
    return folder


def texts(data: LanguageData) -> list[str]:
    parts = (data.train, data.validation, data.test)
    return [" ".join(data.vocabulary.decode(part.tolist())) for part in parts]


@pytest.mark.parametrize("layout", ["{}.txt", "ptb.{}.txt", "wiki.{}.tokens"])
def test_three_layouts_are_read_alike(tmp_path: Path, layout: str) -> None:
    data = load_language(write(tmp_path, layout))
    assert data.name == tmp_path.name
    assert data.train.dtype == torch.int64
    assert texts(data) == [
        "the cat sat <eos> the dog <unk> N <eos>",
        "the <unk> sat <eos>",
        "<unk> cat sat <unk> <eos>",
    ]


def test_the_vocabulary_is_of_the_training_text_alone(tmp_path: Path) -> None:
    data = load_language(write(tmp_path, "{}.txt"))
    assert data.vocabulary.words == (UNKNOWN, END, "the", "N", "cat", "dog", "sat")


def test_a_vocabulary_may_be_cut(tmp_path: Path) -> None:
    data = load_language(write(tmp_path, "{}.txt"), 3)
    assert texts(data)[0] == "the <unk> <unk> <eos> the <unk> <unk> <unk> <eos>"
    with pytest.raises(ValueError, match="at least 2 words, got 1"):
        load_language(tmp_path, 1)


def test_every_line_ends_a_sentence_an_empty_one_too(tmp_path: Path) -> None:
    wiki = "\n = Title = \n\n Some text \u2028 of it . \n\n"
    data = load_language(write(tmp_path, "wiki.{}.tokens", wiki))
    assert texts(data)[0] == "<eos> = Title = <eos> <eos> Some text of it . <eos> <eos>"


def test_a_last_line_without_its_end_counts_once(tmp_path: Path) -> None:
    assert texts(load_language(write(tmp_path, "{}.txt", "a b\r\nc")))[0] == "a b <eos> c <eos>"


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write(tmp_path, "ptb.{}.txt")
    (tmp_path / "ptb.valid.txt").unlink()
    with pytest.raises(DataUnusable, match=r"has no ptb\.valid\.txt: add what is missing"):
        load_language(tmp_path)
    (tmp_path / "ptb.test.txt").unlink()
    with pytest.raises(DataUnusable, match=r"no ptb\.valid\.txt and no ptb\.test\.txt"):
        load_language(tmp_path)


def test_a_place_without_a_text_is_told_what_is_read(tmp_path: Path) -> None:
    known = r"train\.txt, valid\.txt, test\.txt or ptb\.train.*wiki\.test\.tokens"
    with pytest.raises(DataUnusable, match=f"holds no text of a known layout.*{known}"):
        load_language(tmp_path)
    with pytest.raises(DataUnusable, match=f"none does not exist.*{known}"):
        load_language(tmp_path / "none")


def test_a_part_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "{}.txt")
    (tmp_path / "valid.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataUnusable, match=r"valid\.txt cannot be read as UTF-8 text"):
        load_language(tmp_path)
    (tmp_path / "valid.txt").write_text(" \n\n")
    with pytest.raises(DataUnusable, match=r"valid\.txt has no words"):
        load_language(tmp_path)
