"""A phone on the guest's USB bus: a genuine adbd behind FunctionFS.

The kernel's `dummy_hcd` is the cable. What Android's init and USB service do is done here: the
gadget is described in configfs, FunctionFS is mounted for the daemon, and the gadget is bound
whenever the daemon has written its descriptors: after an error it closes them, at which the kernel
takes the phone off the bus, and writes them anew.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from rig_image import UID_SHELL, require_image

GADGETS = Path("/sys/kernel/config/usb_gadget")
BUSES = Path("/sys/bus/usb/devices")
FOLDER = Path("/run/phones")
PATIENCE_S = 20.0
BIND_PAUSE_S = 0.05

# Of ELF; see elf(5).
SHT_DYNSYM = 11
SHT_GNU_VERSYM = 0x6FFFFFFF
ANY_VERSION = 1

# Runs as root inside fresh namespaces and stays as their process 1.
_BOOT = f"""
ip link set lo up
mount --make-rprivate /
mount --bind "$IMAGE" "$ROOT"; cd "$ROOT"
mount --bind "$ADBD" system/bin/adbd
mount -t proc proc proc
mount -t tmpfs -o mode=0755 dev dev
for device in null zero full random urandom tty; do
    touch dev/$device; mount --bind /dev/$device dev/$device
done
mkdir -p dev/pts dev/usb-ffs/adb
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t functionfs -o rmode=0770,fmode=0660,uid={UID_SHELL},gid={UID_SHELL} "$FUNCTION" \
    dev/usb-ffs/adb
mount -t tmpfs -o mode=0771,size=64m data data
mkdir -p data/local/tmp; chown {UID_SHELL}:{UID_SHELL} data/local/tmp
hostname "$FUNCTION"
unset IMAGE ADBD ROOT FUNCTION OLDPWD
while true; do
    chroot --userspec={UID_SHELL}:{UID_SHELL} --groups= . /system/bin/sh -c '
        export PATH=/system/bin ANDROID_ROOT=/system
        exec adbd' || sleep 0.1
done
"""


class UsbPhone:
    """One phone, not yet plugged in.

    Attributes:
        serial: Its USB serial number.
        name: Its host name.
    """

    def __init__(self, serial: str, number: int) -> None:
        self.serial = serial
        self.name = f"phone{number}"
        self._udc = f"dummy_udc.{number}"
        self._gadget = GADGETS / self.name
        self._describe()
        self._process = self._boot()
        self._is_plugged = False
        self._cable = threading.Lock()
        threading.Thread(target=self._keep_bound, daemon=True).start()

    def unplug(self) -> None:
        """Pull the cable, and wait until the host's side has lost the phone."""
        with self._cable, suppress(OSError):  # it has left by itself
            self._is_plugged = False
            (Path("/sys/class/udc") / self._udc / "soft_connect").write_text("disconnect")
        self._wait_until_gone()

    def plug(self) -> None:
        """Connect the cable, and wait until the host's side sees the phone."""
        with self._cable:
            self._is_plugged = True
        _wait_until(self._is_on_bus, f"{self.name} is not on the bus")

    def stop_daemon(self) -> None:
        """Kill adbd and all that it has started, as Android does when debugging is switched off.

        It starts again, as when debugging is switched on, and comes back with `plug`.
        """
        with self._cable:
            self._is_plugged = False
        for process in self._processes():
            if not _is_of_boot(process):
                with suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)
        self._wait_until_gone()

    def power_off(self) -> None:
        """End all that runs on the phone."""
        self.stop_daemon()
        self._process.kill()
        self._process.wait()

    def node(self) -> Path:
        """The file in /dev that stands for the plugged phone."""
        for device in BUSES.iterdir():
            try:
                if (device / "serial").read_text().strip() == self.serial:
                    bus, number = (int((device / n).read_text()) for n in ("busnum", "devnum"))
                    return Path(f"/dev/bus/usb/{bus:03}/{number:03}")
            except OSError:
                continue  # no serial, or gone
        raise FileNotFoundError(f"{self.serial} is not on the bus")

    def commands(self) -> list[str]:
        """The command line of each process on the phone that adbd has started."""
        lines = [
            _command_line(process) for process in self._processes() if not _is_of_boot(process)
        ]
        return [line for line in lines if line != "adbd"]

    def _processes(self) -> list[Path]:
        """The folder in /proc of each process on the phone."""
        network = os.readlink(f"/proc/{self._process.pid}/ns/net")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended
                if os.readlink(process / "ns" / "net") == network:
                    found.append(process)
        return found

    def _describe(self) -> None:
        """Write what the phone says about itself to any host."""
        config = self._gadget / "configs" / "c.1"
        function = self._gadget / "functions" / f"ffs.{self.name}"
        for folder in (
            self._gadget / "strings" / "0x409",
            config / "strings" / "0x409",
            function,
        ):
            folder.mkdir(parents=True)
        texts = {
            "idVendor": "0x18d1",
            "idProduct": "0x4ee7",
            "strings/0x409/manufacturer": "Acme",
            "strings/0x409/product": f"Stand-in {self.name}",
            "strings/0x409/serialnumber": self.serial,
            "configs/c.1/strings/0x409/configuration": "adb",
        }
        for name, text in texts.items():
            (self._gadget / name).write_text(text)
        (config / "adb").symlink_to(function)

    def _boot(self) -> subprocess.Popen[bytes]:
        root = FOLDER / self.name
        root.mkdir(parents=True)
        with (FOLDER / f"{self.name}.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "--uts", "--ipc"),
                    *("--pid", "--fork", "--kill-child", "sh", "-euc", _BOOT),
                ],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "IMAGE": str(require_image()),
                    "ADBD": str(_adbd()),
                    "ROOT": str(root),
                    "FUNCTION": self.name,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _keep_bound(self) -> None:
        """Offer the gadget to the cable whenever it is there and the daemon serves."""
        while True:
            with self._cable, suppress(OSError):  # the daemon has not described itself yet
                if self._is_plugged and not self._is_bound():
                    (self._gadget / "UDC").write_text(self._udc)
            time.sleep(BIND_PAUSE_S)

    def _is_bound(self) -> bool:
        return (self._gadget / "UDC").read_text().strip() != ""

    def _wait_until_gone(self) -> None:
        _wait_until(lambda: not self._is_on_bus(), f"{self.name} is still on the bus")

    def _is_on_bus(self) -> bool:
        try:
            return self.node().exists()
        except FileNotFoundError:
            return False


