"""Phones in the network: after `adb tcpip`, or under wireless debugging, which uses TLS."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from adb_shell.transport.base_transport import BaseTransport

from device_farm.adb.connection import AUTH_TIMEOUT_S, AdbConnection
from device_farm.adb.deadline_socket import DeadlineSocket


class TcpTransport(BaseTransport):  # type: ignore[misc]  # adb-shell has no annotations
    """In place of adb-shell's own, which truncates writes and spins when the phone closes."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: DeadlineSocket | None = None

    def connect(self, transport_timeout_s: float) -> None:
        """Open the connection."""
        self._socket = DeadlineSocket.connect(self._host, self._port, transport_timeout_s)

    def start_tls(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Go on under TLS."""
        self._connected.start_tls(context, time.monotonic() + timeout_s)

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        """Between 1 and `numbytes` bytes."""
        data = self._connected.receive(numbytes, time.monotonic() + transport_timeout_s)
        if not data:
            raise ConnectionResetError("the phone closed the connection")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        """All of `data`."""
        self._connected.send(data, time.monotonic() + transport_timeout_s)
        return len(data)

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def _connected(self) -> DeadlineSocket:
        if self._socket is None:
            raise ConnectionResetError("the connection is closed")
        return self._socket


@dataclass(frozen=True, kw_only=True)
class TcpRoute:
    """The phone at `host:port`.

    Attributes:
        host: Name or address.
        port: 5555 after `adb tcpip 5555`; under Wireless debugging the phone shows it.
        key_directory: Where this machine's key lies, by default `~/.android`.
        auth_timeout_s: How long the user may take to accept the prompt.
    """

    host: str
    port: int = 5555
    key_directory: Path | None = None
    auth_timeout_s: float = AUTH_TIMEOUT_S

    @property
    def serial(self) -> str:
        """As `adb` writes it; an IPv6 address stands in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def connect(self, timeout_s: float) -> AdbConnection:
        """See Route.connect."""
        connection = AdbConnection(
            TcpTransport(self.host, self.port), self.serial, self.key_directory
        )
        connection.connect_phone(timeout_s, self.auth_timeout_s)
        return connection
