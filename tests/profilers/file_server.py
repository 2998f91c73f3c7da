"""A real HTTP server on this machine that serves one file, badly when told to."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass
class Served:
    """What the next answers are; tests change it while the server runs.

    Attributes:
        body: The file; `bodies` holds one for each request, the last for all further ones.
        etag: Its version; None for a server that names none and serves no ranges.
        cuts: After how many bytes of the answer to hang up, one for each request.
        status: Of every answer that is not a redirect.
        moved_to: Where to send the client instead.
        pause_s: Between two pieces of 1000 bytes.
        is_length_told: Whether there is a Content-Length.
        headers: Further ones.
    """

    body: bytes = b""
    bodies: list[bytes] = field(default_factory=list)
    etag: str | None = '"1"'
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    status: int = 200
    moved_to: str | None = None
    pause_s: float = 0.0
    is_length_told: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class FileServer:
    """Use it as a context manager; it serves at `url`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.served = served = Served()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(self, served)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    wanted = handler.headers.get("Range")
    served.requests.append((handler.path, wanted))
    if served.moved_to is not None and handler.path not in served.moved_to:
        handler.send_response(302)
        handler.send_header("Location", served.moved_to)
        handler.end_headers()
        return
    body = served.bodies.pop(0) if len(served.bodies) > 1 else (served.bodies or [served.body])[0]
    status = served.statuses.pop(0) if served.statuses else served.status
    first = 0
    is_same = handler.headers.get("If-Range") == served.etag
    if wanted and served.etag and is_same and status == 200:
        first, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
    handler.send_response(status)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
    if served.etag:
        handler.send_header("ETag", served.etag)
    if served.is_length_told:
        handler.send_header("Content-Length", str(len(body) - first))
    for name, value in served.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    cut = served.cuts.pop(0) if served.cuts else None
    _send(handler, body[first:][:cut], served.pause_s)
    handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, data: bytes, pause_s: float) -> None:
    try:
        if not pause_s:
            handler.wfile.write(data)
            return
        for start in range(0, len(data), 1000):
            handler.wfile.write(data[start : start + 1000])
            time.sleep(pause_s)
    except OSError:
        pass  # the client had enough
