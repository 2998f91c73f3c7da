from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import DataUnusable
from toolchain.tasks.cityscapes import CLASSES, load_cityscapes
from toolchain.tasks.segmentation import IGNORE

IDS = np.array(
    [[0, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22], [23, 24, 25, 26, 27, 28, 31, 32, 33, 3, 29]]
)
LABELS = [[IGNORE, *range(10)], [*range(10, 19), IGNORE, IGNORE]]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two towns to train on and one to test on, one image each, every class in every mask."""
    for part, town in (("train", "aachen"), ("train", "bremen"), ("val", "munster")):
        name = f"{town}_000000_000019"
        image = tmp_path / "leftImg8bit" / part / town / f"{name}_leftImg8bit.png"
        mask = tmp_path / "gtFine" / part / town / f"{name}_gtFine_labelIds.png"
        for file, array in ((image, np.zeros((2, 11, 3))), (mask, IDS)):
            file.parent.mkdir(parents=True)
            Image.fromarray(array.astype(np.uint8)).save(file)
    return tmp_path


def test_ids_become_the_labels_that_count_and_the_authors_validation_is_the_test_set(
    folder: Path,
) -> None:
    data = load_cityscapes(folder)
    assert data.train.masks.tolist() == [LABELS, LABELS]
    assert data.test.masks.tolist() == [LABELS]
    assert data.validation is None
    assert len(data.classes) == len(CLASSES) == 19
    training, validation = data.split(validation=1, seed=0)
    assert (len(training), len(validation)) == (1, 1)


def test_train_ids_are_read_when_there_are_no_ids(folder: Path) -> None:
    for file in list(folder.glob("gtFine/*/*/*_labelIds.png")):
        train_ids = np.array(LABELS, dtype=np.uint8)
        name = file.name.replace("labelIds", "labelTrainIds")
        Image.fromarray(train_ids).save(file.with_name(name))
        file.unlink()
    assert load_cityscapes(folder).train.masks.tolist() == [LABELS, LABELS]


def test_an_image_without_its_mask_is_named(folder: Path) -> None:
    for file in folder.glob("gtFine/train/bremen/*"):
        file.unlink()
    with pytest.raises(
        DataUnusable, match=r"1 of 2 images in .*train have no mask, first bremen_000000_000019"
    ):
        load_cityscapes(folder)


def test_instance_masks_and_missing_masks_are_told_apart(folder: Path) -> None:
    mask = next(folder.glob("gtFine/val/*/*"))
    Image.fromarray(np.full((2, 11), 24_000, dtype=np.uint16)).save(mask)
    with pytest.raises(DataUnusable, match="mode I;16, not a mask of 8-bit label ids"):
        load_cityscapes(folder)
    for file in folder.glob("gtFine/train/*/*"):
        file.unlink()
    with pytest.raises(DataUnusable, match=r"gtFine/train has no masks: expected CITY/\*_gtFine"):
        load_cityscapes(folder)


def test_an_id_beyond_the_published_ones_is_refused(folder: Path) -> None:
    mask = next(folder.glob("gtFine/val/*/*"))
    Image.fromarray(np.full((2, 11), 34, dtype=np.uint8)).save(mask)
    with pytest.raises(DataUnusable, match="has 34 where label ids are 0-33"):
        load_cityscapes(folder)
