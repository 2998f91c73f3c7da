"""A stand-in phone: a genuine adbd with its own address, processes, file system and host name.

Every phone lives in its own network, mount, process and host-name namespace and sees only the
image of `rig_image` as its root. Its daemon and shells run as Android's shell user, so that
permissions bite as they do on a phone. What a phone reports about itself (properties, dumpsys,
settings, /sys) are the plain files of `rig_state`, which a test may change while the phone runs.
LiteRT lies in `/vendor/lib64`, for the stand-in benchmark_model of `rig_benchmark`.

The namespaces have no names: they live and die with the phone's processes, and these with the
test run, however it ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from rig_benchmark import runtime_library
from rig_image import UID_SHELL, RigUnavailable, require_image
from rig_state import write_state

PORT = 5555
DISK_MIB = 64
FOLDER = Path("/run/pocketnas-phones")

# Runs as root inside fresh namespaces, and stays as process 1, which reaps the phone's orphans and
# with which they all die. The phone goes before this machine's other work (`nice`), so that what
# it measures is less disturbed: a phone has its processor to itself.
_BOOT = f"""
echo ready; read -r cable
ip link set lo up
ip addr add "$ADDRESS/24" dev wlan0
ip link set wlan0 up
mount --make-rprivate /
mount --bind "$IMAGE" "$ROOT"; cd "$ROOT"
mount -t proc proc proc
mount -t tmpfs -o mode=0755 dev dev
for device in null zero full random urandom tty; do
    touch dev/$device; mount --bind /dev/$device dev/$device
done
mkdir dev/pts; mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=0771,size={DISK_MIB}m data data
touch data/vault; chmod 600 data/vault
mkdir -p data/local/tmp; chown {UID_SHELL}:{UID_SHELL} data/local/tmp
mount --bind "$STATE/sys" sys
mount -t tmpfs -o mode=0755 vendor vendor
mkdir vendor/fake vendor/lib64 vendor/turns
mount --bind "$STATE" vendor/fake
mount --bind "$TURNS" vendor/turns
touch vendor/lib64/libLiteRt.so; mount --bind "$RUNTIME" vendor/lib64/libLiteRt.so
mount -o remount,bind,ro .
mount --bind "$STATE/passwd" etc/passwd
mount --bind "$STATE/group" etc/group
hostname "$NAME"
uid=$SHELL_UID
unset IMAGE ROOT STATE TURNS RUNTIME NAME ADDRESS SHELL_UID OLDPWD
nice -n -10 chroot --userspec="$uid:$uid" --groups= . /system/bin/sh -c '
    export PATH=/vendor/fake/bin:/system/bin ANDROID_ROOT=/system ADBD_PORT={PORT}
    exec adbd' &
wait
"""

# Even a test run that is killed leaves no process behind.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]


class StandInPhone:
    """One running phone, reached at `host:PORT`; stop it, or use it as a context manager.

    Attributes:
        state: Its `/vendor/fake`; `state / "sys"` is its `/sys`.
        is_rooted: Whether its shell is root, as after `adb root` on a development build.
    """

    def __init__(self, *, is_rooted: bool = False) -> None:
        require_image()
        self.is_rooted = is_rooted
        _require_tools()
        self._lock, self.number = _take_number()
        self.name = f"phone{self.number}"
        self.host = f"10.98.{self.number}.2"
        self.state = FOLDER / self.name / "state"
        self._root = FOLDER / self.name / "root"
        self._write_state()
        self._process = self._start()
        try:
            self._boot()
        except RuntimeError:
            self.stop()
            raise

    def __enter__(self) -> StandInPhone:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def serial(self) -> str:
        """The name under which adb knows the phone."""
        return f"{self.host}:{PORT}"

    def stop(self) -> None:
        """Kill every process of the phone and give its address and folder back."""
        self._kill()
        shutil.rmtree(FOLDER / self.name)
        self._lock.close()

    def restart(self) -> None:
        """Reboot: all processes die, the disk is empty again, the address stays."""
        self._kill()
        self._process = self._start()
        self._boot()

    def empty_disk(self) -> None:
        """Delete all that the shell user could have written."""
        folder = Path(f"/proc/{self._process.pid}/root{self._root}/data/local/tmp")
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def commands(self) -> list[str]:
        """The command line of each process on the phone that its boot did not start."""
        namespace = os.readlink(f"/proc/{self._process.pid}/ns/net")
        lines = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns" / "net") != namespace:
                    continue
                raw = (process / "cmdline").read_bytes()
            except OSError:
                continue  # it ended, or is nobody's business
            lines.append(raw.replace(b"\0", b" ").decode(errors="replace").strip())
        return [line for line in lines if line != "adbd" and "exec adbd" not in line]

    def _write_state(self) -> None:
        shutil.rmtree(FOLDER / self.name, ignore_errors=True)  # of a run that was killed
        self._root.mkdir(parents=True)
        write_state(self.state, self.number)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.state / "boot.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *DIES_WITH_US,
                    *("unshare", "--net", "--mount", "--uts", "--ipc"),
                    *("--pid", "--fork", "--kill-child", "sh", "-euc", _BOOT),
                ],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "IMAGE": str(require_image()),
                    "ROOT": str(self._root),
                    "STATE": str(self.state),
                    "TURNS": str(_turns_folder()),
                    "RUNTIME": str(runtime_library()),
                    "SHELL_UID": "0" if self.is_rooted else str(UID_SHELL),
                    "NAME": self.name,
                    "ADDRESS": self.host,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the phone
            )

    def _boot(self) -> None:
        """Connect the phone to the network and wait until its daemon listens."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdout.readline() == b"ready\n":
            near, pid = f"pnphone{self.number}", str(self._process.pid)
            subprocess.run(["ip", "link", "del", near], capture_output=True, check=False)
            _ip("link", "add", near, "type", "veth", "peer", "name", "wlan0", "netns", pid)
            _ip("addr", "add", f"10.98.{self.number}.1/24", "dev", near)
            _ip("link", "set", near, "up")
            self._process.stdin.write(b"cable\n")
            self._process.stdin.flush()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection((self.host, PORT), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        log = (self.state / "boot.log").read_text(errors="replace")
        raise RuntimeError(f"{self.name} did not boot: {log[-2000:]}")

    def _kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        # the kernel removes both ends with the namespace, but some time later
        subprocess.run(
            ["ip", "link", "del", f"pnphone{self.number}"], capture_output=True, check=False
        )


def _turns_folder() -> Path:
    """One file for each CPU of this machine, which all phones share; see turns.c."""
    folder = FOLDER / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    for cpu in os.sched_getaffinity(0):
        (folder / f"cpu{cpu}").touch()
    return folder


def _require_tools() -> None:
    """Raise RigUnavailable when this user or machine cannot make namespaces."""
    for tool in ("ip", "unshare", "setpriv", "chroot"):
        if shutil.which(tool) is None:
            raise RigUnavailable(f"the phone rig needs the program `{tool}`")
    probe = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True)
    if probe.returncode != 0:
        raise RigUnavailable("the phone rig needs root: " + probe.stderr.decode().strip())


def _take_number() -> tuple[socket.socket, int]:
    """A number that no other running phone of this machine has; held as long as the socket is."""
    for number in range(2, 250):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0pocketnas-phone-{number}")  # a name without a file
        except OSError:
            lock.close()
        else:
            return lock, number
    raise RigUnavailable("all 248 phone numbers are in use")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
