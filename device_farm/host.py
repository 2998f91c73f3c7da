"""This machine as a device, so that everything works without a phone."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from device_farm.device import MAX_OUTPUT_BYTES, CommandResult, require_removable
from device_farm.errors import (
    CommandFailed,
    CommandTimeout,
    OutputTooLarge,
    PullFailed,
    PushFailed,
)

_CHUNK_BYTES = 1 << 16


class HostDevice:
    """The verbs of a device on this machine, through `/bin/sh` and the file system."""

    serial = "host"

    def __init__(self, *, max_output_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self._max_output_bytes = max_output_bytes

    def run(self, command: str, *, timeout_s: float) -> CommandResult:
        """See Device.run."""
        deadline = time.monotonic() + timeout_s
        with subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                stdout, stderr = self._collect(process.stdout, process.stderr, deadline)
                status = process.wait(max(0.0, deadline - time.monotonic()))
            except (TimeoutError, subprocess.TimeoutExpired):
                raise CommandTimeout(self.serial, f"{command!r} ran over {timeout_s} s") from None
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        exit_code = status if status >= 0 else 128 - status
        return CommandResult(stdout=stdout, stderr=stderr, exit_code=exit_code)

    def push(self, local: Path, remote: str) -> None:
        """See Device.push."""
        try:
            _copy(local, Path(remote))
        except OSError as error:
            raise PushFailed(self.serial, f"cannot copy {local} to {remote}: {error}") from error

    def pull(self, remote: str, local: Path) -> None:
        """See Device.pull."""
        try:
            _copy(Path(remote), local)
        except OSError as error:
            raise PullFailed(self.serial, f"cannot copy {remote} to {local}: {error}") from error

    def remove(self, remote: str) -> None:
        """See Device.remove."""
        require_removable(remote)
        path = Path(remote)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CommandFailed(self.serial, f"cannot remove {remote}: {error}") from error

    def close(self) -> None:
        """Nothing is held."""

    def wait_until_reachable(self, timeout_s: float) -> None:
        """It always is."""

    def _collect(
        self, stdout: IO[bytes], stderr: IO[bytes], deadline: float
    ) -> tuple[bytes, bytes]:
        """Read both outputs to their ends, within the deadline and the size limit."""
        texts = {stdout: bytearray(), stderr: bytearray()}
        with selectors.DefaultSelector() as selector:
            for pipe in texts:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        selector.unregister(key.fileobj)
                    texts[stdout if key.fileobj is stdout else stderr] += data
                if sum(map(len, texts.values())) > self._max_output_bytes:
                    raise OutputTooLarge(
                        self.serial, f"the command wrote over {self._max_output_bytes} bytes"
                    )
        return bytes(texts[stdout]), bytes(texts[stderr])


def _copy(source: Path, target: Path) -> None:
    """Copy through a temporary file beside the target, so that no half-written file shows."""
    partial = target.with_name(target.name + ".partial")
    try:
        shutil.copy(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
