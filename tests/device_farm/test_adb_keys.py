from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from device_farm.adb.keys import AdbKey
from device_farm.errors import AdbKeyUnusable


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = AdbKey(tmp_path / ".android")
    again = AdbKey(tmp_path / ".android")
    assert first.signer.public_key == again.signer.public_key
    assert first.certificate_pem() == again.certificate_pem()
    names = sorted(path.name for path in (tmp_path / ".android").iterdir())
    assert names == ["adbkey", "adbkey.pub"]


def test_the_private_key_is_the_users_alone(tmp_path: Path) -> None:
    AdbKey(tmp_path)
    assert (tmp_path / "adbkey").stat().st_mode & 0o777 == 0o600


def test_the_home_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    AdbKey()
    assert (tmp_path / ".android" / "adbkey").exists()


def test_a_lost_public_half_is_made_again(tmp_path: Path) -> None:
    line = AdbKey(tmp_path).signer.public_key.split()[0]
    (tmp_path / "adbkey.pub").unlink()
    assert AdbKey(tmp_path).signer.public_key.split()[0] == line


def test_first_uses_at_one_moment_agree_on_a_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: AdbKey(tmp_path), range(4)))
    assert len({key.certificate_pem() for key in keys}) == 1
    assert len({key.signer.public_key.split()[0] for key in keys}) == 1


@pytest.mark.parametrize("text", ["", "not a key"])
def test_a_broken_key_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "adbkey").write_text(text)
    with pytest.raises(AdbKeyUnusable, match="delete the file to get a new key"):
        AdbKey(tmp_path)


def test_an_impossible_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AdbKeyUnusable, match="make the folder writable"):
        AdbKey(tmp_path / "file")
