from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest
from adb_shell.adb_device import AdbDeviceTcp
from adb_shell.exceptions import TcpTimeoutException
from rig_front import Front
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone, TcpRoute
from device_farm.errors import (
    CommandFailed,
    NoSpace,
    OutputTooLarge,
    PullFailed,
    PushFailed,
)

pytestmark = pytest.mark.phone
FOLDER = "/data/local/tmp"
HOSTILE_NAMES = [
    "two words",
    "$(reboot)`reboot`",
    "a;reboot&|>x",
    'it\'s "quoted"',
    "-rf",
    "line\nbreak",
    "*?[a-z]",
    "with,comma,0644",
    "näme \N{GRINNING FACE}",
    "\x1b[2Jescape",
    "back\\slash",
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """20 MB that do not compress."""
    path = tmp_path / "model.tflite"
    path.write_bytes(random.Random(1).randbytes(20_000_000))
    return path


def test_20_mb_over_a_50_mbit_link_arrive_unchanged(
    front: Front, fronted: AdbPhone, model: Path, tmp_path: Path
) -> None:
    front.bits_per_s = 50e6
    start = time.monotonic()
    fronted.push(model, f"{FOLDER}/model")
    assert 3.1 < time.monotonic() - start < 20  # 3.2 s for an idle machine
    front.bits_per_s = None
    listed = fronted.run(f"sha256sum {FOLDER}/model", timeout_s=10).text.split()[0]
    fronted.pull(f"{FOLDER}/model", tmp_path / "back")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert listed == digest
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == digest


def test_that_link_is_as_narrow_as_those_on_which_stock_adb_shell_hangs(
    front: Front, model: Path
) -> None:
    front.bits_per_s = 50e6
    stock = AdbDeviceTcp(front.host, front.port, default_transport_timeout_s=3)
    stock.connect()
    with pytest.raises(TcpTimeoutException):
        stock.push(str(model), f"{FOLDER}/model")
    stock.close()


def test_a_slow_answer_costs_no_bytes(front: Front, fronted: AdbPhone, tmp_path: Path) -> None:
    front.latency_s = 0.02
    source = tmp_path / "source"
    source.write_bytes(random.Random(2).randbytes(300_000))
    fronted.push(source, f"{FOLDER}/x")
    fronted.pull(f"{FOLDER}/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 262144, 1 << 20])
def test_sizes_around_the_packet_size_arrive(phone: AdbPhone, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(size).randbytes(size))
    phone.push(source, f"{FOLDER}/x")
    phone.pull(f"{FOLDER}/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_executable_stays_executable(phone: AdbPhone, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/system/bin/sh\nexit 42\n")
    script.chmod(0o755)
    phone.push(script, f"{FOLDER}/script")
    assert phone.run(f"{FOLDER}/script", timeout_s=10).exit_code == 42


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_only_a_name(
    phone: AdbPhone, stand_in: StandInPhone, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1000))
    remote = f"{FOLDER}/{name}"
    phone.push(source, f"{FOLDER}/innocent")
    phone.push(source, remote)
    phone.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert phone.run(f"ls -A {FOLDER} | wc -l", timeout_s=10).text.split() == [
        str(2 + name.count("\n"))
    ]
    phone.remove(remote)
    assert phone.run(f"ls -A {FOLDER}", timeout_s=10).text == "innocent\n"


def test_a_full_disk_is_told_as_such_and_nothing_stays(phone: AdbPhone, model: Path) -> None:
    phone.run(f"head -c 55000000 /dev/zero > {FOLDER}/fill", timeout_s=30)
    start = time.monotonic()
    with pytest.raises(NoSpace, match="No space left"):
        phone.push(model, f"{FOLDER}/model")
    assert time.monotonic() - start < 3
    assert phone.run(f"ls -A {FOLDER}", timeout_s=10).text == "fill\n"


def test_a_full_disk_is_noticed_before_all_is_sent(
    front: Front, fronted: AdbPhone, model: Path
) -> None:
    fronted.run(f"head -c 66000000 /dev/zero > {FOLDER}/fill", timeout_s=30)
    front.bits_per_s = 50e6
    start = time.monotonic()
    with pytest.raises(NoSpace):
        fronted.push(model, f"{FOLDER}/model")
    assert time.monotonic() - start < 2.5  # all of it takes 3.2 s


@pytest.mark.parametrize("size", [10, 5_000_000])
@pytest.mark.parametrize(
    ("remote", "reason"),
    [("/data/x", "Permission denied"), ("/system/bin/x", "Read-only file system")],
)
def test_a_path_without_permission_says_why_and_where_to_write(
    phone: AdbPhone, tmp_path: Path, size: int, remote: str, reason: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(size))
    with pytest.raises(PushFailed, match=rf"{reason}; write below /data/local/tmp"):
        phone.push(source, remote)


def test_a_folder_is_not_overwritten_by_a_file(phone: AdbPhone, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"new")
    phone.run(f"mkdir {FOLDER}/folder", timeout_s=10)
    with pytest.raises(PushFailed, match="is a folder"):
        phone.push(source, f"{FOLDER}/folder")
    assert phone.run(f"ls -A {FOLDER} {FOLDER}/folder", timeout_s=10).stdout.count(b"\n") == 4


def test_what_does_not_arrive_whole_is_refused(
    phone: AdbPhone, stand_in: StandInPhone, tmp_path: Path
) -> None:
    """A phone whose storage returns other bytes than were written."""
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    liar = stand_in.state / "bin" / "sha256sum"
    liar.write_text("#!/system/bin/sh\necho 0000 -\n")
    liar.chmod(0o755)
    try:
        with pytest.raises(PushFailed, match="arrived as 7 0000"):
            phone.push(source, f"{FOLDER}/x")
    finally:
        liar.unlink()
    assert phone.run(f"ls -A {FOLDER}", timeout_s=10).stdout == b""


def test_a_phone_without_sha256sum_is_read_back(
    phone: AdbPhone, stand_in: StandInPhone, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(6).randbytes(300_000))
    missing = stand_in.state / "bin" / "sha256sum"
    missing.write_text("#!/system/bin/sh\nexit 127\n")
    missing.chmod(0o755)
    try:
        phone.push(source, f"{FOLDER}/x")
    finally:
        missing.unlink()
    phone.pull(f"{FOLDER}/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_failed_pull_leaves_the_local_file_alone(phone: AdbPhone, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"old")
    with pytest.raises(PullFailed, match="No such file"):
        phone.pull("/nowhere", local)
    with pytest.raises(PullFailed, match="Permission denied"):
        phone.pull("/data/vault", local)
    assert local.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [local]


def test_an_endless_file_does_not_fill_this_disk(
    stand_in: StandInPhone, key_directory: Path, tmp_path: Path
) -> None:
    route = TcpRoute(host=stand_in.host, key_directory=key_directory)
    small = AdbPhone(route, max_pull_bytes=1_000_000)
    with pytest.raises(OutputTooLarge, match="1000000 bytes"):
        small.pull("/dev/zero", tmp_path / "zero")
    small.close()
    assert list(tmp_path.iterdir()) == []


def test_removing_takes_whole_folders_and_forgives_what_is_not_there(phone: AdbPhone) -> None:
    phone.run(f"mkdir -p {FOLDER}/a/b; touch {FOLDER}/a/b/c", timeout_s=10)
    phone.remove(f"{FOLDER}/a")
    phone.remove(f"{FOLDER}/a")
    assert phone.run(f"ls -A {FOLDER}", timeout_s=10).stdout == b""
    with pytest.raises(CommandFailed, match="Read-only"):
        phone.remove("/system/bin/sh")


@pytest.mark.parametrize("path", ["", "/", "//", "/.", "relative", "/data/../"])
def test_nothing_vague_is_removed(phone: AdbPhone, path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        phone.remove(path)
