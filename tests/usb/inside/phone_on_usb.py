"""Our own USB route against a real libusb, a real kernel and a real adbd; runs in the guest."""

from __future__ import annotations

import grp
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from adb_shell import constants
from adb_shell.adb_message import AdbMessage
from conftest import NO_SERVER
from rig_gadget import UsbPhone
from rig_image import adb_command, require_image

from device_farm.adb import AdbPhone, UsbRoute
from device_farm.adb.usb import list_usb_phones
from device_farm.adb.usb_transport import PatientUsbTransport
from device_farm.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceBusy,
    DeviceNotFound,
    DevicePermissionDenied,
    DeviceUnreachable,
)

NOBODY = 65534
MAX_PACKET = 512  # of a bulk endpoint at high speed
MIB = 1 << 20
SOON_S = 5.0  # in an emulated machine, on a busy host; 0.05 s are usual there


@pytest.fixture
def megabytes(tmp_path: Path) -> Path:
    path = tmp_path / "megabytes"
    path.write_bytes(os.urandom(4 * MIB))
    return path


def test_the_serial_chooses_among_two_phones(
    phone: AdbPhone, other: UsbPhone, stand_in: UsbPhone, key_directory: Path
) -> None:
    assert phone.run("hostname", timeout_s=20).text == f"{stand_in.name}\n"
    beside = AdbPhone(UsbRoute(serial=other.serial, key_directory=key_directory))
    assert beside.run("hostname", timeout_s=20).text == f"{other.name}\n"
    beside.close()


def test_an_absent_serial_is_not_found(stand_in: UsbPhone, key_directory: Path) -> None:
    with pytest.raises(DeviceNotFound, match="ABSENT: no such phone on USB"):
        UsbRoute(serial="ABSENT", key_directory=key_directory).connect(5)


def test_streams_and_exit_code_are_kept(phone: AdbPhone) -> None:
    result = phone.run("echo out; echo err >&2; exit 7", timeout_s=20)
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 7)
    assert phone.run("kill -9 $$", timeout_s=20).exit_code == 137


def test_output_that_just_fills_usb_packets_is_complete(phone: AdbPhone) -> None:
    for size in (MAX_PACKET, 64 << 10):
        for length in (size - 5, size, size + 1):  # a frame of shell v2 has 5 more
            output = phone.run(f"head -c {length} /dev/zero", timeout_s=20).stdout
            assert output == bytes(length)


@pytest.mark.parametrize("size", [MAX_PACKET, 2 * MAX_PACKET])
def test_a_packet_that_just_fills_usb_packets_arrives(route: UsbRoute, size: int) -> None:
    deadline = time.monotonic() + 20
    link = route.connect(20)
    stream = link.open(b"exec:echo in ".ljust(size - len(b"\0"), b"#"), deadline)
    assert stream.read(deadline) == b"in\n"
    stream.close()
    link.close()


def test_output_of_many_packets_is_complete(phone: AdbPhone) -> None:
    expected = b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert phone.run("seq 100000", timeout_s=60).stdout == expected


