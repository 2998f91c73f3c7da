"""A phone as a device: runs commands, keeps files, comes back after a loss."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device_farm.adb.shell import run_command
from device_farm.adb.stream import Link, Route
from device_farm.adb.sync import pull_file, push_file
from device_farm.device import (
    MAX_OUTPUT_BYTES,
    CommandResult,
    require_removable,
    require_success,
)
from device_farm.errors import DeviceUnreachable, ProtocolViolation, PushFailed

MAX_PULL_BYTES = 4 << 30
_CONNECT_TIMEOUT_S = 10.0
_FILE_COMMAND_TIMEOUT_S = 120.0
_RETRY_PAUSE_S = 0.5
_NOT_FOUND = 127


class AdbPhone:
    """One phone over one route; see Device. Several threads may use it at once.

    It connects when a verb needs it. After a loss the verb at hand raises, and the next one
    connects anew: only the caller knows whether its command may be repeated.
    """

    def __init__(
        self,
        route: Route,
        *,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        max_pull_bytes: int = MAX_PULL_BYTES,
    ) -> None:
        self._route = route
        self._max_output_bytes = max_output_bytes
        self._max_pull_bytes = max_pull_bytes
        self._link: Link | None = None
        self._connecting = threading.Lock()

    @property
    def serial(self) -> str:
        """See Device.serial."""
        return self._route.serial

    def run(self, command: str, *, timeout_s: float) -> CommandResult:
        """See Device.run."""
        with self._connected() as link:
            return run_command(
                link, command, timeout_s=timeout_s, max_output_bytes=self._max_output_bytes
            )

    def push(self, local: Path, remote: str) -> None:
        """See Device.push; what arrived is compared by size and SHA-256."""
        partial = remote + ".partial"
        with local.open("rb") as source:
            status = os.fstat(source.fileno())
            with self._connected() as link:
                push_file(link, source, partial, status.st_mode)
            source.seek(0)
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        wanted = f"{status.st_size} {digest}"
        arrived = self._size_and_sha256(partial)
        if arrived != wanted:
            self.remove(partial)
            raise PushFailed(
                self.serial,
                f"{remote!r} arrived as {arrived}, not as {wanted} (bytes, SHA-256)",
                "push it again; if it happens again, the phone's storage or cable is at fault",
            )
        self._rename(partial, remote)

    def pull(self, remote: str, local: Path) -> None:
        """See Device.pull."""
        partial = local.with_name(local.name + ".partial")
        try:
            with partial.open("wb") as sink, self._connected() as link:
                pull_file(link, remote, sink, self._max_pull_bytes)
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, remote: str) -> None:
        """See Device.remove."""
        require_removable(remote)
        result = self.run(f"rm -rf -- {shlex.quote(remote)}", timeout_s=_FILE_COMMAND_TIMEOUT_S)
        require_success(self.serial, result, f"remove {remote!r}")

    def close(self) -> None:
        """See Device.close."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def wait_until_reachable(self, timeout_s: float) -> None:
        """See Device.wait_until_reachable."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.run("true", timeout_s=_CONNECT_TIMEOUT_S)
            except DeviceUnreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_PAUSE_S)
            else:
                return

    @contextmanager
    def _connected(self) -> Iterator[Link]:
        """A live link; one that proves dead is dropped."""
        with self._connecting:
            if self._link is None:
                self._link = self._route.connect(_CONNECT_TIMEOUT_S)
            link = self._link
        try:
            yield link
        except (DeviceUnreachable, ProtocolViolation):
            with self._connecting:
                if self._link is link:
                    self._link = None
            link.close()
            raise

    def _size_and_sha256(self, remote: str) -> str:
        """The size and the SHA-256 of a file, as the phone reads it back."""
        path = shlex.quote(remote)
        result = self.run(
            f"wc -c < {path} && sha256sum < {path}", timeout_s=_FILE_COMMAND_TIMEOUT_S
        )
        if result.exit_code == _NOT_FOUND:  # sha256sum came with Android 8
            return self._read_back(remote)
        size, digest, *_ = require_success(self.serial, result, f"read {remote!r}").split()
        return f"{size.decode()} {digest.decode()}"

    def _read_back(self, remote: str) -> str:
        """As `_size_and_sha256`, by fetching the file."""
        with tempfile.TemporaryFile() as copy:
            with self._connected() as link:
                pull_file(link, remote, copy, self._max_pull_bytes)
            size = copy.tell()
            copy.seek(0)
            return f"{size} {hashlib.file_digest(copy, 'sha256').hexdigest()}"

    def _rename(self, partial: str, remote: str) -> None:
        """Put a complete file in its place."""
        old, new = shlex.quote(partial), shlex.quote(remote)
        result = self.run(
            f"if [ -d {new} ]; then echo 'is a folder'; false; else mv -f -- {old} {new}; fi",
            timeout_s=_FILE_COMMAND_TIMEOUT_S,
        )
        if result.exit_code != 0:
            self.remove(partial)
            reason = (result.stderr or result.stdout).decode(errors="backslashreplace").strip()
            raise PushFailed(self.serial, f"cannot put {remote!r} in place: {reason}")
