"""A socket whose every operation is complete and has a deadline, plain or under TLS."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self, TypeVar

# epoll forgets a socket that another thread closes, and waits on; poll and select do not
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 4}
_Value = TypeVar("_Value")


class DeadlineSocket:
    """A TCP connection that one thread may read while another writes.

    A peer that vanishes silently is noticed by keep-alive probes after about 13 s; one that
    closes, at once.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._socket = connected
        # OpenSSL allows one thread at a time in a TLS connection; no call below blocks.
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, host: str, port: int, timeout_s: float) -> Self:
        """Open a connection; raises OSError, and UnicodeError for an impossible host name."""
        if not 0 < port < 1 << 16:
            raise ValueError(f"port {port} is not in [1, 65535]")
        return cls(socket.create_connection((host, port), timeout=timeout_s))

    def start_tls(self, context: ssl.SSLContext, deadline: float) -> None:
        """Go on under TLS as the client."""
        secured = context.wrap_socket(
            self._socket, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._socket = secured
        self._complete(secured.do_handshake, selectors.EVENT_READ, deadline)

    def receive(self, count: int, deadline: float) -> bytes:
        """Between 1 and `count` bytes, or none when the peer closed."""
        return self._complete(partial(self._socket.recv, count), selectors.EVENT_READ, deadline)

    def send(self, data: bytes, deadline: float) -> None:
        """All of `data`."""
        rest = memoryview(data)
        while rest:
            sent = self._complete(
                partial(self._socket.send, rest), selectors.EVENT_WRITE, deadline
            )
            rest = rest[sent:]

    def has_data(self) -> bool:
        """Whether `receive` would return at once."""
        return self._wait(selectors.EVENT_READ, 0.0)

    def close(self) -> None:
        """Close, and wake whoever waits in `receive`."""
        with self._lock:
            with suppress(OSError):  # the peer was first
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _complete(
        self, operation: Callable[[], _Value], waits_for: int, deadline: float
    ) -> _Value:
        """Repeat a non-blocking operation until it succeeds or the deadline has passed."""
        while True:
            try:
                with self._lock:
                    return operation()
            except BlockingIOError:
                event = waits_for
            except ssl.SSLWantReadError:
                event = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                event = selectors.EVENT_WRITE
            if not self._wait(event, max(0.0, deadline - time.monotonic())):
                raise TimeoutError("the deadline has passed")

    def _wait(self, event: int, timeout_s: float) -> bool:
        with _Selector() as selector:
            try:
                selector.register(self._socket, event)
            except ValueError as error:
                raise ConnectionAbortedError("another thread closed the connection") from error
            return bool(selector.select(timeout_s))
