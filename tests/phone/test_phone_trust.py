from __future__ import annotations

import time
from pathlib import Path

import pytest
from rig_front import Front
from rig_image import Adb
from rig_phone import PORT, StandInPhone

from device_farm.adb import AdbPhone, AdbServer, ServerRoute
from device_farm.adb.keys import AdbKey
from device_farm.errors import ConnectionLost, DeviceUnauthorized

pytestmark = pytest.mark.phone


def test_an_accepted_key_is_remembered(
    stand_in: StandInPhone, key_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Front((stand_in.host, PORT), security="rsa") as front:
        phone = AdbPhone(front.route(key_directory))
        for _ in range(3):
            assert phone.run("echo in", timeout_s=10).text == "in\n"
            phone.close()
    assert front.prompts == 1
    assert [record.message for record in caplog.records if "Allow USB debugging" in record.message]


def test_an_ignored_prompt_ends_with_what_to_do(
    stand_in: StandInPhone, key_directory: Path
) -> None:
    with Front((stand_in.host, PORT), security="rsa", prompt="ignore") as front:
        phone = AdbPhone(front.route(key_directory, auth_timeout_s=1.0))
        start = time.monotonic()
        with pytest.raises(DeviceUnauthorized, match="accept 'Allow USB debugging'"):
            phone.run("true", timeout_s=10)
        assert 1.0 <= time.monotonic() - start < 2.0
        front.prompt = "accept"
        assert phone.run("echo in", timeout_s=10).text == "in\n"
        phone.close()


def test_a_denied_prompt_ends_at_once(stand_in: StandInPhone, key_directory: Path) -> None:
    with Front((stand_in.host, PORT), security="rsa", prompt="deny") as front:
        start = time.monotonic()
        with pytest.raises(DeviceUnauthorized, match="did not accept"):
            AdbPhone(front.route(key_directory)).run("true", timeout_s=10)
        assert time.monotonic() - start < 1.0


def certificate_of(key_directory: Path) -> str:
    """What a phone learns of this machine when they are paired."""
    pem = AdbKey(key_directory).certificate_pem().decode()
    return pem[: pem.index("-----BEGIN PRIVATE")]


def test_a_paired_phone_is_reached_over_tls(
    stand_in: StandInPhone, key_directory: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 20_000)
    with Front((stand_in.host, PORT), security="tls") as front:
        phone = AdbPhone(front.route(key_directory))
        with pytest.raises(DeviceUnauthorized, match="adb pair"):
            phone.run("true", timeout_s=10)
        front.paired.append(certificate_of(key_directory))
        assert phone.run("echo in; exit 5", timeout_s=10).exit_code == 5
        phone.push(source, "/data/local/tmp/x")
        phone.pull("/data/local/tmp/x", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        front.drop()
        with pytest.raises(ConnectionLost):
            phone.run("true", timeout_s=10)
        assert phone.run("echo back", timeout_s=10).text == "back\n"
        phone.close()


def test_a_key_accepted_from_adb_is_ours_too(
    stand_in: StandInPhone, adb: Adb, adb_server: AdbServer, server_home: Path
) -> None:
    with Front((stand_in.host, PORT), security="rsa") as front:
        serial = f"{front.host}:{front.port}"
        adb("connect", serial)
        adb("-s", serial, "wait-for-device")
        assert front.prompts == 1
        phone = AdbPhone(front.route(server_home / ".android"))
        assert phone.run("echo in", timeout_s=10).text == "in\n"
        assert front.prompts == 1
        phone.close()
        adb("disconnect", serial)


def test_the_adb_server_too_says_unauthorized(
    stand_in: StandInPhone, adb: Adb, adb_server: AdbServer
) -> None:
    with Front((stand_in.host, PORT), security="rsa", prompt="ignore") as front:
        serial = f"{front.host}:{front.port}"
        adb("connect", serial)
        route = ServerRoute(serial=serial, server=adb_server)
        with pytest.raises(DeviceUnauthorized, match="accept 'Allow USB debugging'"):
            AdbPhone(route).run("true", timeout_s=10)
        states = {device.serial: device.state for device in adb_server.devices(5)}
        assert states[serial] == "unauthorized"
        adb("disconnect", serial)
