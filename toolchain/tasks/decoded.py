"""Decoded files, kept in the cache until one of the files changes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from toolchain.atomic import atomic_path
from toolchain.tasks.cache import cache_dir

logger = logging.getLogger(__name__)


def decoded(
    files: Sequence[Path], root: Path, how: object, decode: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return what `decode` makes of `files`, from the cache if it has these very files.

    Args:
        files: Everything that is read, inside `root`; known by path, size and time of change.
        root: Folder of the data set.
        how: Whatever else decides the result, in values that JSON knows.
        decode: Called at most once.
    """
    cached = cache_dir() / "decoded" / f"{_key(files, root, how)}.safetensors"
    if cached.is_file():
        try:
            return load_file(cached)
        except SafetensorError as problem:
            logger.warning("decoding again: %s is broken (%s)", cached, problem)
    logger.info("decoding %d files of %s", len(files), root)
    tensors = decode()
    with atomic_path(cached) as temporary:
        save_file(tensors, temporary)
    return tensors


def _key(files: Sequence[Path], root: Path, how: object) -> str:
    states = []
    for file in files:
        status = file.stat()
        states.append((str(file.relative_to(root)), status.st_size, status.st_mtime_ns))
    identity = json.dumps([how, str(root.resolve()), states])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
