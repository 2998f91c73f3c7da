from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from rig_phone import DISK_MIB, StandInPhone

from device_farm.adb import AdbPhone
from device_farm.errors import NoSpace
from profilers.phone_files import PhoneFiles

pytestmark = pytest.mark.phone

FOLDER = "/data/local/tmp/models"


def make_files(tmp_path: Path, count: int, size: int) -> list[Path]:
    paths = [tmp_path / f"; touch harm; {index}.tflite" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]) * size)
    return paths


def on_phone(phone: AdbPhone, path: str) -> str:
    return phone.run(f"sha256sum < {path}", timeout_s=10).text.split()[0]


@pytest.fixture
def files(phone: AdbPhone) -> PhoneFiles:
    return PhoneFiles(phone, FOLDER)


def test_a_batch_arrives_whole_and_leaves_nothing_else(
    phone: AdbPhone, files: PhoneFiles, tmp_path: Path
) -> None:
    paths = make_files(tmp_path, 20, 10_000)
    files.send(paths)
    for path in paths:
        assert on_phone(phone, files.path(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(phone.run(f"ls -A {FOLDER}", timeout_s=10).text.split()) == 20


def test_what_was_damaged_or_deleted_is_sent_again_after_a_loss(
    phone: AdbPhone, files: PhoneFiles, tmp_path: Path
) -> None:
    paths = make_files(tmp_path, 3, 1000)
    files.send(paths)
    phone.run(f"rm {files.path(paths[0])}; echo x >>{files.path(paths[1])}", timeout_s=10)
    files.forget()
    files.send(paths)
    for path in paths:
        assert on_phone(phone, files.path(path)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_there_is_not_sent_again(
    phone: AdbPhone, files: PhoneFiles, tmp_path: Path
) -> None:
    paths = make_files(tmp_path, 2, 1000)
    files.send(paths)
    stamp = f"stat -c %i {files.path(paths[0])} {files.path(paths[1])}"
    before = phone.run(stamp, timeout_s=10).text
    PhoneFiles(phone, FOLDER).send(paths)
    assert phone.run(stamp, timeout_s=10).text == before


def test_older_files_make_room_on_a_full_disk(
    phone: AdbPhone, files: PhoneFiles, tmp_path: Path
) -> None:
    old, new = make_files(tmp_path, 2, (DISK_MIB << 20) * 3 // 4)
    files.send([old])
    files.send([new])
    names = phone.run(f"ls -A {FOLDER}", timeout_s=10).text.split()
    assert names == [Path(files.path(new)).name]


def test_files_beyond_the_disk_are_refused(
    stand_in: StandInPhone, files: PhoneFiles, tmp_path: Path
) -> None:
    (huge,) = make_files(tmp_path, 1, (DISK_MIB + 1) << 20)
    with pytest.raises(NoSpace):
        files.send([huge])
