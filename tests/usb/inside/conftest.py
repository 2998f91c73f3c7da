"""Fixtures of the tests in the guest, and how their outcomes get out of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "phone"))  # where the phone's image is made

from rig_gadget import UsbPhone
from rig_image import adb_command, require_image

from device_farm.adb import AdbPhone, AdbServer, UsbRoute
from device_farm.adb.keys import AdbKey
from device_farm.errors import DevicePermissionDenied, DeviceUnreachable

REPORT = Path("/run/share/report")
NO_SERVER = AdbServer(port=1)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell each outcome as soon as it is known: the guest may not live to the end."""
    line = {
        "test": report.nodeid.rpartition("::")[2],
        "phase": report.when,
        "outcome": report.outcome,
        "seconds": round(report.duration, 2),
        "text": report.longreprtext,
    }
    with REPORT.open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.fixture(scope="session")
def both() -> Iterator[tuple[UsbPhone, UsbPhone]]:
    """Two phones on USB; the second is the wanted one."""
    phones = UsbPhone("OTHER", 0), UsbPhone("WANTED", 1)
    for phone in phones:
        phone.plug()
    yield phones
    for phone in phones:
        phone.power_off()


@pytest.fixture(scope="session")
def other(both: tuple[UsbPhone, UsbPhone]) -> UsbPhone:
    return both[0]


@pytest.fixture
def stand_in(
    both: tuple[UsbPhone, UsbPhone], request: pytest.FixtureRequest
) -> Iterator[UsbPhone]:
    """The wanted phone; a test that leaves a process on it fails.

    After a failed test both phones start anew, so that the next ones meet no broken phone.
    """
    failed_before = request.session.testsfailed
    yield both[1]
    deadline = time.monotonic() + 10
    while (leftover := both[1].commands()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if leftover or request.session.testsfailed > failed_before:
        for phone in both:
            phone.stop_daemon()
            phone.plug()
    assert not leftover, f"processes left on the phone: {leftover}"


@pytest.fixture(scope="session")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("home") / ".android"
    AdbKey(directory)
    return directory


@pytest.fixture
def route(stand_in: UsbPhone, key_directory: Path) -> UsbRoute:
    return UsbRoute(serial=stand_in.serial, key_directory=key_directory, server=NO_SERVER)


@pytest.fixture
def phone(route: UsbRoute) -> Iterator[AdbPhone]:
    phone = AdbPhone(route)
    yield phone
    phone.close()


@pytest.fixture
def adb_server(stand_in: UsbPhone) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's adb server, which holds every phone on USB."""
    process = subprocess.Popen(
        [*adb_command(require_image()), "nodaemon", "server"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            states = {device.serial: device.state for device in AdbServer().devices(5)}
        except DeviceUnreachable:
            states = {}
        if states.get(stand_in.serial) == "device":
            break
        time.sleep(0.1)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def udev(stand_in: UsbPhone) -> Iterator[None]:
    """The real udev, with the rule that our own message tells users to add."""
    rule = re.search(r'SUBSYSTEM==.*GROUP="plugdev"', DevicePermissionDenied.default_remedy)
    assert rule is not None
    Path("/etc/udev/rules.d/60-phones.rules").write_text(rule[0] + "\n")
    process = subprocess.Popen(["/lib/systemd/systemd-udevd"])
    deadline = time.monotonic() + 20
    while not Path("/run/udev/control").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    stand_in.unplug()
    stand_in.plug()
    subprocess.run(["udevadm", "settle", "--timeout=20"], check=True)
    yield
    process.terminate()
    process.wait()
    os.chown(stand_in.node(), 0, 0)