def _adbd() -> Path:
    """Debian's adbd, made to restart its USB as on Android.

    `UsbFfsConnection::StopWorker` waits until `pthread_kill` no longer finds a thread that ended.
    In glibc it finds it for ever since 2.34, but what is asked for by no version is the older one.
    """
    program = bytearray((require_image() / "system" / "bin" / "adbd").read_bytes())
    for symbol, version_at in _symbol_versions(program):
        if symbol == b"pthread_kill":
            struct.pack_into("<H", program, version_at, ANY_VERSION)
            break
    else:
        raise ValueError("adbd does not call pthread_kill: it may need no change any more")
    path = FOLDER / "adbd"
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def _symbol_versions(program: bytearray) -> Iterator[tuple[bytes, int]]:
    """Each dynamic symbol of a 64-bit ELF file, and where in the file its version stands."""
    (table,) = struct.unpack_from("<Q", program, 40)
    size, count = struct.unpack_from("<HH", program, 58)
    sections = [struct.unpack_from("<2I4Q2I2Q", program, table + n * size) for n in range(count)]
    (versions,) = (section[4] for section in sections if section[1] == SHT_GNU_VERSYM)
    (symbols,) = (section for section in sections if section[1] == SHT_DYNSYM)
    names = sections[symbols[6]][4]
    for number in range(symbols[5] // symbols[9]):
        (name,) = struct.unpack_from("<I", program, symbols[4] + number * symbols[9])
        end = program.index(b"\0", names + name)
        yield bytes(program[names + name : end]), versions + 2 * number


def _command_line(process: Path) -> str:
    """A process's program and arguments; empty once it has ended."""
    try:
        raw = (process / "cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def _is_of_boot(process: Path) -> bool:
    line = _command_line(process)
    return line == "" or "exec adbd" in line or line.startswith("sleep 0.1")


def _wait_until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            logs = {path.name: path.read_text()[-2000:] for path in FOLDER.glob("*.log")}
            raise TimeoutError(f"{problem}: {logs}")
        time.sleep(0.05)
