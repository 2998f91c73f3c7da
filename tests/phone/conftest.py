"""Fixtures of the phone rig; without root or the image its tests are skipped, with the reason."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the rig's own modules, in any import mode

from rig_front import Front
from rig_image import Adb, RigUnavailable
from rig_phone import PORT, StandInPhone
from rig_server import RigServer

from device_farm.adb import AdbPhone, AdbServer, TcpRoute
from device_farm.adb.keys import AdbKey


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
def rig_server(running_phone: StandInPhone, server_home: Path) -> Iterator[RigServer]:
    with RigServer(server_home) as rig_server:
        yield rig_server


@pytest.fixture(scope="session")
def adb_server(rig_server: RigServer) -> AdbServer:
    """Debian's adb server, apart from any that this machine may run."""
    return rig_server.server


@pytest.fixture
def adb(rig_server: RigServer) -> Adb:
    """Debian's adb client: `adb("shell", "id")`."""
    return rig_server.call


@pytest.fixture
def server_serial(stand_in: StandInPhone, adb: Adb) -> str:
    """The phone's name in the adb server, which is connected to it."""
    assert b"connected" in adb("connect", stand_in.serial).stdout
    return stand_in.serial
