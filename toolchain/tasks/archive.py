"""Data sets in tar archives: extracted into the cache once for each version of the file."""

from __future__ import annotations

import hashlib
import logging
import lzma
import os
import tarfile
import tempfile
import zlib
from pathlib import Path

from toolchain.errors import DataUnusable
from toolchain.tasks.cache import cache_dir

logger = logging.getLogger(__name__)


def data_folder(path: Path, needed: str) -> Path:
    """Return the folder of a data set that lies in a folder or in a tar archive of one.

    Args:
        path: The folder, the folder around it, or a tar archive of either, compressed or not.
        needed: Path inside the folder by which it is known, such as ``train``.

    Raises:
        DataUnusable: There is no such place, or nothing in it has `needed`.
    """
    root = extracted(path) if path.is_file() else path
    if not root.exists():
        raise DataUnusable(f"{path} does not exist: give a folder that holds {needed}/")
    candidates = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    for folder in candidates:
        if (folder / needed).is_dir():
            return folder
    raise DataUnusable(f"{path} has no {needed}/ folder: give the folder that holds it")


def extracted(archive: Path) -> Path:
    """Return the cached content of `archive`.

    Raises:
        DataUnusable: It is no whole tar archive, or would write outside its folder.
    """
    status = archive.stat()
    identity = f"{archive.resolve()} {status.st_size} {status.st_mtime_ns}"
    folder = cache_dir() / "archives" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    logger.info("extracting %s into %s", archive, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as name:
        content = Path(name) / "content"
        try:
            with tarfile.open(archive) as opened:
                opened.extractall(content, filter="data")
        except (tarfile.TarError, OSError, lzma.LZMAError, zlib.error, EOFError) as problem:
            reason = " ".join(str(problem).split())
            raise DataUnusable(
                f"{archive} cannot be extracted ({reason}): give a folder or a whole tar archive"
            ) from problem
        # Another process may have been faster: its folder is as good as ours.
        if not folder.is_dir():
            os.rename(content, folder)
    return folder
