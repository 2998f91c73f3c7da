"""Fetch one file over HTTP: whole and checked, or not at all.

What breaks off is taken up where it ended, when the server names the version of the file (ETag)
and serves ranges; so a slow or shaky link still gets through.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device_farm.errors import printable
from profilers.errors import BinaryUnavailable

# Called with the bytes that are here, and how many there will be, None when the server is silent.
Progress = Callable[[int, int | None], None]

_TRIES = 4
_PAUSE_S = 0.5
_CHUNK_BYTES = 1 << 16
_MD5_HEADER = re.compile(r"\bmd5=([A-Za-z0-9+/]{22}==)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """What a download may cost.

    Attributes:
        max_bytes: Of the file.
        stall_s: Without a single byte.
        total_s: For all tries together.
    """

    max_bytes: int = 256 << 20
    stall_s: float = 20.0
    total_s: float = 900.0


class _BrokenOff(Exception):
    """The connection ended early; what is here is good."""


def download(
    url: str, target: Path, *, limits: DownloadLimits, progress: Progress | None = None
) -> None:
    """Write what a URL gives to a file, which exists afterwards only when it is complete.

    Raises:
        BinaryUnavailable: No network, no such file, too large, too slow, or a redirect from
            https to http; the text holds the reason without a remedy.
        OSError: The file cannot be written.
    """
    transfer = _Transfer(url, limits, progress or (lambda received, total: None))
    try:
        with target.open("wb+") as file:
            transfer.run(file)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


class _Transfer:
    """One file on its way, over several connections."""

    def __init__(self, url: str, limits: DownloadLimits, progress: Progress) -> None:
        self._url = url
        self._limits = limits
        self._progress = progress
        self._deadline = time.monotonic() + limits.total_s
        self._received = 0
        self._total: int | None = None
        self._etag = ""
        self._md5 = ""

    def run(self, file: BinaryIO) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                self._receive(file)
            except _BrokenOff as error:
                if not tries_left:
                    raise self._failure(f"{error}, {_TRIES} times") from error
                time.sleep(_PAUSE_S)
            else:
                self._check_md5(file)
                return

    def _receive(self, file: BinaryIO) -> None:
        """Append what is missing, over one connection."""
        if not self._etag:
            self._received = 0
        with self._open() as answer:
            self._start_at(self._first_byte(answer))
            file.seek(self._received)
            file.truncate()
            while chunk := self._next(answer):
                file.write(chunk)
                self._received += len(chunk)
                self._progress(self._received, self._total)
                if self._received > self._limits.max_bytes:
                    raise self._failure(f"it is over {self._limits.max_bytes} bytes")
        if self._total is not None and self._received < self._total:
            raise _BrokenOff(f"broke off after {self._received} of {self._total} bytes")

    def _open(self) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url, headers={"User-Agent": "pocketnas"})
        if self._received:
            request.add_header("Range", f"bytes={self._received}-")
            request.add_header("If-Range", self._etag)
        try:
            answer = urllib.request.urlopen(request, timeout=self._patience_s())
        except urllib.error.HTTPError as error:
            error.close()
            if error.code >= 500:
                raise _BrokenOff(f"the server answers {error.code}") from error
            raise self._failure(f"the server answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(_reason(error)) from error
        assert isinstance(answer, http.client.HTTPResponse)
        if self._url.startswith("https:") and not answer.url.startswith("https:"):
            answer.close()
            raise self._failure(f"it redirects to {answer.url}, which is not encrypted")
        return answer

    def _first_byte(self, answer: http.client.HTTPResponse) -> int:
        """Where the answer begins in the file: 0, or where the last connection ended."""
        span = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT and span is not None:
            first = int(span[1])
            if first != self._received:
                raise self._failure(f"the server sends byte {first}, not {self._received}")
            self._total = None if span[2] == "*" else int(span[2])
            return first
        length = answer.headers.get("Content-Length", "")
        self._total = int(length) if re.fullmatch(r"[0-9]{1,15}", length) else None
        etag = answer.headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        md5 = _MD5_HEADER.search(", ".join(answer.headers.get_all("x-goog-hash", [])))
        self._md5 = md5[1] if md5 else ""
        return 0

    def _start_at(self, first: int) -> None:
        self._received = first
        if self._total is not None and self._total > self._limits.max_bytes:
            raise self._failure(
                f"it is {self._total} bytes, over the limit of {self._limits.max_bytes}"
            )

    def _next(self, answer: http.client.HTTPResponse) -> bytes:
        """A piece of the answer, empty at its end."""
        self._patience_s()
        try:
            return answer.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOff(
                f"broke off after {self._received} bytes: {_reason(error)}"
            ) from error

    def _patience_s(self) -> float:
        """How long to wait for the next byte."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise self._failure(
                f"{self._received} bytes arrived in {self._limits.total_s:g} s, which is too slow"
            )
        return min(self._limits.stall_s, left_s)

    def _check_md5(self, file: BinaryIO) -> None:
        """Compare with the checksum that Google Cloud Storage sends along, if it does."""
        file.flush()
        if not self._md5:
            return
        file.seek(0)
        md5 = hashlib.md5(usedforsecurity=False)
        while chunk := file.read(_CHUNK_BYTES):
            md5.update(chunk)
        digest = md5.digest()
        if base64.b64encode(digest).decode() != self._md5:
            raise self._failure("what arrived differs from the server's checksum")

    def _failure(self, reason: str) -> BinaryUnavailable:
        return BinaryUnavailable(f"cannot fetch {self._url}: {printable(reason)}")


def _reason(error: Exception) -> str:
    """The heart of an error of urllib, which wraps those of the system."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
