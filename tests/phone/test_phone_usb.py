from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig_phone import PORT, StandInPhone
from rig_usb import Cable, usb1_module

from device_farm.adb import AdbPhone, AdbServer, UsbRoute
from device_farm.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceBusy,
    DeviceNotFound,
    DeviceOffline,
    DevicePermissionDenied,
)

pytestmark = pytest.mark.phone
NO_SERVER = AdbServer(port=1)


@pytest.fixture
def cables(stand_in: StandInPhone, monkeypatch: pytest.MonkeyPatch) -> list[Cable]:
    """Two phones on USB; the second is the wanted one."""
    address = (stand_in.host, PORT)
    cables = [Cable("OTHER", address), Cable("WANTED", address)]
    monkeypatch.setitem(sys.modules, "usb1", usb1_module(cables))
    for name in ("adb_shell.transport.usb_transport", "device_farm.adb.usb_transport"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return cables


@pytest.fixture
def route(cables: list[Cable], key_directory: Path) -> UsbRoute:
    return UsbRoute(serial="WANTED", key_directory=key_directory, server=NO_SERVER)


@pytest.fixture
def cabled(route: UsbRoute) -> Iterator[AdbPhone]:
    phone = AdbPhone(route)
    yield phone
    phone.close()


def test_only_the_phone_with_the_serial_is_opened(cables: list[Cable], cabled: AdbPhone) -> None:
    result = cabled.run("echo out; echo err >&2; exit 7", timeout_s=10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 7)
    assert [cable.opened for cable in cables] == [0, 1]


def test_files_over_usb_arrive_unchanged(cabled: AdbPhone, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 10_000)
    cabled.push(source, "/data/local/tmp/x")
    cabled.pull("/data/local/tmp/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_transfer_that_times_out_half_way_loses_nothing(
    cables: list[Cable], cabled: AdbPhone
) -> None:
    cables[1].bytes_per_transfer = 7
    assert cabled.run("seq 2000", timeout_s=20).text.split() == [str(n) for n in range(1, 2001)]


def test_one_cable_serves_several_threads(cabled: AdbPhone, stand_in: StandInPhone) -> None:
    with ThreadPoolExecutor(2) as pool:
        silent = pool.submit(cabled.run, "sleep 77", timeout_s=1.5)
        time.sleep(0.2)
        start = time.monotonic()
        assert cabled.run("echo quick", timeout_s=10).text == "quick\n"
        assert time.monotonic() - start < 1.0
        assert isinstance(silent.exception(timeout=5), CommandTimeout)
    assert stand_in.commands() == []


def test_a_cable_is_not_closed_under_a_waiting_thread(
    cables: list[Cable], cabled: AdbPhone
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cabled.run, "sleep 77", timeout_s=60)
        time.sleep(0.5)
        cabled.close()
        assert isinstance(waiting.exception(timeout=5), ConnectionLost)
    assert not cables[1].closed_in_use


def test_an_unknown_serial_is_not_found(cables: list[Cable], key_directory: Path) -> None:
    with pytest.raises(DeviceNotFound, match="ABSENT: no such phone on USB"):
        UsbRoute(serial="ABSENT", key_directory=key_directory).connect(5)
    assert [cable.opened for cable in cables] == [0, 0]


def test_a_missing_udev_rule_is_named(cables: list[Cable], cabled: AdbPhone) -> None:
    cables[1].is_denied = True
    with pytest.raises(DevicePermissionDenied, match="udev rule"):
        cabled.run("true", timeout_s=10)


def test_a_foreign_phone_without_permission_is_no_obstacle(
    cables: list[Cable], cabled: AdbPhone
) -> None:
    cables[0].is_denied = True
    assert cabled.run("echo in", timeout_s=10).text == "in\n"


def test_an_unplugged_phone_comes_back_when_plugged_in(
    cables: list[Cable], cabled: AdbPhone
) -> None:
    cabled.run("true", timeout_s=10)
    cables[1].is_unplugged = True
    with pytest.raises(ConnectionLost, match="unplugged"):
        cabled.run("true", timeout_s=10)
    with pytest.raises(DeviceNotFound):
        cabled.run("true", timeout_s=10)
    cables[1].is_unplugged = False
    assert cabled.run("echo back", timeout_s=10).text == "back\n"


def test_a_mute_phone_is_reset_and_answers_when_back(cables: list[Cable], route: UsbRoute) -> None:
    cables[1].resets_needed = 1
    route.connect(3).close()
    assert [cable.resets for cable in cables] == [0, 1]


def test_a_phone_that_a_reset_does_not_help_is_offline(
    cables: list[Cable], route: UsbRoute
) -> None:
    cables[1].resets_needed = 2
    start = time.monotonic()
    with pytest.raises(DeviceOffline, match="replug it"):
        route.connect(4)
    assert time.monotonic() - start < 6
    assert [cable.resets for cable in cables] == [0, 1]


def test_a_phone_that_leaves_when_greeted_is_awaited(cables: list[Cable], route: UsbRoute) -> None:
    cables[1].leaves_when_greeted = True
    route.connect(5).close()
    assert [cable.resets for cable in cables] == [0, 0]


def test_a_phone_pulled_when_greeted_is_awaited_no_longer_than_allowed(
    cables: list[Cable], route: UsbRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rig_usb.AWAY_S", 2.0)
    cables[1].leaves_when_greeted = True
    start = time.monotonic()
    with pytest.raises(DeviceNotFound):
        route.connect(1)
    assert time.monotonic() - start < 2


def test_a_phone_that_another_program_holds_is_busy(cables: list[Cable], cabled: AdbPhone) -> None:
    cables[1].is_busy = True
    with pytest.raises(DeviceBusy, match="adb kill-server"):
        cabled.run("true", timeout_s=10)


def test_a_phone_that_the_adb_server_holds_is_reached_through_it(
    cables: list[Cable], adb_server: AdbServer, server_serial: str, key_directory: Path
) -> None:
    cables[1].serial = server_serial
    cables[1].is_busy = True
    route = UsbRoute(serial=server_serial, key_directory=key_directory, server=adb_server)
    phone = AdbPhone(route)
    assert phone.run("exit 9", timeout_s=10).exit_code == 9


def test_without_libusb_the_way_out_is_told(
    monkeypatch: pytest.MonkeyPatch, key_directory: Path
) -> None:
    monkeypatch.setitem(sys.modules, "usb1", None)
    monkeypatch.delitem(sys.modules, "device_farm.adb.usb_transport", raising=False)
    monkeypatch.delitem(sys.modules, "adb_shell.transport.usb_transport", raising=False)
    with pytest.raises(DeviceNotFound, match=r"pip install pocketnas\[usb\]"):
        UsbRoute(serial="WANTED", key_directory=key_directory).connect(5)
