"""Image files: which there are, and one error for whatever is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from toolchain.errors import DataUnusable

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """Open an image; what Pillow raises inside the block becomes one error naming the file.

    Raises:
        DataUnusable: The file is missing or no readable image.
    """
    try:
        with Image.open(file) as image:
            yield image
    # Pillow raises SyntaxError and ValueError for some kinds of broken PNG and JPEG.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise DataUnusable(
            f"{file} is not a readable image ({problem}): repair or remove it"
        ) from problem
