"""A machine that runs arm64 code here: QEMU's user mode, Debian's C library, LiteRT for arm64.

It answers one question: does a file that this host runs compute the same on a phone's processor?
Its clock says nothing. QEMU comes from Debian trixie: version 7.2, of bookworm, shows programs the
host's /proc/cpuinfo, on which LiteRT crashes, and computes int8 networks wrongly for processors
with matrix instructions (seen with ``-cpu max``).

Debian's packages are only unpacked, into a folder; nothing is installed and root is not needed.
`python tests/arm/rig_arm.py` builds the folder once; it needs apt, pip and the network.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1] / "phone"))

from rig_image import RigUnavailable, download, image_path

EMULATOR = ("trixie", ["qemu-user"])
# The compiler, with the libraries that it runs on and those of what it compiles. Of bookworm, so
# that it starts on machines with that or a newer C library.
COMPILER = (
    "bookworm",
    [
        "binutils-aarch64-linux-gnu",
        "cpp-12-aarch64-linux-gnu",
        "gcc-12-aarch64-linux-gnu",
        "libbinutils",
        "libc6-arm64-cross",
        "libc6-dev-arm64-cross",
        "libgcc-12-dev-arm64-cross",
        "libgcc-s1-arm64-cross",
        "libgmp10",
        "libisl23",
        "libjansson4",
        "libmpc3",
        "libmpfr6",
        "libstdc++6-arm64-cross",
        "linux-libc-dev-arm64-cross",
    ],
)
RUNNER_SOURCE = Path(__file__).with_name("parity_runner.c")
TIMEOUT_S = 120


def litert_version() -> str:
    """The version that the project is tested with."""
    constraints = Path(__file__).parents[2] / "constraints.txt"
    pin = re.search(r"^ai-edge-litert==(\S+)$", constraints.read_text(), re.MULTILINE)
    assert pin, f"{constraints} pins no ai-edge-litert"
    return pin[1]


def machine_path() -> Path:
    """Where the machine lies: `$POCKETNAS_CACHE/arm64-litert-VERSION`, by default in ~/.cache."""
    return image_path().with_name(f"arm64-litert-{litert_version()}")


def require_machine() -> Path:
    """The machine's folder; raises RigUnavailable when it was not built."""
    path = machine_path()
    if not path.exists():
        raise RigUnavailable(f"no arm64 machine in {path}: run `python tests/arm/rig_arm.py`")
    return path


def build_machine() -> Path:
    """Download and unpack the machine, unless it is there already."""
    path = machine_path()
    if path.exists():
        return path
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise RigUnavailable("the arm64 machine is built on a machine with apt")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="arm64-") as scratch:
        folder = Path(scratch)
        root = folder / "root"
        root.mkdir()
        _unpack(download(folder / "compiler", *COMPILER), root)
        _unpack(download(folder / "emulator", *EMULATOR), folder / "emulator")
        shutil.copy(folder / "emulator" / "usr" / "bin" / "qemu-aarch64", root)
        _download_litert(folder / "litert", root)
        root.rename(path)
    return path


def _unpack(packages: list[Path], root: Path) -> None:
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)


def _download_litert(folder: Path, root: Path) -> None:
    """The library out of the wheel for arm64; that of any version of Python holds the same one."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    platform = ["--only-binary=:all:", "--platform=manylinux_2_27_aarch64"]
    python = ["--python-version=3.11", "--no-deps", f"--dest={folder}"]
    wheel = f"ai-edge-litert=={litert_version()}"
    subprocess.run([*pip, *platform, *python, wheel], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive, (root / "libLiteRt.so").open("wb") as library:
        library.write(archive.read("ai_edge_litert/libLiteRt.so"))


class ArmMachine:
    """Runs TFLite files on an emulated processor."""

    def __init__(self, scratch: Path) -> None:
        """Compile the runner into an empty folder; raises RigUnavailable without the machine."""
        self._root = require_machine()
        self._scratch = scratch
        self._runner = scratch / "parity_runner"
        libraries = map(str, sorted((self._root / "usr" / "lib").glob("*-linux-gnu")))
        subprocess.run(
            [
                self._root / "usr" / "bin" / "aarch64-linux-gnu-gcc-12",
                f"--sysroot={self._root}",
                *("-O1", "-Wall", "-Wextra", "-Werror"),
                *("-o", self._runner, RUNNER_SOURCE),
            ],
            check=True,
            env={"LD_LIBRARY_PATH": ":".join(libraries)},
        )

    def start(
        self, cpu: str, model: Path, inputs: Path, outputs: Path
    ) -> subprocess.CompletedProcess[str]:
        """Call the runner; a processor is named as QEMU names it."""
        return subprocess.run(
            [
                self._root / "qemu-aarch64",
                *("-cpu", cpu, "-L", self._root / "usr" / "aarch64-linux-gnu"),
                self._runner,
                *(self._root / "libLiteRt.so", model, inputs, outputs),
            ],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )

    def run(
        self, cpu: str, model: Path, inputs: npt.NDArray[np.generic], dtype: npt.DTypeLike
    ) -> npt.NDArray[np.generic]:
        """The outputs of a model as one row for each input, of an element type that is known."""
        files = [self._scratch / name for name in ("inputs", "outputs")]
        inputs.tofile(files[0])
        ended = self.start(cpu, model, *files)
        assert ended.returncode == 0, f"status {ended.returncode}: {ended.stderr}"
        return np.fromfile(files[1], dtype).reshape(len(inputs), -1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logging.info("arm64 machine: %s", build_machine())
    except RigUnavailable as reason:
        sys.exit(str(reason))
