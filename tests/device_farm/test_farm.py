from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from device_farm.errors import DeviceNotFound, DeviceUnreachable
from device_farm.farm import Farm, Job, JobEvent, LeasedPhone, work
from device_farm.task import start


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither leases nor cables of this machine."""
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "usb1", None)
    for name in ("adb_shell.transport.usb_transport", "device_farm.adb.usb_transport"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(servers=(), key_directory=tmp_path / ".android")


def nothing(leased: LeasedPhone) -> None:
    raise AssertionError("no phone is there")


@pytest.mark.parametrize("wanted", ["", "R5CT", "model:Pixel 8", "a;b", "\x1b[2J"])
def test_an_empty_farm_has_no_phone_of_any_name(farm: Farm, wanted: str) -> None:
    assert farm.devices() == []
    with pytest.raises(DeviceNotFound, match="no phone is there") as caught, farm.acquire(wanted):
        pass
    assert str(caught.value).isprintable()


def test_an_address_that_is_wanted_is_looked_at(farm: Farm) -> None:
    with (
        pytest.raises(DeviceUnreachable, match=r"127\.0\.0\.1:1: nothing listens"),
        farm.acquire("127.0.0.1:1"),
    ):
        pass


def test_a_farm_with_a_wrong_address_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'::1' is no address"):
        Farm(servers=(), addresses=["::1"])


def test_work_without_phones_tells_why_for_each_job(farm: Farm) -> None:
    events: list[JobEvent] = []
    jobs = [Job(name=name, wanted=name, do=nothing) for name in ("A", "B")]
    outcomes = work(farm, jobs, events.append)
    assert [type(outcomes[name].error) for name in "AB"] == [DeviceNotFound] * 2
    assert [(event.kind, event.serial) for event in events] == [("failed", "")] * 2
    assert work(farm, []) == {}


def test_a_task_gives_what_its_call_returned_or_raised() -> None:
    assert start(lambda: 7).result(5) == 7
    assert isinstance(start(lambda: 1 // 0).exception(5), ZeroDivisionError)
    assert start(lambda: threading.current_thread().daemon).result(5)


def test_a_task_does_not_keep_a_process_alive() -> None:
    code = "import time; from device_farm.task import start; start(lambda: time.sleep(60))"
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)
