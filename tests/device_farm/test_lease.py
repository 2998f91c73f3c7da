from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device_farm.errors import DeviceBusy, DeviceLeased, LeaseUnusable
from device_farm.lease import Lease, holder_of, lease, lease_folder

HOSTILE = ["a;reboot", "../../etc/passwd", "\x1b[2J", "x" * 5000, "", "a\0b", "\udcff"]
HOLD = """
import subprocess, sys, time
from device_farm.lease import lease
sys.argv = ["/opt/bin/pocketnas", "profile", "--device", "X"]
with lease("PHONE"):
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))
    return tmp_path / "leases"


@contextmanager
def other_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds PHONE, and the number of a child of it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process, child
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_second_process_learns_who_holds_the_phone() -> None:
    with other_process() as (process, _):
        with pytest.raises(DeviceLeased) as caught, lease("PHONE"):
            pass
        assert isinstance(caught.value, DeviceBusy)
        assert f"PHONE: in use by pid {process.pid}, pocketnas profile, since " in str(
            caught.value
        )
        assert "--device" not in str(caught.value)
        assert caught.value.holder_pids == {process.pid}
        holder = holder_of("PHONE")
        assert holder is not None
        assert abs(holder.since - time.time()) < 60


def test_the_lease_of_a_killed_process_is_free_though_its_child_lives() -> None:
    with other_process() as (process, child):
        process.kill()
        process.wait()
        os.kill(child, 0)
        assert holder_of("PHONE") is None
        with lease("PHONE"):
            holder = holder_of("PHONE")
            assert holder is not None
            assert holder.pid == os.getpid()


def test_two_holders_in_one_process_exclude_each_other() -> None:
    with lease("PHONE"):
        with pytest.raises(DeviceLeased, match=f"pid {os.getpid()}"), lease("PHONE"):
            pass
        with lease("OTHER"):
            pass
    assert holder_of("PHONE") is None
    with lease("PHONE"):
        pass


def test_a_lease_is_waited_for_as_long_as_the_caller_wants() -> None:
    first = Lease("PHONE")
    first.take()
    threading.Timer(0.6, first.release).start()
    start = time.monotonic()
    with lease("PHONE", wait_s=20):
        assert 0.5 < time.monotonic() - start < 5


def test_a_cancelled_wait_ends_at_once() -> None:
    cancelled = threading.Event()
    threading.Timer(0.4, cancelled.set).start()
    start = time.monotonic()
    with lease("PHONE"), pytest.raises(DeviceLeased):
        Lease("PHONE").take(60, cancelled)
    assert time.monotonic() - start < 5


def test_looking_at_a_lease_disturbs_nobody_who_takes_it() -> None:
    end = time.monotonic() + 1

    def look() -> None:
        while time.monotonic() < end:
            holder_of("PHONE")

    looker = threading.Thread(target=look)
    looker.start()
    while time.monotonic() < end:
        with lease("PHONE"):
            pass
    looker.join()


@pytest.mark.parametrize("key", HOSTILE)
def test_any_serial_is_only_a_key(key: str, folder: Path) -> None:
    with lease(key):
        holder = holder_of(key)
        assert holder is not None
        assert holder.pid == os.getpid()
        with pytest.raises(DeviceLeased) as caught, lease(key):
            pass
        assert str(caught.value).isprintable()
        (path,) = folder.parent.rglob("*.lock")
        assert path.parent == folder
    assert holder_of(key) is None


def test_an_unreadable_note_still_locks(folder: Path) -> None:
    with lease("PHONE"):
        (path,) = folder.iterdir()
        for note in ("garbage", "[]", '{"pid": "x"}', '{"pid": 1, "command": 2}'):
            path.write_text(note)
            with pytest.raises(DeviceLeased, match="in use by another process"), lease("PHONE"):
                pass


def test_what_a_holder_calls_itself_is_escaped(folder: Path) -> None:
    with lease("PHONE"):
        (path,) = folder.iterdir()
        path.write_text('{"pid": 7, "command": "a\\u001b[2J", "since": 0}')
        assert str(holder_of("PHONE")).startswith(r"pid 7, a\x1b[2J, since 19")


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(LeaseUnusable, match=r"file/leases.*POCKETNAS_CACHE"), lease("PHONE"):
        pass


def test_the_folder_is_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", "/x")
    assert lease_folder() == Path("/x/leases")
    monkeypatch.setenv("POCKETNAS_CACHE", "")
    assert lease_folder() == Path.home() / ".cache/pocketnas/leases"
