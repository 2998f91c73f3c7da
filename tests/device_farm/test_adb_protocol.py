"""Daemons that misbehave, played byte by byte; well-behaved ones are real, in tests/phone."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from device_farm.adb import AdbPhone, AdbServer, ServerRoute, TcpRoute
from device_farm.adb.keys import AdbKey
from device_farm.errors import (
    ConnectionLost,
    DeviceError,
    DeviceNotFound,
    DeviceOffline,
    DeviceTimeout,
    DeviceUnauthorized,
    ProtocolViolation,
    PushFailed,
    ServiceRefused,
)

HEADER = struct.Struct("<6I")
Script = Callable[["Peer"], None]


class Peer:
    """The daemon's end of one connection."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    def receive(self) -> tuple[bytes, int, int, bytes]:
        command, arg0, arg1, length, _, _ = HEADER.unpack(self._exactly(HEADER.size))
        return command.to_bytes(4, "little"), arg0, arg1, self._exactly(length)

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        self.socket.sendall(packet(command, arg0, arg1, data))

    def greet(self, features: str = "shell_v2") -> None:
        self.receive()
        self.send(b"CNXN", 0x01000000, 1 << 20, f"device::features={features}".encode())

    def accept(self) -> tuple[int, bytes]:
        """Open whatever is asked for next; gives the caller's stream and the service."""
        command, local_id, _, service = self.receive()
        assert command == b"OPEN"
        self.send(b"OKAY", 9, local_id)
        return local_id, service

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    number = int.from_bytes(command, "little")
    return HEADER.pack(number, arg0, arg1, len(data), sum(data), number ^ 0xFFFFFFFF) + data


@pytest.fixture(scope="module")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    AdbKey(directory)  # making one takes longer than some tests allow
    return directory


