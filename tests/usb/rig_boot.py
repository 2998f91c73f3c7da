"""Runs a job in the guest of `rig_guest`: it boots, does it and is gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rig_guest import qemu_command, require_guest
from rig_phone import DIES_WITH_US

MEMORY_MIB = 1024
CPU = "Nehalem"  # what newer ones offer costs more to emulate than it gains


class GuestFailed(Exception):
    """The guest did not come to the job's end; the message holds what it said."""


def run_in_guest(job: str, share: Path, *, timeout_s: float) -> int:
    """Boot the guest, run a shell script in it as root and wait until it is off.

    The guest has this machine's files, of which its changes are lost, no network, and `share` as
    /run/share. The script's output is there as `output`, the guest's own as `console`.

    Args:
        job: The script.
        share: An empty folder.
        timeout_s: When to kill the guest, in seconds after its start.

    Returns:
        The script's exit code.

    Raises:
        RigUnavailable: The guest was not built.
        GuestFailed: It did not end in time, or ended without having run the job.
    """
    guest = require_guest()
    (share / "job").write_text(job)
    with (share / "console").open("wb") as console:
        process = subprocess.Popen(
            [*DIES_WITH_US, *_command(guest, share)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,  # Ctrl-C is for the tests, which then kill the guest
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GuestFailed(f"not done in {timeout_s} s: {_said(share)}") from None
        finally:
            process.kill()
            process.wait()
    exit_code = share / "exit_code"
    if not exit_code.exists():
        raise GuestFailed(f"QEMU ended with {process.returncode}: {_said(share)}")
    return int(exit_code.read_text())


def _command(guest: Path, share: Path) -> list[str]:
    machine = [
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        CPU,
        "-smp",
        str(min(os.cpu_count() or 1, 4)),
    ]
    plain = ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none"]
    kernel = ["-kernel", str(guest / "kernel"), "-initrd", str(guest / "initrd")]
    return [
        *qemu_command(guest),
        *machine,
        *("-m", str(MEMORY_MIB)),
        *plain,
        *kernel,
        *("-append", "console=ttyS0 loglevel=3 panic=-1 mitigations=off"),
        *_folder("/", "host", "readonly=on"),
        *_folder(guest / "root", "tools", "readonly=on"),
        *_folder(share, "out", "readonly=off"),
    ]


def _folder(path: Path | str, tag: str, access: str) -> list[str]:
    escaped = str(path).replace(",", ",,")
    return [
        "-virtfs",
        f"local,path={escaped},mount_tag={tag},security_model=none,multidevs=remap,{access}",
    ]


def _said(share: Path) -> str:
    """The last words of the job and of the guest."""
    texts = []
    for name in ("output", "console"):
        path = share / name
        text = path.read_text(errors="replace") if path.exists() else ""
        texts.append(f"{name}: {text[-3000:]!r}")
    return "\n".join(texts)