@pytest.mark.parametrize("size", [0, MAX_PACKET, 2 * MIB + 1])
def test_a_file_comes_back_unchanged(phone: AdbPhone, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    phone.push(source, "/data/local/tmp/file")  # compares the phone's SHA-256
    phone.pull("/data/local/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_one_cable_serves_several_threads(phone: AdbPhone) -> None:
    with ThreadPoolExecutor(1) as pool:
        wait = "until rm /data/local/tmp/go 2>/dev/null; do sleep 0.1; done; echo went"
        waiting = pool.submit(phone.run, wait, timeout_s=60)
        phone.run("touch /data/local/tmp/go", timeout_s=20)
        assert waiting.result(timeout=60).text == "went\n"


def test_a_hung_command_is_killed_and_the_cable_stays(phone: AdbPhone, stand_in: UsbPhone) -> None:
    phone.run("true", timeout_s=20)
    with pytest.raises(CommandTimeout):
        phone.run("sleep 77 | cat", timeout_s=6)  # a shell may take seconds to start here
    assert stand_in.commands() == []
    assert phone.run("echo alive", timeout_s=20).text == "alive\n"


def test_a_second_claimant_is_told_that_the_phone_is_busy(
    phone: AdbPhone, route: UsbRoute
) -> None:
    phone.run("true", timeout_s=20)
    second = AdbPhone(route)
    with pytest.raises(DeviceBusy, match="another program holds the USB interface"):
        second.run("true", timeout_s=20)
    assert phone.run("echo first", timeout_s=20).text == "first\n"
    phone.close()
    assert second.run("echo second", timeout_s=20).text == "second\n"
    second.close()


def test_connecting_again_and_again_works_and_leaks_nothing(
    phone: AdbPhone, route: UsbRoute
) -> None:
    def open_files() -> Counter[str]:
        """What is open, without what was closed meanwhile: this very listing, say."""
        targets: Counter[str] = Counter()
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                targets[str(link.readlink())] += 1
        return targets

    phone.run("true", timeout_s=20)
    before = open_files()
    for number in range(2):
        with pytest.raises(DeviceBusy):
            AdbPhone(route).run("true", timeout_s=20)
        phone.close()
        assert phone.run(f"exit {number}", timeout_s=20).exit_code == number
    deadline = time.monotonic() + SOON_S
    while not open_files() <= before:  # libusb's own thread opens files for a moment
        assert time.monotonic() < deadline, open_files() - before
        time.sleep(0.05)


VICTIM = """
import sys
from pathlib import Path
from device_farm.adb import AdbPhone, UsbRoute
phone = AdbPhone(UsbRoute(serial=sys.argv[1], key_directory=Path(sys.argv[2])))
phone.run("true", timeout_s=20)
print("busy", flush=True)
"""


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("phone.run('cat /dev/zero', timeout_s=60)", id="reading"),
        pytest.param("phone.push(Path(sys.argv[3]), '/data/local/tmp/x')", id="writing"),
    ],
)
def test_a_killed_program_leaves_a_phone_that_answers(
    phone: AdbPhone, stand_in: UsbPhone, key_directory: Path, megabytes: Path, deed: str
) -> None:
    arguments = [stand_in.serial, str(key_directory), str(megabytes)]
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM + deed, *arguments], stdout=subprocess.PIPE
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"busy\n"
        time.sleep(0.3)
        assert victim.poll() is None
        victim.kill()
    assert phone.run("echo alive", timeout_s=20).text == "alive\n"


def test_a_phone_that_waits_for_the_rest_of_a_packet_is_reset(
    phone: AdbPhone, stand_in: UsbPhone, caplog: pytest.LogCaptureFixture
) -> None:
    (transport,) = (
        transport
        for transport in PatientUsbTransport.find_all_adb_devices()
        if transport.serial_number == stand_in.serial
    )
    transport.connect(20)
    cut = AdbMessage(constants.WRTE, 1, 1, bytes(MAX_PACKET))
    transport.bulk_write(cut.pack(), 20)
    transport.close()
    assert phone.run("echo alive", timeout_s=20).text == "alive\n"
    assert "WANTED does not answer; resetting its USB" in caplog.text


def test_a_program_may_end_with_the_phone_open(
    phone: AdbPhone, stand_in: UsbPhone, key_directory: Path
) -> None:
    forgetful = subprocess.run(
        [sys.executable, "-c", VICTIM, stand_in.serial, str(key_directory)], capture_output=True
    )
    assert (forgetful.returncode, forgetful.stderr) == (0, b"")
    assert phone.run("echo alive", timeout_s=20).text == "alive\n"


