"""The root file system of a stand-in phone: AOSP's own daemon, shell and tools, from Debian.

Debian builds `adbd`, `mksh` (Android's shell) and `toybox` (Android's tools) from AOSP's sources.
Their packages are only unpacked, into a folder that phones then use as their root: nothing is
installed and no service is enabled, because Debian's `adbd` unit would serve an unauthenticated
root shell to the whole network. The same folder holds Debian's `adb`, the independent client.

`python tests/phone/rig_image.py` builds the image once; it needs apt and the network.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rig_packages import RigUnavailable as RigUnavailable
from rig_packages import download as download

SUITE = "trixie"  # the first Debian release with adbd
PACKAGES = [
    "adb",
    "adbd",
    "android-libbase",
    "android-libboringssl",
    "android-libcutils",
    "android-liblog",
    "android-libziparchive",
    "libbrotli1",
    "libc6",
    "libcap2",
    "libcrypt1",
    "libgcc-s1",
    "liblz4-1",
    "libprotobuf32t64",
    "libstdc++6",
    "libsystemd0",
    "libudev1",
    "libusb-1.0-0",
    "libxxhash0",
    "libzstd1",
    "mksh",
    "toybox",
    "zlib1g",
]
UID_SHELL = 2000  # Android's uid of the shell user


Adb = Callable[..., "subprocess.CompletedProcess[bytes]"]  # Debian's client: adb("shell", "id")


def image_path() -> Path:
    """Where the image lies: `$POCKETNAS_CACHE/adbd`, by default `~/.cache/pocketnas/adbd`."""
    default = Path.home() / ".cache" / "pocketnas"
    return Path(os.environ.get("POCKETNAS_CACHE") or default) / "adbd"


def require_image() -> Path:
    """The image's folder; raises RigUnavailable when it was not built."""
    path = image_path()
    if not (path / "system" / "bin" / "adbd").exists():
        raise RigUnavailable(f"no phone image in {path}: run `python tests/phone/rig_image.py`")
    return path


def adb_command(image: Path) -> list[str]:
    """The command line that runs Debian's adb through the image's own loader and libraries."""
    (libraries,) = (image / "usr" / "lib").glob("*-linux-gnu*/android")
    (loader,) = (image / "usr").glob("lib*/ld-linux-*.so.*")
    adb = image / "usr" / "lib" / "android-sdk" / "platform-tools" / "adb"
    return [str(loader), "--library-path", f"{libraries}:{libraries.parent}", str(adb)]


def build_image() -> Path:
    """Download, unpack and arrange the image, unless it is there already."""
    try:
        return require_image()
    except RigUnavailable:
        pass
    if os.geteuid() != 0 or not all(map(shutil.which, ("apt-get", "dpkg-deb", "chroot"))):
        raise RigUnavailable("the phone image is built by root, on a machine with apt")
    path = image_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="adbd-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        for package in download(Path(scratch) / "apt", SUITE, PACKAGES):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        _arrange(root)
        root.rename(path)
    return path


def _arrange(root: Path) -> None:
    """Turn unpacked packages into an Android-like tree: /system/bin, /bin, empty mount points."""
    binaries = root / "system" / "bin"
    binaries.mkdir(parents=True)
    shutil.copy(root / "usr" / "bin" / "mksh", binaries / "sh")
    shutil.copy(root / "usr" / "bin" / "toybox", binaries / "toybox")
    shutil.copy(root / "usr" / "lib" / "android-sdk" / "platform-tools" / "adbd", binaries)
    for library in root.glob("usr/lib*"):
        (root / library.name).symlink_to(library.relative_to(root))
    (root / "bin").symlink_to("system/bin")
    for folder in ("data", "dev", "proc", "sys", "vendor/fake"):
        (root / folder).mkdir(parents=True)
    (root / "etc" / "passwd").write_text(f"shell:x:{UID_SHELL}:{UID_SHELL}::/:/bin/sh\n")
    (root / "etc" / "group").write_text(f"shell:x:{UID_SHELL}:\n")
    listed = subprocess.run(
        ["chroot", root, "/system/bin/toybox"], check=True, capture_output=True, text=True
    )
    for tool in listed.stdout.split():
        if not (binaries / tool).exists():
            (binaries / tool).symlink_to("toybox")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logging.info("phone image: %s", build_image())
    except RigUnavailable as reason:
        sys.exit(str(reason))
