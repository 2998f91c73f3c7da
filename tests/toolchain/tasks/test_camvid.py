from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import DataUnusable
from toolchain.tasks.camvid import CLASSES, COLORS, MERGED, VOID, load_camvid
from toolchain.tasks.segmentation import IGNORE

DATA = Path(os.environ.get("POCKETNAS_DATA", "/nonexistent"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def ids(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(12, size=(6, 8), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training images, one validation and one test image, masks of ids."""
    root = tmp_path / "camvid"
    for number, part in enumerate(("train", "train", "val", "test")):
        pixels = np.random.default_rng(number).integers(256, size=(6, 8, 3), dtype=np.uint8)
        save(root / part / f"frame{number}.png", pixels)
        save(root / f"{part}annot" / f"frame{number}.png", ids(number))
    return root


def test_ids_are_labels_and_void_is_ignored(folder: Path) -> None:
    data = load_camvid(folder)
    assert data.classes == CLASSES
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (2, 1, 1)
    expected = np.where(ids(1) == 11, IGNORE, ids(1))
    assert (data.train.masks[1].numpy() == expected).all()
    assert (expected == IGNORE).any()
    assert data.train.images.shape == (2, 3, 6, 8)


def test_colors_of_the_authors_are_merged_into_the_same_labels(folder: Path) -> None:
    expected = load_camvid(folder)
    colors = np.array([*COLORS, VOID], dtype=np.uint8)
    for masks in list(folder.glob("*annot")):
        part = masks.name.removesuffix("annot")
        for file in masks.iterdir():
            values = np.asarray(Image.open(file))
            save(folder / f"{part}_labels" / f"{file.stem}_L.png", colors[values])
            file.unlink()
        masks.rmdir()
    data = load_camvid(folder)
    assert (data.train.masks == expected.train.masks).all()
    assert (data.test.masks == expected.test.masks).all()


def test_every_color_of_the_authors_has_its_class(folder: Path) -> None:
    own = [color for group in MERGED.values() for color in group.values()]
    assert len(set(own)) == 31
    (folder / "testannot").rename(folder / "test_labels")
    strip = np.array([own], dtype=np.uint8)
    save(folder / "test" / "frame3.png", np.zeros_like(strip))
    save(folder / "test_labels" / "frame3.png", strip)
    masks = load_camvid(folder, (1, 31)).test.masks
    expected = [label for label, group in enumerate(MERGED.values()) for _ in group]
    assert masks.flatten().tolist() == expected


def test_masks_are_resized_without_new_labels_and_cover_what_their_image_does(
    folder: Path,
) -> None:
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[:, 4:] = 8
    pixels = np.repeat(mask[:, :, None] * 30, 3, axis=2)
    save(folder / "test" / "frame3.png", pixels)
    save(folder / "testannot" / "frame3.png", mask)
    test = load_camvid(folder, (12, 24)).test
    assert test.masks.unique().tolist() == [0, 8]
    assert ((test.images[0, 0] > 120) == (test.masks[0] == 8)).all()


def test_a_tar_archive_serves_as_a_folder(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "camvid.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(folder, arcname="camvid")
    assert (load_camvid(archive).train.masks == load_camvid(folder).train.masks).all()


def remove(*names: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for name in names:
            place = root / name
            for file in place.iterdir() if place.is_dir() else ():
                file.unlink()
            place.rmdir() if place.is_dir() else place.unlink()

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("train"), "camvid has no train/ folder: give the folder that holds it"),
        (remove("test"), "camvid has no test/ folder: expected train, val, test"),
        (remove("testannot"), r"test has no masks: expected testannot/ or test_labels/"),
        (remove("trainannot/frame1.png"), r"1 of 2 images in .*train have no mask, first frame1"),
        (remove("test/frame3.png"), r"test has no images: expected \*.jpg or"),
        (
            lambda root: save(root / "valannot/frame2.png", ids(0)[:5]),
            r"frame2.png is 8x5 but .*val/frame2.png is 8x6: a mask must have the size",
        ),
        (
            lambda root: save(root / "valannot/frame2.png", ids(0) + 190),
            r"frame2.png has 190-201 where label ids are 0-11, 255: is this a mask of another",
        ),
        (
            lambda root: save(root / "valannot/frame2.png", np.full((6, 8, 3), 7, np.uint8)),
            r"frame2.png has the color \(7, 7, 7\) at row 0, column 0, which stands for no class",
        ),
        (
            lambda root: save(root / "valannot/frame2.png", np.zeros((6, 8), np.uint16)),
            r"frame2.png is an image of mode I;16, not a mask of 8-bit label ids or colors",
        ),
        (
            lambda root: (root / "valannot/frame2.png").write_bytes(b"PNG"),
            r"frame2.png is not a readable image",
        ),
        (
            lambda root: [
                save(root / name / "frame2.png", np.zeros(shape, np.uint8))
                for name, shape in (("val", (3, 4, 3)), ("valannot", (3, 4)))
            ],
            r"frame2.png is 4x3 but .*frame0.png is 8x6: choose the image size",
        ),
    ],
)
def test_each_damage_is_told_in_one_line_with_path_and_remedy(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(DataUnusable, match=message) as caught:
        load_camvid(folder)
    assert "\n" not in str(caught.value)


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match="nowhere does not exist: give a folder that holds"):
        load_camvid(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "camvid.tar").is_file(), reason="POCKETNAS_DATA has no camvid.tar")
def test_the_real_data_has_its_published_parts_and_a_road_under_a_sky() -> None:
    data = load_camvid(DATA / "camvid.tar", (90, 120))
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (367, 101, 233)
    share = data.train.class_pixels(11) / data.train.class_pixels(11).sum()
    assert share[CLASSES.index("road")] == pytest.approx(0.33, abs=0.01)
    sky, road = (data.train.masks == CLASSES.index(name) for name in ("sky", "road"))
    assert sky[:, :45].sum() > 50 * sky[:, 45:].sum()
    assert road[:, 45:].sum() > 50 * road[:, :45].sum()
