from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import DataUnusable
from toolchain.tasks.image_folder import load_image_folder, require_memory


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))


def pixels(seed: int, shape: tuple[int, ...] = (6, 8, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three training and two test images each, 6 rows by 8 columns, RGB."""
    root = tmp_path / "pets"
    for label, name in enumerate(("cat", "dog")):
        for index in range(3):
            save(root / "train" / name / f"{index}.png", pixels(10 * label + index))
        for index in range(2):
            save(root / "test" / name / f"{index}.png", pixels(100 + 10 * label + index))
    return root


def test_pixels_labels_and_class_names_are_those_of_the_files(folder: Path) -> None:
    data = load_image_folder(folder)
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 6, 8)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert (data.train.images[4].permute(1, 2, 0).numpy() == pixels(11)).all()
    assert (data.test.images[3].permute(1, 2, 0).numpy() == pixels(111)).all()


def test_val_stands_in_for_test_and_other_files_are_ignored(folder: Path) -> None:
    (folder / "test").rename(folder / "val")
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    data = load_image_folder(folder)
    assert (len(data.train), len(data.test)) == (6, 4)


def test_images_are_grey_only_if_all_are(folder: Path) -> None:
    for part in ("train", "test"):
        for file in (folder / part).rglob("*.png"):
            Image.open(file).convert("L").save(file)
    assert load_image_folder(folder).input_shape == (1, 6, 8)
    save(folder / "train" / "dog" / "9.jpg", pixels(9))
    assert load_image_folder(folder).input_shape == (3, 6, 8)


def test_images_of_different_sizes_need_a_size_to_be_resized_to(folder: Path) -> None:
    odd = folder / "train" / "dog" / "odd.png"
    save(odd, pixels(9, (12, 4, 3)))
    with pytest.raises(
        DataUnusable, match=r"odd.png is 4x12 but .*0.png is 8x6: choose the image"
    ):
        load_image_folder(folder)
    assert load_image_folder(folder, image_size=5).input_shape == (3, 5, 5)


def test_decoded_images_are_kept_until_a_file_changes(folder: Path) -> None:
    file = folder / "train" / "cat" / "0.png"
    before = load_image_folder(folder).train.images
    status = file.stat()
    file.write_bytes(b"?" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (load_image_folder(folder).train.images == before).all()
    save(file, pixels(77))
    assert (load_image_folder(folder).train.images[0].permute(1, 2, 0).numpy() == pixels(77)).all()


def test_a_broken_cache_file_is_decoded_anew(folder: Path, tmp_path: Path) -> None:
    before = load_image_folder(folder).train.images
    (cached,) = (tmp_path / "cache" / "decoded").iterdir()
    cached.write_bytes(b"half")
    assert (load_image_folder(folder).train.images == before).all()


def test_a_tar_archive_serves_as_a_folder(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pets.tar.xz"
    with tarfile.open(archive, "w:xz") as opened:
        opened.add(folder, arcname="pets")
    expected = load_image_folder(folder)
    for _ in range(2):
        data = load_image_folder(archive)
        assert data.name == "pets"
        assert (data.train.images == expected.train.images).all()


def test_an_archive_that_writes_outside_its_folder_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as opened:
        entry = tarfile.TarInfo("../../evil")
        entry.size = 4
        opened.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(DataUnusable, match="cannot be extracted"):
        load_image_folder(archive)
    assert not list((tmp_path / "cache" / "archives").iterdir())


def remove_folder(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    path.rmdir()


def break_image(root: Path) -> None:
    file = root / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:60])


def add_deep_image(root: Path) -> None:
    save(root / "train" / "dog" / "deep.png", np.zeros((6, 8), dtype=np.uint16))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_folder, "pets does not exist: give a folder"),
        (lambda root: remove_folder(root / "train"), "pets has no train/ folder: expected"),
        (lambda root: remove_folder(root / "test"), "pets has neither test/ nor val/"),
        (
            lambda root: [remove_folder(root / part / "dog") for part in ("train", "test")],
            "has the one class 'cat': a classifier needs two",
        ),
        (
            lambda root: [remove_folder(root / "train" / name) for name in ("cat", "dog")],
            "train has no class folders: expected",
        ),
        (
            lambda root: [file.unlink() for file in (root / "train" / "cat").iterdir()],
            "train/cat has no images: expected",
        ),
        (lambda root: remove_folder(root / "test" / "dog"), "different classes: dog in only one"),
        (break_image, "train/dog/1.png is not a readable image"),
        (add_deep_image, "deep.png has more than 8 bits a channel"),
    ],
)
def test_each_damage_is_told_in_one_line_with_path_and_remedy(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(DataUnusable, match=message) as caught:
        load_image_folder(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK")
    with pytest.raises(DataUnusable, match=r"data.zip cannot be extracted .* whole tar archive"):
        load_image_folder(file)


def test_images_that_do_not_fit_memory_are_refused() -> None:
    require_memory(1_000, (3, 32, 32), 3_072_000)
    complaint = r"1,281,167 images of 3x224x224 take 192.9 GB of memory, and this machine has 16.0"
    with pytest.raises(DataUnusable, match=complaint):
        require_memory(1_281_167, (3, 224, 224), 16_000_000_000)
