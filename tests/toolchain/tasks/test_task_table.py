from __future__ import annotations

import pytest

from toolchain.errors import DataUnusable, NameUnknown
from toolchain.tasks import load_task


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(NameUnknown, match="task 'mnist'; known are: fashion-mnist, image-folder"):
        load_task("mnist")


def test_an_image_folder_must_be_given() -> None:
    with pytest.raises(DataUnusable, match="give a folder or a tar archive"):
        load_task("image-folder")
