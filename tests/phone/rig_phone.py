"""A stand-in phone: a genuine adbd with its own address, processes, file system and host name.

Every phone lives in its own network, mount, process and host-name namespace and sees only the
image of `rig_image` as its root. Its daemon and shells run as Android's shell user, so that
permissions bite as they do on a phone. What a phone reports about itself (properties, dumpsys,
/sys) are plain files in `state`, which a test may change while the phone runs.

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

from rig_image import UID_SHELL, RigUnavailable, require_image

PORT = 5555
DISK_MIB = 64
FAKES = Path(__file__).with_name("fakes")
FOLDER = Path("/run/pocketnas-phones")

# Runs as root inside fresh namespaces, and stays as process 1, which reaps the phone's orphans and
# with which they all die.
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
mount --bind "$STATE" vendor/fake
mount -o remount,bind,ro .
hostname "$NAME"
unset IMAGE ROOT STATE NAME ADDRESS OLDPWD
chroot --userspec={UID_SHELL}:{UID_SHELL} --groups= . /system/bin/sh -c '
    export PATH=/vendor/fake/bin:/system/bin ANDROID_ROOT=/system ADBD_PORT={PORT}
    exec adbd' &
wait
"""

PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.build.version.sdk": "34",
    "ro.build.version.release": "14",
    "ro.build.fingerprint": "acme/standin/standin:14/UP1A.1/1:user/release-keys",
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


# Even a test run that is killed leaves no process behind.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]


class StandInPhone:
    """One running phone, reached at `host:PORT`; stop it, or use it as a context manager."""

    def __init__(self) -> None:
        require_image()
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
        shutil.rmtree(FOLDER / self.name, ignore_errors=True)  # of a run that was killed
        self._root.mkdir(parents=True)
        for name, text in files.items():
            path = self.state / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        shutil.copytree(FAKES, self.state / "bin")
        for fake in (self.state / "bin").iterdir():
            fake.chmod(0o755)

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
