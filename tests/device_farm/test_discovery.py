from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from device_farm.adb import AdbServer, ServerRoute, TcpRoute
from device_farm.adb.keys import AdbKey
from device_farm.address import Address, is_host_and_port, parse_address
from device_farm.choice import choose
from device_farm.discovery import FoundDevice, discover
from device_farm.errors import DeviceAmbiguous, DeviceNotFound, DeviceOffline, ServiceRefused
from device_farm.found import merge
from device_farm.info import DeviceInfo
from device_farm.lease import lease

HOSTILE = "a;reboot\x1b[2J"
SMUGGLER = "victim:forward:tcp:9999;tcp"
INFO = DeviceInfo(
    manufacturer="Google",
    model="Pixel 8",
    soc="Tensor G3",
    fingerprint="google/shiba",
    abi="arm64-v8a",
    android="14",
    sdk=34,
    clusters=(),
)


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path))


@pytest.fixture(autouse=True)
def _no_cables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usb1", None)
    for name in ("adb_shell.transport.usb_transport", "device_farm.adb.usb_transport"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture(scope="module")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("home") / ".android"
    AdbKey(directory)
    return directory


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A program that answers each connection to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connected, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=[connected], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def silent(connected: socket.socket) -> None:
    with connected:
        while connected.recv(1 << 16):
            pass


class ScriptedServer:
    """Speaks an adb server's protocol: a list of phones, and all requests it was sent."""

    def __init__(self, phones: str) -> None:
        self.phones = phones
        self.requests: list[str] = []

    def serve(self, connected: socket.socket) -> None:
        with connected, connected.makefile("rwb") as stream:
            while length := stream.read(4):
                request = stream.read(int(length, 16)).decode()
                self.requests.append(request)
                stream.write(b"OKAY")
                answer = {"host:devices": self.phones}.get(request)
                if request.endswith("features"):
                    answer = "cmd"
                if answer is not None:
                    stream.write(b"%04x" % len(answer.encode()) + answer.encode())
                elif not request.startswith("host:transport:"):
                    return  # closes the service at once
                stream.flush()


def row(serial: str, way: str = "tcp", state: str = "ready", **fields: object) -> FoundDevice:
    found = FoundDevice(
        serial=serial, way=way, state=state, remedy="", identity=serial, route=TcpRoute(host="x")
    )
    if state == "ready":
        found = replace(found, info=INFO)
    return replace(found, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("phone", Address("phone", 5555)),
        ("10.0.0.2:37123", Address("10.0.0.2", 37123)),
        ("[fe80::1%wlan0]:5555", Address("fe80::1%wlan0", 5555)),
        ("[::1]", Address("::1", 5555)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text, 5555) == address
    host, port = address
    assert parse_address(TcpRoute(host=host, port=port).serial, 1) == address


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:0", "a:65536", "a:x", "::1", "[::1", "a b", "a;b:1", "a\n:1", "٣:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address: write host:port"):
        parse_address(text, 5555)
    with pytest.raises(ValueError, match="is no address"):
        discover(servers=[], addresses=[text])


def test_only_a_name_with_a_port_is_taken_for_an_address() -> None:
    assert is_host_and_port("10.0.0.2:5555")
    assert is_host_and_port("[::1]:5555")
    for serial in (
        "R5CT",
        "usb:1-4",
        "adb-R5CT._adb-tls-connect._tcp",
        "model:Pixel 8",
        "",
        "::1",
    ):
        assert not is_host_and_port(serial), serial


def test_a_phone_seen_in_two_ways_is_shown_once_in_the_usable_one() -> None:
    cable = row("R5CT", "usb", "busy")
    server = row("R5CT", "adb server 127.0.0.1:5037")
    network = row("10.0.0.2:5555", identity="R5CT")
    (shown,) = merge([cable, server, network])
    assert (shown.way, shown.state, shown.aliases) == ("tcp", "ready", ("R5CT",))
    assert shown.has_name("R5CT")
    assert shown.has_name("10.0.0.2:5555")
    (shown,) = merge([cable, server])
    assert shown.way == "adb server 127.0.0.1:5037"
    (shown,) = merge([row("R5CT", "usb", "ready"), server])
    assert shown.way == "usb"


def test_two_phones_of_one_name_on_two_servers_stay_two() -> None:
    one = row("emulator-5554", "adb server a:5037", identity="A")
    two = row("emulator-5554", "adb server b:5037", identity="B")
    assert len(merge([one, two])) == 2
    with pytest.raises(DeviceAmbiguous, match=r"A \(adb server a:5037\), B"):
        choose([one, two], "emulator-5554")
    assert choose([one, two], "B") == merge([two])


def test_a_name_means_the_way_that_it_names() -> None:
    cable = row("R5CT", "usb")
    network = row("10.0.0.2:5555", identity="R5CT")
    assert [found.way for found in choose([cable, network], "10.0.0.2:5555")] == ["tcp"]
    assert [found.way for found in choose([cable, network], "R5CT")] == ["usb"]
    assert [found.way for found in choose([network], "R5CT")] == ["tcp"]


def test_a_model_means_every_ready_phone_of_it() -> None:
    seen = [row("A"), row("B"), row("C", state="offline"), row("D")]
    seen[3] = replace(seen[3], info=replace(INFO, model="Pixel 8 Pro"))
    assert [found.serial for found in choose(seen, "model:pixel 8")] == ["A", "B"]
    with pytest.raises(DeviceNotFound, match=r"there are: A \(Pixel 8, ready\).*C \(offline\)"):
        choose(seen, "model:Pixel 9")


def test_nothing_asked_for_never_means_the_first() -> None:
    assert choose([row("A")], "") == merge([row("A")])
    with pytest.raises(DeviceAmbiguous, match=r"there are: A .*, B .*; name one of them"):
        choose([row("A"), row("B")], "")
    with pytest.raises(DeviceNotFound, match="no phone is there"):
        choose([], "")
    broken = row("far:5037", "adb server far:5037", "unreachable", route=None)
    assert choose([row("A"), broken], "") == merge([row("A")])


def test_what_a_phone_is_called_cannot_act_on_a_terminal() -> None:
    found = row(HOSTILE, identity=r"a;reboot\x1b[2J", aliases=("\x07",))
    assert json.dumps(found.to_json(), ensure_ascii=False).isprintable()
    assert choose([found], r"a;reboot\x1b[2J") == merge([found])
    with pytest.raises(DeviceNotFound) as caught:
        choose([found], "\x1b[0m")
    assert str(caught.value).isprintable()


def test_a_row_tells_its_holder_its_heat_and_its_clusters_as_plain_values() -> None:
    plain = row("A", holder="pid 1, pocketnas profile, since 10:31").to_json()
    assert plain["info"]["model"] == "Pixel 8"
    assert plain["holder"].startswith("pid 1")
    assert (plain["battery"], plain["thermal"]) == (None, None)
    json.dumps(plain)


def test_an_absent_local_server_and_absent_libusb_are_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = AdbServer(port=1)  # this machine may have a server on the real port
    monkeypatch.setattr("device_farm.discovery.LOCAL_SERVER", nobody)
    with caplog.at_level("INFO"):
        assert discover(servers=[nobody]) == []
    assert "pip install pocketnas[usb]" in caplog.text


def test_an_absent_server_that_was_named_is_told(key_directory: Path) -> None:
    (found,) = discover(servers=[AdbServer(port=1)], timeout_s=2)
    assert (found.serial, found.state) == ("127.0.0.1:1", "unreachable")
    assert "adb -a" in found.remedy


def test_hung_phones_and_servers_hold_up_nobody(key_directory: Path) -> None:
    with listening(silent) as port:
        start = time.monotonic()
        rows = discover(
            servers=[AdbServer(port=port)],
            addresses=[f"localhost:{port}", "localhost:1"],
            timeout_s=1.0,
            key_directory=key_directory,
        )
        assert time.monotonic() - start < 2.0
    assert {found.serial: found.state for found in rows} == {
        f"127.0.0.1:{port}": "unreachable",
        f"localhost:{port}": "offline",
        "localhost:1": "unreachable",
    }
    assert all(found.remedy for found in rows)


def test_what_is_no_phone_is_unreadable(key_directory: Path) -> None:
    def greet(connected: socket.socket) -> None:
        with connected:
            connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connected.recv(1 << 16)

    with listening(greet) as port:
        (found,) = discover(
            servers=[], addresses=[f"127.0.0.1:{port}"], key_directory=key_directory
        )
    assert found.state == "unreadable"
    assert "Android phone" in found.remedy


@pytest.mark.parametrize(
    ("theirs", "state", "remedy"),
    [
        ("unauthorized", "unauthorized", "Allow USB debugging"),
        ("authorizing", "unauthorized", "Allow USB debugging"),
        ("offline", "offline", "replug"),
        ("no permissions; see [http://developer.android.com]", "no permissions", "udev"),
        ("recovery", "recovery", "adb reboot"),
        ("\x1b[31mnew", r"\x1b[31mnew", "adb reboot"),
    ],
)
def test_each_state_of_an_adb_server_has_a_remedy(theirs: str, state: str, remedy: str) -> None:
    server = ScriptedServer(f"R5CT\t{theirs}\n")
    with listening(server.serve) as port:
        (found,) = discover(servers=[AdbServer(port=port)])
    assert (found.serial, found.state) == ("R5CT", state)
    assert remedy in found.remedy
    assert server.requests == ["host:devices"]


@pytest.mark.parametrize("serial", [HOSTILE, SMUGGLER, "usb:1-4"])
def test_a_serial_cannot_smuggle_a_request(serial: str) -> None:
    server = ScriptedServer(f"{serial}\tdevice\n")
    with listening(server.serve) as port:
        (found,) = discover(servers=[AdbServer(port=port)])
        assert found.serial == serial
        assert not found.is_ready
        route = ServerRoute(serial=serial, server=AdbServer(port=port))
        assert route.connect(5).features == {"cmd"}
    for request in server.requests:
        assert request.startswith(("host:devices", f"host:transport:{serial}", "exec:")) or (
            request in ("host:features", f"host-serial:{serial}:features")
        )
        assert not request.startswith(f"host-serial:{SMUGGLER}")


def test_a_leased_phone_names_its_holder() -> None:
    server = ScriptedServer("R5CT\toffline\n")
    with listening(server.serve) as port, lease("R5CT"):
        (found,) = discover(servers=[AdbServer(port=port)])
    assert found.holder is not None
    assert found.holder.startswith("pid ")
    assert isinstance(found.problem, DeviceOffline)
    assert not isinstance(found.problem, ServiceRefused)
