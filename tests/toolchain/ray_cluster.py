"""A Ray cluster on this machine, of processes of its own, as a user would start it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent

# Ray listens on the network and reads these when it is imported, which comes after this module.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def pids_with(text: str) -> list[int]:
    """Processes that have a text in their environment, those that are dead already left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def ray_cluster(cpus: int) -> Iterator[str]:
    """The address of a cluster whose workers can import what is beside this file.

    Its environment names it (POCKETNAS_CLUSTER), and nothing of it remains.
    """
    # Not in tmp_path: the names of sockets have at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    log = folder / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
        "POCKETNAS_CLUSTER": str(folder),
    }
    command = [
        "start", "--head", "--block", "--port=0",
        f"--num-cpus={cpus}", "--include-dashboard=false", "--disable-usage-stats",
        f"--object-store-memory={100 * 2**20}", f"--temp-dir={folder}",
    ]  # fmt: skip
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "ray.scripts.scripts", *command],
            env=environment, stdout=output, stderr=output, start_new_session=True,
        ) as head,
    ):  # fmt: skip
        try:
            deadline_s = time.monotonic() + 60
            while "terminated by a signal" not in (text := log.read_text()):
                assert head.poll() is None, text
                assert time.monotonic() < deadline_s, text
                time.sleep(0.05)
            found = re.search(r"address='(\S+:\d+)'", text)
            assert found is not None, text
            yield found[1]
        finally:
            head.terminate()
            head.wait(timeout=30)
            deadline_s = time.monotonic() + 20
            while pids_with(str(folder)):
                assert time.monotonic() < deadline_s, "the cluster left processes behind"
                time.sleep(0.05)
            shutil.rmtree(folder)
