"""Commands on a phone, with exit code, size limit and an end.

Source: AOSP packages/modules/adb, shell_protocol.h (frames of the service `shell,v2`).
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
import struct
import time

from device_farm.adb.stream import Link, Stream, StreamReader
from device_farm.device import CommandResult
from device_farm.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceError,
    DeviceOffline,
    DeviceTimeout,
    OutputTooLarge,
    ProtocolViolation,
)

_FRAME = struct.Struct("<BI")
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_KILL_TIMEOUT_S = 5.0
# The phone ends a command by itself when this machine has not: the link may be down by then.
_WATCHDOG_GRACE_S = 10
_GROUP_LINE = re.compile(rb"([1-9]\d{0,9})\r?\n")


def run_command(
    link: Link, command: str, *, timeout_s: float, max_output_bytes: int
) -> CommandResult:
    """Run a line of shell on the phone; see Device.run.

    Its end is certain: at the deadline from here, after a loss of the link by the phone itself.
    """
    if "\0" in command:
        raise ValueError("a command cannot contain a NUL character")
    deadline = time.monotonic() + timeout_s
    is_v2 = "shell_v2" in link.features
    marker = "" if is_v2 else secrets.token_hex(16)
    service = b"shell,v2,raw:" if is_v2 else b"exec:"
    script = _script(command, timeout_s, marker)
    transcript = _Transcript(link.serial, max_output_bytes)
    try:
        stream = link.open(service + script.encode(errors="surrogateescape"), deadline)
        try:
            if is_v2:
                _follow_frames(stream, transcript, deadline)
            else:
                _follow_marked(stream, transcript, marker, deadline)
        finally:
            stream.close()  # before a kill: adbd reaps nobody while its output is not taken
    except ConnectionLost:
        raise  # the watchdog on the phone ends the command
    except DeviceTimeout as error:
        if transcript.group is None:
            what = f"no shell started within {timeout_s} s"
            raise DeviceOffline(link.serial, what) from error
        _kill_group(link, transcript.group)
        what = f"{command!r} was killed after {timeout_s} s"
        raise CommandTimeout(link.serial, what) from error
    except BaseException:
        if transcript.group is not None:
            _kill_group(link, transcript.group)
        raise
    return transcript.result()


class _Transcript:
    """What a command has written so far."""

    def __init__(self, serial: str, max_output_bytes: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.exit_code: int | None = None
        self._serial = serial
        self._max_output_bytes = max_output_bytes

    def require_room(self, size: int) -> None:
        """Refuse output beyond the limit, before it is read."""
        if len(self.stdout) + len(self.stderr) + size > self._max_output_bytes:
            raise OutputTooLarge(
                self._serial, f"the command wrote over {self._max_output_bytes} bytes"
            )

    @property
    def group(self) -> int | None:
        """The process group to kill; the first line of the output tells it."""
        line = _GROUP_LINE.match(self.stdout)
        return int(line[1]) if line else None

    def result(self) -> CommandResult:
        """The finished command."""
        if self.group is None or self.exit_code is None:
            raise ProtocolViolation(self._serial, f"odd shell: {bytes(self.stdout[:80])!r}")
        return CommandResult(
            stdout=bytes(self.stdout.partition(b"\n")[2]),
            stderr=bytes(self.stderr),
            exit_code=self.exit_code,
        )


def _script(command: str, timeout_s: float, marker: str) -> str:
    """The shell text around a command.

    The command runs in a session of its own, whose number it tells first. So does a watchdog,
    for when this machine cannot end the command. adbd hangs up the outer shell when the link
    breaks, and that shell then ends both. Should it die before it can, the watchdog still looks
    every second whether the command is there, and ends with it.
    """
    watchdog_s = math.ceil(timeout_s) + _WATCHDOG_GRACE_S
    watch = (
        f"n={watchdog_s}; while sleep 1; kill -0 -- -$c && [ \\$n -gt 0 ]; "
        "do n=\\$((n-1)); done; kill -9 -- -$c"
    )
    return "\n".join(
        [
            f"""setsid sh -c 'echo $$; exec sh -c "$1"' sh {shlex.quote(command)} </dev/null &""",
            "c=$!",
            f'setsid sh -c "{watch}" </dev/null >/dev/null 2>&1 &',
            "w=$!",
            "trap 'kill -9 -- $c -$c $w -$w 2>/dev/null; exit 129' HUP",
            "wait $c 2>/dev/null",
            "rc=$?",
            "kill -9 -- $w -$w 2>/dev/null",  # by group too, once it has one
            *([f"echo; echo {marker} $rc"] if marker else []),
            "exit $rc",
        ]
    )


def _follow_frames(stream: Stream, transcript: _Transcript, deadline: float) -> None:
    """Collect the frames of shell v2 up to the exit code."""
    reader = StreamReader(stream)
    while transcript.exit_code is None:
        kind, length = _FRAME.unpack(reader.exactly(_FRAME.size, deadline))
        transcript.require_room(length)
        data = reader.exactly(length, deadline)
        if kind == _STDOUT:
            transcript.stdout += data
        elif kind == _STDERR:
            transcript.stderr += data
        elif kind == _EXIT and length == 1:
            transcript.exit_code = data[0]
        else:
            raise ProtocolViolation(stream.serial, f"unknown shell frame {kind}")


def _follow_marked(stream: Stream, transcript: _Transcript, marker: str, deadline: float) -> None:
    """Collect plain output up to the line that tells the exit code."""
    while data := stream.read(deadline):
        transcript.require_room(len(data))
        transcript.stdout += data
    found = re.search(rb"\r?\n%s (\d+)\r?\n\Z" % marker.encode(), transcript.stdout)
    if found is None:
        raise ConnectionLost(stream.serial, "the phone closed the shell too early")
    transcript.exit_code = int(found[1]) & 0xFF
    del transcript.stdout[found.start() :]


def _kill_group(link: Link, group: int) -> None:
    """Kill a command with its children, and wait until they are gone.

    Raises:
        ConnectionLost: The phone does not answer any more.
        CommandTimeout: The command survives.
    """
    script = (
        f"kill -9 -- -{group}; n=0; while kill -0 -- -{group} && [ $n -lt 50 ]; "
        f"do sleep 0.05; n=$((n+1)); done; kill -0 -- -{group} || echo gone"
    )
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    answer = b""
    try:
        stream = link.open(b"exec:(" + script.encode() + b") 2>/dev/null", deadline)
        try:
            while data := stream.read(deadline):
                answer += data
        finally:
            stream.close()
    except DeviceError as error:
        what = f"cannot kill process group {group}: {error.what}"
        raise ConnectionLost(link.serial, what) from error
    if answer != b"gone\n":
        what = f"process group {group} survives SIGKILL"
        raise CommandTimeout(link.serial, what, "restart the phone")
