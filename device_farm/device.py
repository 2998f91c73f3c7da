"""What every device can do, whether it is a phone or this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device_farm.errors import CommandFailed

MAX_OUTPUT_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """How a command ended.

    Attributes:
        stdout: What it wrote to standard output, unchanged.
        stderr: What it wrote to standard error; empty on phones older than Android 7, which
            mix it into `stdout`.
        exit_code: In [0, 255]; 128 + signal when a signal ended it.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def text(self) -> str:
        """Standard output as text, with undecodable bytes escaped."""
        return self.stdout.decode(errors="backslashreplace")


class Device(Protocol):
    """A machine that runs commands and keeps files.

    Every verb may raise a DeviceError; after a DeviceUnreachable the next verb connects anew.
    """

    @property
    def serial(self) -> str:
        """The name that tells this device from all others."""

    def run(self, command: str, *, timeout_s: float) -> CommandResult:
        """Run a line of shell and wait for its end; its standard input is empty.

        Args:
            command: The line, for the device's own shell.
            timeout_s: After this long the command and its children are killed.

        Returns:
            The output and exit code, whatever the code.

        Raises:
            CommandTimeout: It was killed because it ran too long.
            OutputTooLarge: It was killed because it wrote too much.
        """

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device, with its mode; `remote` changes all at once or not at all.

        Raises:
            PushFailed: The device cannot store it there, or stored something else.
        """

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device; `local` changes all at once or not at all.

        Raises:
            PullFailed: The device cannot read it.
        """

    def remove(self, remote: str) -> None:
        """Delete a file, or a folder with all it holds; what is not there is no error.

        Raises:
            CommandFailed: It could not be deleted.
        """

    def close(self) -> None:
        """Let go of the device; the next verb connects anew."""

    def wait_until_reachable(self, timeout_s: float) -> None:
        """Connect, however often it takes.

        Raises:
            DeviceUnreachable: It has not come back in time.
        """


def require_success(serial: str, result: CommandResult, task: str) -> bytes:
    """Standard output of a command that had to succeed.

    Raises:
        CommandFailed: Its exit code is not 0.
    """
    if result.exit_code != 0:
        said = (result.stderr or result.stdout).decode(errors="backslashreplace").strip()
        raise CommandFailed(serial, f"cannot {task}: exit code {result.exit_code}, {said!r}")
    return result.stdout


def require_removable(path: str) -> None:
    """Refuse to delete what nobody means: relative paths and the root.

    Raises:
        ValueError: The path is relative or names the root.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or not parts or ".." in parts:
        raise ValueError(f"cannot remove {path!r}: an absolute path below the root is needed")