@pytest.fixture
def play(key_directory: Path) -> Iterator[Callable[[Script], TcpRoute]]:
    """Play a script to every connection; gives the route to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def converse(script: Script, connected: socket.socket) -> None:
        with connected, suppress(EOFError, OSError):  # the other side gave up, as it should
            script(Peer(connected))

    def serve(script: Script) -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            sockets.append(connected)
            threads.append(threading.Thread(target=converse, args=(script, connected)))
            threads[-1].start()

    def start(script: Script) -> TcpRoute:
        threads.append(threading.Thread(target=serve, args=(script,)))
        threads[-1].start()
        port = listener.getsockname()[1]
        return TcpRoute(host="127.0.0.1", port=port, key_directory=key_directory)

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connected in sockets:
        with suppress(OSError):  # closed by its script
            connected.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


Play = Callable[[Script], TcpRoute]


def linger(peer: Peer) -> None:
    """Receive for ever and say nothing."""
    while True:
        peer.receive()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes(24),
        b"\xff" * 100,
        HEADER.pack(0x4E584E43, 1, 1, 0xFFFFFFFF, 0, 0x4E584E43 ^ 0xFFFFFFFF),
        packet(b"CNXN", 1, 1, b"device::")[:-1] + b"!",
    ],
    ids=["http", "zeros", "ones", "4 GB packet", "wrong checksum"],
)
def test_what_is_not_adb_is_refused(play: Play, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.socket.sendall(answer)
        linger(peer)

    start = time.monotonic()
    with (
        closing(AdbPhone(play(script))) as phone,
        pytest.raises(ProtocolViolation, match="check that an Android phone"),
    ):
        phone.run("true", timeout_s=5)
    assert time.monotonic() - start < 2


def test_a_silent_peer_is_offline(play: Play) -> None:
    start = time.monotonic()
    with pytest.raises(DeviceOffline, match=r"no answer within 0\.5 s"):
        play(linger).connect(0.5)
    assert time.monotonic() - start < 1.5


def test_a_peer_that_hangs_up_is_noticed_at_once(play: Play) -> None:
    start = time.monotonic()
    with pytest.raises(ConnectionLost):
        play(lambda peer: None).connect(10)
    assert time.monotonic() - start < 1


def test_a_peer_that_offers_tls_for_ever_is_left(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        while True:
            peer.send(b"STLS", 0x01000000, 0)

    with pytest.raises(DeviceError):
        play(script).connect(1)


def test_a_peer_that_never_greets_back_is_left(play: Play) -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.send(b"WRTE", 1, 1)

    start = time.monotonic()
    with pytest.raises(DeviceOffline):
        play(script).connect(0.5)
    assert time.monotonic() - start < 2.5


def test_a_peer_that_asks_for_keys_for_ever_is_left(play: Play) -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.send(b"AUTH", 1, 0, bytes(20))

    route = play(script)
    impatient = TcpRoute(
        host=route.host, port=route.port, key_directory=route.key_directory, auth_timeout_s=0.5
    )
    with pytest.raises(DeviceUnauthorized):
        impatient.connect(1)


def test_a_refused_service_is_told_at_once(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        _, local_id, _, _ = peer.receive()
        peer.send(b"CLSE", 0, local_id)
        linger(peer)

    start = time.monotonic()
    with closing(AdbPhone(play(script))) as phone, pytest.raises(ServiceRefused, match="shell,v2"):
        phone.run("true", timeout_s=10)
    assert time.monotonic() - start < 1


def test_a_phone_that_sends_without_waiting_fills_no_memory(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        local_id, _ = peer.accept()
        while True:  # nothing of this was acknowledged, let alone asked for
            peer.send(b"WRTE", 9, local_id, bytes(1 << 20))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with closing(play(script).connect(5)) as link:
        stream = link.open(b"sync:", time.monotonic() + 5)
        with pytest.raises(ProtocolViolation, match="without waiting"):
            stream.write(b"x", time.monotonic() + 5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_file_service_that_does_not_start_is_a_lost_connection(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_farm.adb.sync.STALL_TIMEOUT_S", 0.3)

    def script(peer: Peer) -> None:
        peer.greet()
        linger(peer)

    (tmp_path / "source").write_bytes(b"x")
    with (
        closing(AdbPhone(play(script))) as phone,
        pytest.raises(ConnectionLost, match=r"no progress for 0\.3 s"),
    ):
        phone.push(tmp_path / "source", "/data/local/tmp/x")


def test_closing_from_another_thread_wakes_all_who_wait(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(3):
            peer.accept()
        linger(peer)

    for _ in range(20):  # each a chance for a race
        link = play(script).connect(5)
        streams = [link.open(b"sync:", time.monotonic() + 5) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(stream.read, time.monotonic() + 30) for stream in streams]
            link.close()
            for future in waiting:
                assert isinstance(future.exception(timeout=2), ConnectionLost)


def test_a_shell_frame_of_4_gb_is_not_waited_for(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        local_id, _ = peer.accept()
        peer.send(b"WRTE", 9, local_id, struct.pack("<BI", 1, 0xFFFFFFFF) + b"123\n")
        linger(peer)

    with (
        closing(AdbPhone(play(script))) as phone,
        pytest.raises(DeviceError, match="wrote over 67108864 bytes"),
    ):
        phone.run("true", timeout_s=5)


def test_a_packet_in_pieces_survives_a_timeout_between_them(play: Play) -> None:
    resume = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        local_id, _ = peer.accept()
        whole = packet(b"WRTE", 9, local_id, b"payload")
        for cut in (10, 24, 27):
            peer.socket.sendall(whole[:cut])
            resume.wait()
            resume.clear()
            peer.socket.sendall(whole[cut:])
            peer.receive()
        linger(peer)

    link = play(script).connect(5)
    stream = link.open(b"sync:", time.monotonic() + 5)
    for _ in range(3):
        with pytest.raises(DeviceTimeout):
            stream.read(time.monotonic() + 0.2)
        resume.set()
        assert stream.read(time.monotonic() + 5) == b"payload"
    link.close()


def test_a_phone_that_takes_no_data_ends_the_push(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_farm.adb.sync.STALL_TIMEOUT_S", 0.5)
    stop = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.accept()
        stop.wait(10)

    source = tmp_path / "source"
    source.write_bytes(bytes(30_000_000))
    start = time.monotonic()
    with closing(AdbPhone(play(script))) as phone, pytest.raises(ConnectionLost):
        phone.push(source, "/data/local/tmp/x")
    assert time.monotonic() - start < 5
    stop.set()


def test_a_reason_cannot_steer_a_terminal(play: Play, tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        local_id, _ = peer.accept()
        peer.receive()
        peer.send(b"OKAY", 9, local_id)
        reason = b"\x1b]0;owned\x07\x1b[2J" * 3
        peer.send(b"WRTE", 9, local_id, b"FAIL" + struct.pack("<I", len(reason)) + reason)
        linger(peer)

    source = tmp_path / "source"
    source.write_bytes(b"x")
    with closing(AdbPhone(play(script))) as phone, pytest.raises(PushFailed) as caught:
        phone.push(source, "/x")
    assert str(caught.value).isprintable()
    assert "owned" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "a..b", "x" * 70])
def test_nobody_there_is_not_found(key_directory: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DeviceNotFound, match="same network"):
        TcpRoute(host=host, port=port, key_directory=key_directory).connect(5)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_a_wrong_argument(key_directory: Path, port: int) -> None:
    with pytest.raises(ValueError, match="not in"):
        TcpRoute(host="127.0.0.1", port=port, key_directory=key_directory).connect(5)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400", b"OKAYzzzz", b"FAILffff", b"OK", b""])
def test_what_is_no_adb_server_is_refused(play: Play, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(100)
        peer.socket.sendall(answer)

    route = play(script)
    server = AdbServer(host=route.host, port=route.port)
    with pytest.raises((ProtocolViolation, ConnectionLost)):
        server.devices(2)


def test_a_server_that_says_nothing_is_given_up(play: Play) -> None:
    def script(peer: Peer) -> None:
        while peer.socket.recv(100):
            pass

    route = play(script)
    server = AdbServer(host=route.host, port=route.port)
    with pytest.raises(DeviceOffline, match="no answer through adb server"):
        ServerRoute(serial="x", server=server).connect(0.5)
