from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from rig_image import Adb
from rig_phone import StandInPhone

from device_farm.adb import AdbPhone, AdbServer, ServerRoute
from device_farm.errors import (
    AdbServerUnreachable,
    CommandTimeout,
    DeviceNotFound,
    NoSpace,
    OutputTooLarge,
    PullFailed,
    PushFailed,
)

pytestmark = pytest.mark.phone
FOLDER = "/data/local/tmp"


@pytest.fixture
def served(adb_server: AdbServer, server_serial: str) -> AdbPhone:
    return AdbPhone(ServerRoute(serial=server_serial, server=adb_server))


@pytest.mark.parametrize(
    "command",
    [
        "echo out; echo err >&2; exit 7",
        "kill -11 $$",
        "kill -9 $$",
        "cat",
        "seq 100000",
        "if then",
    ],
)
def test_the_server_route_gives_what_the_tcp_route_gives(
    served: AdbPhone, phone: AdbPhone, command: str
) -> None:
    assert served.run(command, timeout_s=20) == phone.run(command, timeout_s=20)


def test_files_through_the_server_arrive_unchanged(
    served: AdbPhone, phone: AdbPhone, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(4).randbytes(20_000_000))
    served.push(source, f"{FOLDER}/it's;here")
    phone.pull(f"{FOLDER}/it's;here", tmp_path / "direct")
    served.pull(f"{FOLDER}/it's;here", tmp_path / "served")
    assert (tmp_path / "direct").read_bytes() == source.read_bytes()
    assert (tmp_path / "served").read_bytes() == source.read_bytes()


def test_failures_through_the_server_are_the_same(
    served: AdbPhone, stand_in: StandInPhone, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(20_000_000))
    with pytest.raises(PushFailed, match="Permission denied"):
        served.push(source, "/data/x")
    with pytest.raises(PullFailed, match="No such file"):
        served.pull("/nowhere", tmp_path / "x")
    served.run(f"head -c 55000000 /dev/zero > {FOLDER}/fill", timeout_s=30)
    with pytest.raises(NoSpace):
        served.push(source, f"{FOLDER}/x")
    with pytest.raises(CommandTimeout):
        served.run("sleep 77 | cat", timeout_s=1)
    with pytest.raises(OutputTooLarge):
        served.run("cat /dev/zero", timeout_s=60)
    assert stand_in.commands() == []


def test_debians_adb_agrees(adb: Adb, server_serial: str, phone: AdbPhone, tmp_path: Path) -> None:
    theirs = adb("-s", server_serial, "shell", "echo out; echo err >&2; exit 7")
    ours = phone.run("echo out; echo err >&2; exit 7", timeout_s=10)
    assert (theirs.stdout, theirs.stderr, theirs.returncode) == (
        ours.stdout,
        ours.stderr,
        ours.exit_code,
    )
    source = tmp_path / "source"
    source.write_bytes(random.Random(5).randbytes(3_000_000))
    phone.push(source, f"{FOLDER}/ours")
    adb("-s", server_serial, "pull", f"{FOLDER}/ours", str(tmp_path / "theirs"))
    assert (tmp_path / "theirs").read_bytes() == source.read_bytes()
    adb("-s", server_serial, "push", str(source), f"{FOLDER}/theirs")
    digest = phone.run(f"sha256sum {FOLDER}/theirs", timeout_s=10).text.split()[0]
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_server_that_has_forgotten_a_phone_in_the_network_is_told_it_again(
    adb_server: AdbServer,
) -> None:
    route = ServerRoute(serial="10.98.251.2:5555", server=adb_server)
    with pytest.raises(DeviceNotFound, match=r"not found; .*`adb connect 10\.98\.251\.2:5555`"):
        AdbPhone(route).run("true", timeout_s=10)


@pytest.mark.parametrize("serial", ["nobody", "a;reboot", "$(id)", "../..", "\x1b[2J", "x" * 300])
def test_an_odd_serial_is_only_not_found(adb_server: AdbServer, serial: str) -> None:
    with pytest.raises(DeviceNotFound) as caught:
        AdbPhone(ServerRoute(serial=serial, server=adb_server)).run("true", timeout_s=10)
    assert "\x1b" not in str(caught.value)


def test_the_server_lists_the_phone(adb_server: AdbServer, server_serial: str) -> None:
    states = {device.serial: device.state for device in adb_server.devices(5)}
    assert states[server_serial] == "device"


def test_a_missing_server_says_how_to_start_it(server_serial: str) -> None:
    route = ServerRoute(serial=server_serial, server=AdbServer(port=1))
    with pytest.raises(AdbServerUnreachable, match=r"127\.0\.0\.1:1.*adb start-server"):
        AdbPhone(route).run("true", timeout_s=10)
