"""adbutils, a client of adb servers that shares no code with ours, must see the same phone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone, AdbServer, ServerRoute
from device_farm.errors import PullFailed, PushFailed

adbutils = pytest.importorskip("adbutils")

pytestmark = pytest.mark.phone
FOLDER = "/data/local/tmp"


@pytest.fixture
def served(adb_server: AdbServer, server_serial: str) -> AdbPhone:
    return AdbPhone(ServerRoute(serial=server_serial, server=adb_server))


@pytest.fixture
def client(adb_server: AdbServer) -> Any:
    return adbutils.AdbClient(host=adb_server.host, port=adb_server.port, socket_timeout=20)


@pytest.fixture
def theirs(client: Any, server_serial: str) -> Any:
    return client.device(server_serial)


def test_both_list_the_same_phones(client: Any, adb_server: AdbServer, server_serial: str) -> None:
    ours = {(device.serial, device.state) for device in adb_server.devices(5)}
    assert {(info.serial, info.state) for info in client.list()} == ours
    assert (server_serial, "device") in ours


@pytest.mark.parametrize(
    "command",
    [
        "echo out; echo err >&2; exit 7",
        "exit 255",
        "kill -11 $$",
        "printf 'no newline'",
        "printf '\\303\\244\\n' | cat",
        "cat",
        "seq 50000",
        "nowhere",
        "if then",
        "getprop",
        "dumpsys battery",
    ],
)
def test_both_get_the_same_from_a_command(
    phone: AdbPhone, served: AdbPhone, theirs: Any, command: str
) -> None:
    result = theirs.shell2(f"({command}) </dev/null" if command == "cat" else command, v2=True)
    for ours in (phone.run(command, timeout_s=20), served.run(command, timeout_s=20)):
        assert ours.text == result.stdout
        assert ours.exit_code == result.returncode
        assert _without_line(ours.stderr.decode()) == _without_line(result.stderr)


def _without_line(message: str) -> str:
    """A shell's message without its own name, which depends on how it was called."""
    return message.rpartition(": ")[2]


def test_files_go_one_way_with_ours_and_back_with_theirs(
    phone: AdbPhone, served: AdbPhone, theirs: Any, tmp_path: Path
) -> None:
    data = random.Random(6).randbytes(5_000_003)
    source = tmp_path / "source"
    source.write_bytes(data)
    for name, ours in (("tcp", phone), ("it's;here ä", served)):
        ours.push(source, f"{FOLDER}/{name}")
        assert theirs.sync.read_bytes(f"{FOLDER}/{name}") == data
        assert theirs.sync.stat(f"{FOLDER}/{name}").size == len(data)
    theirs.sync.push(source, f"{FOLDER}/theirs")
    for ours in (phone, served):
        ours.pull(f"{FOLDER}/theirs", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data


def test_what_fails_with_theirs_fails_with_ours(
    served: AdbPhone, theirs: Any, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(1000))
    with pytest.raises(adbutils.AdbError):
        theirs.sync.push(source, "/data/x")
    with pytest.raises(PushFailed):
        served.push(source, "/data/x")
    with pytest.raises(adbutils.AdbError):
        theirs.sync.read_bytes("/nowhere")
    with pytest.raises(PullFailed):
        served.pull("/nowhere", tmp_path / "x")


def test_what_ours_removed_is_gone_for_theirs(
    served: AdbPhone, theirs: Any, stand_in: StandInPhone
) -> None:
    theirs.sync.push(b"x", f"{FOLDER}/a b")
    assert theirs.sync.exists(f"{FOLDER}/a b")
    served.remove(f"{FOLDER}/a b")
    assert not theirs.sync.exists(f"{FOLDER}/a b")
