"""A stand-in phone: a genuine adbd with its own address, processes, file system and host name.

Every phone lives in its own network, mount, process and host-name namespace and sees only the
image of `rig_image` as its root. Its daemon and shells run as Android's shell user, so that
permissions bite as they do on a phone. What a phone reports about itself (properties, dumpsys,
/sys) are plain files in `state`, which a test may change while the phone runs.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from rig_image import UID_SHELL, RigUnavailable, require_image

PORT = 5555
DISK_MIB = 64
FAKES = Path(__file__).with_name("fakes")

# Runs as root inside fresh namespaces, and stays as process 1, which reaps the phone's orphans and
# with which they all die.
_BOOT = f"""
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
mount --bind "$STATE" vendor/fake
mount -o remount,bind,ro .
hostname "$NAME"
unset IMAGE ROOT STATE
chroot --userspec={UID_SHELL}:{UID_SHELL} --groups= . /system/bin/sh -c '
    export PATH=/vendor/fake/bin:/system/bin ANDROID_ROOT=/system ADBD_PORT={PORT}
    exec adbd' &
wait
"""

PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.build.version.sdk": "34",
    "ro.build.version.release": "14",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.soc.model": "SM8550",
}
THERMAL_SERVICE = """IsStatusOverride: false
Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=24.7, mType=3, mName=SKIN, mStatus=0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  temperature: 284
"""
THERMAL_ZONES = {"cpu-0-0": 33300, "gpuss-0": 31000, "skin-therm": 29500}
CPU_POLICIES = {"policy0": ("0 1 2 3", 1_800_000), "policy4": ("4 5 6 7", 2_800_000)}


class StandInPhone:
    """One running phone, reached at `host:PORT`; stop it, or use it as a context manager."""

    def __init__(self) -> None:
        image = require_image()
        _require_tools()
        self._lock, self.number = _take_number()
        self.name = f"phone{self.number}"
        self.host = f"10.98.{self.number}.2"
        self.state = Path(tempfile.mkdtemp(prefix=f"pocketnas-{self.name}-"))
        self._root = Path(tempfile.mkdtemp(prefix=f"pocketnas-{self.name}-root-"))
        self._write_state()
        self._make_network()
        self._process = self._boot(image)
        try:
            self._wait_until_listening()
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
        """Kill every process of the phone and give its network and folders back."""
        self._process.kill()
        self._process.wait()
        self._drop_network()
        shutil.rmtree(self.state)
        self._root.rmdir()
        self._lock.close()

    def restart(self, image: Path | None = None) -> None:
        """Reboot: all processes die, the disk is empty again, the address stays."""
        self._process.kill()
        self._process.wait()
        self._process = self._boot(image or require_image())
        self._wait_until_listening()

    def commands(self) -> list[str]:
        """The command line of each process on the phone that its boot did not start."""
        pids = subprocess.run(
            ["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=True
        )
        lines = []
        for pid in pids.stdout.split():
            try:
                raw = Path("/proc", pid, "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            lines.append(raw.replace(b"\0", b" ").decode(errors="replace").strip())
        return [line for line in lines if line != "adbd" and "exec adbd" not in line]

    @property
    def _namespace(self) -> str:
        return f"pocketnas{self.number}"

    def _write_state(self) -> None:
        properties = PROPERTIES | {
            "ro.product.model": f"Stand-in {self.number}",
            "ro.serialno": f"STANDIN{self.number}",
        }
        lines = [f"[{name}]: [{value}]\n" for name, value in properties.items()]
        files = {
            "properties": "".join(lines),
            "dumpsys/thermalservice": THERMAL_SERVICE,
            "dumpsys/battery": BATTERY,
        }
        for number, (kind, millicelsius) in enumerate(THERMAL_ZONES.items()):
            zone = f"sys/class/thermal/thermal_zone{number}"
            files |= {f"{zone}/type": f"{kind}\n", f"{zone}/temp": f"{millicelsius}\n"}
        for policy, (cpus, khz) in CPU_POLICIES.items():
            folder = f"sys/devices/system/cpu/cpufreq/{policy}"
            files |= {
                f"{folder}/related_cpus": f"{cpus}\n",
                f"{folder}/cpuinfo_max_freq": f"{khz}\n",
                f"{folder}/scaling_cur_freq": f"{khz}\n",
                f"{folder}/scaling_governor": "schedutil\n",
            }
        for name, text in files.items():
            path = self.state / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        shutil.copytree(FAKES, self.state / "bin")
        for fake in (self.state / "bin").iterdir():
            fake.chmod(0o755)
        self.state.chmod(0o755)

    def _make_network(self) -> None:
        near, far = f"pnh{self.number}", f"pnp{self.number}"
        self._drop_network()  # of a run that was killed
        _ip("netns", "add", self._namespace)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self._namespace)
        _ip("addr", "add", f"10.98.{self.number}.1/24", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", self._namespace, "link", "set", "lo", "up")
        _ip("-n", self._namespace, "addr", "add", f"{self.host}/24", "dev", far)
        _ip("-n", self._namespace, "link", "set", far, "up")

    def _drop_network(self) -> None:
        # the link first: with the namespace alone the kernel removes it some time later
        for command in (["link", "del", f"pnh{self.number}"], ["netns", "del", self._namespace]):
            subprocess.run(["ip", *command], capture_output=True, check=False)

    def _boot(self, image: Path) -> subprocess.Popen[bytes]:
        with (self.state / "boot.log").open("wb") as log:
            return subprocess.Popen(
                [
                    # a killed test run leaves no phone behind
                    *("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._namespace),
                    *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
                    *("sh", "-euc", _BOOT),
                ],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "IMAGE": str(image),
                    "ROOT": str(self._root),
                    "STATE": str(self.state),
                    "NAME": self.name,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _wait_until_listening(self) -> None:
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


def _require_tools() -> None:
    """Raise RigUnavailable when this user or machine cannot make namespaces."""
    for tool in ("ip", "unshare", "setpriv", "chroot"):
        if shutil.which(tool) is None:
            raise RigUnavailable(f"the phone rig needs the program `{tool}`")
    probe = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True)
    if probe.returncode != 0:
        raise RigUnavailable("the phone rig needs root: " + probe.stderr.decode().strip())


def _take_number() -> tuple[IO[str], int]:
    """A number that no other running phone of this machine has; held as long as the file is."""
    for number in range(2, 250):
        path = Path(tempfile.gettempdir(), f"pocketnas-phone-{number}.lock")
        lock = path.open("w")  # held until the phone stops
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return lock, number
    raise RigUnavailable("all 248 phone numbers are in use")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
