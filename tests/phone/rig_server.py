"""Debian's adb server as a process that a test may kill and start again.

It has its own port and home, apart from any that this machine may run.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from rig_image import adb_command, require_image
from rig_phone import DIES_WITH_US

from device_farm.adb import AdbServer
from device_farm.errors import DeviceUnreachable


class RigServer:
    """An adb server; it runs from `start` to `kill`, or as a context manager.

    Attributes:
        server: Where it listens; the same after each start.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.server = AdbServer(port=free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RigServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Run it, and return once it answers."""
        self._process = subprocess.Popen(
            [*DIES_WITH_US, *self._adb(), "nodaemon", "server"],
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self.server.devices(1)
            except DeviceUnreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it at once (SIGKILL): it can say goodbye to nobody."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run Debian's adb client: `call("shell", "id")`."""
        return subprocess.run(
            [*self._adb(), *arguments],
            env=self._environment(),
            capture_output=True,
            timeout=30,
            check=False,
        )

    def _adb(self) -> list[str]:
        return [*adb_command(require_image()), "-P", str(self.server.port)]

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self._home), "PATH": os.defpath}
