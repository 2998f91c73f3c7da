"""What stands before a real daemon: authorization, TLS, slow and breaking links.

Debian's adbd asks nobody for permission and knows no TLS. Both concern only the first packets of
a connection, which the front answers as a phone would; then it joins the two ends, at the speed
and for as long as the test wants.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from device_farm.adb import TcpRoute

HEADER = struct.Struct("<6I")
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3
STLS_VERSION = 0x01000000
CHUNK_BYTES = 1 << 14
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Adb")])
Prompt = Literal["accept", "ignore", "deny"]
Value = TypeVar("Value")


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    """One ADB packet."""
    number = int.from_bytes(command, "little")
    check = sum(data) & 0xFFFFFFFF
    return HEADER.pack(number, arg0, arg1, len(data), check, number ^ 0xFFFFFFFF) + data


async def read_packet(reader: asyncio.StreamReader) -> tuple[bytes, int, int, bytes]:
    """The next ADB packet."""
    command, arg0, arg1, length, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
    return command.to_bytes(4, "little"), arg0, arg1, await reader.readexactly(length)


class Front:
    """A front for the phone at `backend`, listening on an own port of this machine.

    Attributes:
        security: What it demands: nothing, an accepted RSA key, or TLS with one.
        prompt: What the user does when an unknown key asks.
        trusted: The keys accepted so far, as in a phone's adb_keys.
        paired: The certificates (PEM) of machines that were paired for TLS.
        prompts: How often the user was asked.
        bits_per_s: Capacity of the link in each direction, or None.
        latency_s: Delay of each chunk in each direction.
        drop_after_bytes: The link breaks after so many more bytes, once; or None.
        is_silent: Whether all packets vanish, as when a phone leaves the reach of the radio.
        hidden_features: Features of the daemon that the phone shall not have.
    """

    def __init__(
        self,
        backend: tuple[str, int],
        *,
        security: Literal["none", "rsa", "tls"] = "none",
        prompt: Prompt = "accept",
    ) -> None:
        self.security = security
        self.prompt: Prompt = prompt
        self.trusted: list[bytes] = []
        self.paired: list[str] = []
        self.prompts = 0
        self.bits_per_s: float | None = None
        self.latency_s = 0.0
        self.drop_after_bytes: int | None = None
        self.is_silent = False
        self.hidden_features: set[str] = set()
        self._backend = backend
        self._certificate = _Certificate() if security == "tls" else None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, sock=_listen(), limit=65536))
        self.host, self.port = self._server.sockets[0].getsockname()

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def route(self, key_directory: Path, *, auth_timeout_s: float = 5.0) -> TcpRoute:
        """The way to the phone through this front."""
        return TcpRoute(
            host=self.host,
            port=self.port,
            key_directory=key_directory,
            auth_timeout_s=auth_timeout_s,
        )

    def drop(self) -> None:
        """Break every connection now."""
        self._call(self._drop())

    def stop_listening(self) -> None:
        """Break every connection and admit no new one."""
        self._server.close()
        self.drop()

    def stop(self) -> None:
        """Stop listening and break every connection."""
        self._call(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _drop(self) -> None:
        for writer in list(self._open):
            writer.close()

    async def _shut_down(self) -> None:
        self._server.close()
        await self._drop()
        self.is_silent = False
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            command, version, max_data, banner = await read_packet(reader)
            if command == b"CNXN" and await self._admits(reader, writer):
                await self._join(reader, writer, packet(b"CNXN", version, max_data, banner))
        except (OSError, asyncio.IncompleteReadError):
            pass  # a peer left, which is what tests are about
        finally:
            self._open.discard(writer)
            writer.close()

    async def _admits(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.security == "rsa":
            return await self._admits_key(reader, writer)
        if self._certificate is not None:
            writer.write(packet(b"STLS", STLS_VERSION, 0))
            command, *_ = await read_packet(reader)
            return command == b"STLS" and await self._starts_tls(writer, self._certificate)
        return True

    async def _starts_tls(self, writer: asyncio.StreamWriter, certificate: _Certificate) -> bool:
        plain = writer.transport
        await writer.start_tls(certificate.context(self.paired))
        if writer.transport is None:  # Python 3.11, when the peer leaves during the handshake
            setattr(writer, "_transport", plain)  # noqa: B010
            return False
        return True

    async def _admits_key(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        while True:
            token = os.urandom(20)
            writer.write(packet(b"AUTH", AUTH_TOKEN, 0, token))
            command, kind, _, data = await read_packet(reader)
            if command != b"AUTH":
                return False
            if kind == AUTH_SIGNATURE and any(_signed(key, token, data) for key in self.trusted):
                return True
            if kind == AUTH_PUBLIC_KEY:
                return await self._asks_user(reader, data.rstrip(b"\0"))

    async def _asks_user(self, reader: asyncio.StreamReader, key: bytes) -> bool:
        self.prompts += 1
        if self.prompt == "accept":
            self.trusted.append(key)
        elif self.prompt == "ignore":
            await reader.read()  # until the other side gives up
        return self.prompt == "accept"

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: bytes
    ) -> None:
        phone_reader, phone_writer = await asyncio.open_connection(*self._backend, limit=65536)
        self._open.add(phone_writer)
        try:
            phone_writer.write(hello)
            command, version, max_data, banner = await read_packet(phone_reader)
            writer.write(packet(command, version, max_data, self._reduced(banner)))
            pumps = [
                asyncio.create_task(self._pump(reader, phone_writer)),
                asyncio.create_task(self._pump(phone_reader, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._open.discard(phone_writer)
            phone_writer.close()

    def _reduced(self, banner: bytes) -> bytes:
        head, _, features = banner.rstrip(b"\0").decode().partition("features=")
        kept = [name for name in features.split(",") if name not in self.hidden_features]
        return f"{head}features={','.join(kept)}".encode()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free_at = time.monotonic()  # when the link has carried all that came so far
        while data := await reader.read(CHUNK_BYTES):
            if self.drop_after_bytes is not None:
                self.drop_after_bytes -= len(data)
                if self.drop_after_bytes < 0:
                    self.drop_after_bytes = None
                    return
            if self.bits_per_s:
                free_at = max(free_at, time.monotonic()) + len(data) * 8 / self.bits_per_s
                await asyncio.sleep(free_at - time.monotonic())
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if not self.is_silent:
                writer.write(data)
                await writer.drain()
        while self.is_silent:
            await asyncio.sleep(0.05)


def _listen() -> socket.socket:
    """A port that holds as little as one on a radio link: loopback would swallow megabytes."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    listener.bind(("127.0.0.1", 0))
    return listener


class _Certificate:
    """The phone's own key for TLS."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(NAME)
            .issuer_name(NAME)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .sign(key, hashes.SHA256())
        )
        self._pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def context(self, paired: list[str]) -> ssl.SSLContext:
        """TLS that admits only paired clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        if paired:
            context.load_verify_locations(cadata="".join(paired))
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "phone.pem"
            path.write_bytes(self._pem)
            context.load_cert_chain(path)
        return context


def _public_key(line: bytes) -> rsa.RSAPublicKey:
    """The key in a line of adb_keys: Android's own binary format in base64."""
    raw = base64.b64decode(line.split()[0])
    modulus = int.from_bytes(raw[8:264], "little")
    (exponent,) = struct.unpack_from("<I", raw, 520)
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _signed(line: bytes, token: bytes, signature: bytes) -> bool:
    try:
        _public_key(line).verify(
            signature, token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1())
        )
    except InvalidSignature:
        return False
    return True
