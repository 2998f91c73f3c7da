"""Tasks: real data, read from the layouts that users have. One TASKS table.

A loader takes the place of the data (None when the task finds its own) and the image size
(None for the size that the images have).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from toolchain.errors import DataUnusable, NameUnknown
from toolchain.tasks.classification import ClassificationData
from toolchain.tasks.fashion_mnist import load_fashion_mnist
from toolchain.tasks.image_folder import load_image_folder


def _load_image_folder(data: Path | None, image_size: int | None) -> ClassificationData:
    if data is None:
        raise DataUnusable(
            "task image-folder has no data of its own: give a folder or a tar archive"
        )
    return load_image_folder(data, image_size)


TASKS: dict[str, Callable[[Path | None, int | None], ClassificationData]] = {
    "fashion-mnist": load_fashion_mnist,
    "image-folder": _load_image_folder,
}


def load_task(
    name: str, data: Path | None = None, image_size: int | None = None
) -> ClassificationData:
    """Load the data of the task called `name`.

    Args:
        name: A key of TASKS.
        data: Folder or archive of the data; None lets the task find its own.
        image_size: Rows and columns to resize the images to; None keeps their size.

    Raises:
        NameUnknown: No task has this name.
        DataUnusable: The data cannot be found or read.
    """
    if name not in TASKS:
        raise NameUnknown("task", name, TASKS)
    return TASKS[name](data, image_size)