def test_a_phone_that_the_adb_server_holds_is_reached_through_it(
    stand_in: UsbPhone,
    key_directory: Path,
    adb_server: subprocess.Popen[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    phone = AdbPhone(UsbRoute(serial=stand_in.serial, key_directory=key_directory))
    with caplog.at_level(logging.INFO, "device_farm"):
        result = phone.run("hostname; exit 9", timeout_s=20)
    assert (result.text, result.exit_code) == (f"{stand_in.name}\n", 9)
    assert "USB is held by the adb server 127.0.0.1:5037; using it" in caplog.text
    adb = subprocess.run([*adb_command(require_image()), "devices", "-l"], capture_output=True)
    for found in list_usb_phones():  # which ours names as adb does
        (line,) = (line for line in adb.stdout.decode().splitlines() if found.serial in line)
        assert f" {found.port} " in line
    adb_server.kill()
    adb_server.wait()
    with pytest.raises(DeviceUnreachable):
        phone.run("true", timeout_s=20)
    assert phone.run("echo direct", timeout_s=20).text == "direct\n"
    phone.close()


def test_an_unplugged_phone_is_lost_at_once_and_found_when_back(
    phone: AdbPhone, stand_in: UsbPhone
) -> None:
    phone.run("echo kept > /data/local/tmp/kept", timeout_s=20)
    assert _seconds_to_lose(lambda: phone.run("sleep 77", timeout_s=60), stand_in.unplug) < SOON_S
    with pytest.raises(DeviceNotFound):
        phone.run("true", timeout_s=20)
    deadline = time.monotonic() + 20  # adbd itself ends what ran
    while stand_in.commands() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stand_in.commands() == []
    threading.Timer(1.0, stand_in.plug).start()
    phone.wait_until_reachable(30)
    assert phone.run("cat /data/local/tmp/kept", timeout_s=20).text == "kept\n"


def test_a_cable_pulled_during_a_push_ends_it(
    phone: AdbPhone, stand_in: UsbPhone, megabytes: Path
) -> None:
    phone.run("true", timeout_s=20)

    def push() -> None:
        phone.push(megabytes, "/data/local/tmp/megabytes")

    assert _seconds_to_lose(push, stand_in.unplug, after_s=0.3) < SOON_S
    stand_in.plug()
    push()


def test_a_cable_pulled_during_a_pull_ends_it(
    phone: AdbPhone, stand_in: UsbPhone, tmp_path: Path
) -> None:
    phone.run("head -c 16000000 /dev/zero > /data/local/tmp/zeros", timeout_s=20)

    def pull() -> None:
        phone.pull("/data/local/tmp/zeros", tmp_path / "zeros")

    assert _seconds_to_lose(pull, stand_in.unplug, after_s=0.3) < SOON_S
    assert list(tmp_path.iterdir()) == []
    stand_in.plug()
    pull()
    assert (tmp_path / "zeros").read_bytes() == bytes(16_000_000)


def test_debugging_switched_off_is_a_loss_too(phone: AdbPhone, stand_in: UsbPhone) -> None:
    phone.run("true", timeout_s=20)

    def wait() -> None:
        phone.run("sleep 77", timeout_s=60)

    assert _seconds_to_lose(wait, stand_in.stop_daemon) < SOON_S
    with pytest.raises(DeviceUnreachable):
        phone.run("true", timeout_s=20)
    stand_in.plug()
    assert phone.run("echo back", timeout_s=20).text == "back\n"


def test_without_permission_the_remedy_is_told(
    phone: AdbPhone, other: UsbPhone, stand_in: UsbPhone
) -> None:
    for mode in (0o600, 0o664):  # as the kernel makes it, and as udev leaves it
        stand_in.node().chmod(mode)
        with _user(NOBODY, groups=[]), pytest.raises(DevicePermissionDenied, match="udev rule"):
            phone.run("true", timeout_s=20)
    other.node().chmod(0o600)
    stand_in.node().chmod(0o666)
    with _user(NOBODY, groups=[]), _key_directory() as directory:
        allowed = AdbPhone(
            UsbRoute(serial=stand_in.serial, key_directory=directory, server=NO_SERVER)
        )
        assert allowed.run("echo in", timeout_s=20).text == "in\n"
        allowed.close()


def test_the_told_udev_rule_lets_its_group_in(udev: None, stand_in: UsbPhone) -> None:
    members = [grp.getgrnam("plugdev").gr_gid]
    with _user(NOBODY, groups=members), _key_directory() as directory:
        phone = AdbPhone(
            UsbRoute(serial=stand_in.serial, key_directory=directory, server=NO_SERVER)
        )
        assert phone.run("echo in", timeout_s=20).text == "in\n"
        phone.close()
    with _user(NOBODY, groups=[]), pytest.raises(DevicePermissionDenied):
        phone.run("true", timeout_s=20)


def _seconds_to_lose(
    verb: Callable[[], object], fault: Callable[[], object], after_s: float = 1.0
) -> float:
    """How long a verb takes to raise ConnectionLost after a fault that happens during it."""
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(verb)
        time.sleep(after_s)
        assert not lost.done()
        start = time.monotonic()
        fault()
        assert isinstance(lost.exception(timeout=30), ConnectionLost)
        return time.monotonic() - start


@contextmanager
def _user(uid: int, groups: list[int]) -> Iterator[None]:
    """Have the kernel treat this process as another user's."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@contextmanager
def _key_directory() -> Iterator[Path]:
    """A place for the present user's key."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / ".android"
