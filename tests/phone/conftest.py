"""Fixtures of the phone rig; without root or the image its tests are skipped, with the reason."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the rig's own modules, in any import mode

from rig_front import Front
from rig_image import Adb, RigUnavailable, adb_command, require_image
from rig_phone import DIES_WITH_US, PORT, StandInPhone

from device_farm.adb import AdbPhone, AdbServer, TcpRoute
from device_farm.adb.keys import AdbKey
from device_farm.errors import DeviceUnreachable


@pytest.fixture(scope="session")
def running_phone() -> Iterator[StandInPhone]:
    try:
        phone = StandInPhone()
    except RigUnavailable as reason:
        pytest.skip(str(reason))
    with phone:
        yield phone


@pytest.fixture
def stand_in(running_phone: StandInPhone) -> Iterator[StandInPhone]:
    """A running phone with an empty disk; a test that leaves a process on it fails."""
    yield running_phone
    deadline = time.monotonic() + 3
    while leftover := running_phone.commands():
        if time.monotonic() > deadline:
            running_phone.restart()
            pytest.fail(f"processes left on the phone: {leftover}")
        time.sleep(0.05)
    running_phone.empty_disk()


@pytest.fixture(scope="session")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of the user's own `~/.android`."""
    directory = tmp_path_factory.mktemp("home") / ".android"
    AdbKey(directory)  # making one takes longer than some tests allow
    return directory


@pytest.fixture
def phone(stand_in: StandInPhone, key_directory: Path) -> Iterator[AdbPhone]:
    phone = AdbPhone(TcpRoute(host=stand_in.host, key_directory=key_directory))
    yield phone
    phone.close()


@pytest.fixture
def front(stand_in: StandInPhone) -> Iterator[Front]:
    with Front((stand_in.host, PORT)) as front:
        yield front


@pytest.fixture
def fronted(front: Front, key_directory: Path) -> Iterator[AdbPhone]:
    phone = AdbPhone(front.route(key_directory))
    yield phone
    phone.close()


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adb-home")


@pytest.fixture(scope="session")
def adb_server(running_phone: StandInPhone, server_home: Path) -> Iterator[AdbServer]:
    """Debian's adb server, apart from any that this machine may run."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = AdbServer(port=free.getsockname()[1])
    adb = [*adb_command(require_image()), "-P", str(server.port)]
    command = [*DIES_WITH_US, *adb, "nodaemon", "server"]
    environment = {"HOME": str(server_home), "PATH": os.defpath}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            server.devices(1)
            break
        except DeviceUnreachable:
            time.sleep(0.05)
    yield server
    process.kill()
    process.wait()


@pytest.fixture
def adb(adb_server: AdbServer, server_home: Path) -> Adb:
    """Debian's adb client: `adb("shell", "id")`."""

    def call(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*adb_command(require_image()), "-P", str(adb_server.port), *arguments],
            env={"HOME": str(server_home), "PATH": os.defpath},
            capture_output=True,
            timeout=30,
            check=False,
        )

    return call


@pytest.fixture
def server_serial(stand_in: StandInPhone, adb: Adb) -> str:
    """The phone's name in the adb server, which is connected to it."""
    assert b"connected" in adb("connect", stand_in.serial).stdout
    return stand_in.serial
