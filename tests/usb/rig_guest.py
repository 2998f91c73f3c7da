"""A machine with a USB bus of its own: a QEMU guest whose kernel plays both ends of the cable.

Debian's kernel has `dummy_hcd`, a USB host and a USB device controller joined back to back, and
FunctionFS, through which a phone's adbd serves its end. Neither is in most hosts' kernels, so the
kernel runs in an emulated machine; it sees this machine's files, read-only, as its own.

Packages come from this machine's own Debian release, because the guest's programs and this
machine's share one tree. They are only unpacked, into the cache: nothing is installed.

`python tests/usb/rig_guest.py` builds the guest once; it needs apt and the network.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "phone"))  # where the phone's image is made

from rig_image import image_path
from rig_packages import Apt, RigUnavailable

KERNEL = "linux-image-amd64"  # names the package of the current kernel
PACKAGES = ["qemu-system-x86", "busybox-static", "udev", "libusb-1.0-0"]
MODULES = ["virtio_pci", "9p", "9pnet_virtio", "overlay", "dummy_hcd", "libcomposite", "usb_f_fs"]
INIT = Path(__file__).with_name("inside") / "init"
# What "merged /usr" made links; tar follows them when they are there first.
MERGED = ("bin", "lib", "lib64", "sbin")


def guest_path() -> Path:
    """Where the guest lies: `guest` beside the phone's image."""
    return image_path().with_name("guest")


def require_guest() -> Path:
    """The guest's folder; raises RigUnavailable when it was not built as it is now described."""
    path = guest_path()
    recipe = path / "recipe"
    if not recipe.exists() or recipe.read_text() != _recipe():
        raise RigUnavailable(f"no guest in {path}: run `python tests/usb/rig_guest.py`")
    return path


def qemu_command(guest: Path) -> list[str]:
    """The command line that runs the unpacked QEMU through its own loader and libraries."""
    usr = guest / "root" / "usr"
    (loader,) = usr.glob("lib64/ld-linux-*.so.*")
    (libraries,) = usr.glob("lib/*-linux-gnu")
    qemu = usr / "bin" / "qemu-system-x86_64"
    firmware = [word for name in ("qemu", "seabios") for word in ("-L", str(usr / "share" / name))]
    modules = f"QEMU_MODULE_DIR={libraries / 'qemu'}"
    program = [str(loader), "--library-path", str(libraries), str(qemu)]
    return ["env", modules, *program, *firmware]


def build_guest() -> Path:
    """Download, unpack and arrange the guest, unless it is there already."""
    try:
        return require_guest()
    except RigUnavailable:
        pass
    if os.geteuid() != 0 or not all(map(shutil.which, ("apt-get", "dpkg-deb", "tar"))):
        raise RigUnavailable("the guest is built by root, on a machine with apt")
    path = guest_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="guest-") as scratch:
        built = Path(scratch) / "guest"
        (built / "root").mkdir(parents=True)
        apt = Apt(Path(scratch) / "apt")
        _unpack_merged(apt.with_dependencies(PACKAGES), built / "root")
        kernel = Path(scratch) / "kernel"
        kernel.mkdir()
        (package,) = apt.alone([apt.meant_by(KERNEL)])
        _unpack(package, kernel)
        _pack_initrd(kernel, built)
        (image,) = kernel.glob("boot/vmlinuz-*")
        shutil.move(image, built / "kernel")
        (built / "recipe").write_text(_recipe())
        if path.exists():
            path.rename(Path(scratch) / "old")
        built.rename(path)
    return path


def _recipe() -> str:
    """What tells a guest built by this file from one built by an older one."""
    return hashlib.sha256(Path(__file__).read_bytes() + INIT.read_bytes()).hexdigest()


def _unpack_merged(packages: list[Path], root: Path) -> None:
    """Unpack packages into a tree that fits over this machine's."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        _unpack(package, root)


def _unpack(package: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as deb:
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "-C", root], stdin=deb.stdout, check=True
        )
    if deb.returncode != 0:
        raise RigUnavailable(f"cannot unpack {package.name}")


def _pack_initrd(kernel: Path, built: Path) -> None:
    """Pack the first file system: busybox, the modules and the script that mounts the rest."""
    with tempfile.TemporaryDirectory(dir=kernel) as scratch:
        root = Path(scratch)
        for folder in ("bin", "dev", "host", "modules", "out", "proc", "root", "sys", "tools"):
            (root / folder).mkdir()
        busybox = built / "root" / "usr" / "bin" / "busybox"
        shutil.copy(busybox, root / "bin")
        shutil.copy(INIT, root / "init")
        (root / "init").chmod(0o755)
        for number, module in enumerate(_in_loading_order(kernel)):
            (root / "modules" / f"{number:02}-{module.name}").write_bytes(_module(module))
        names = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
        with (built / "initrd").open("wb") as initrd:
            subprocess.run(
                [busybox, "cpio", "-o", "-H", "newc"],
                input="\n".join(names).encode(),
                cwd=root,
                stdout=initrd,
                stderr=subprocess.DEVNULL,
                check=True,
            )


def _in_loading_order(kernel: Path) -> list[Path]:
    """The files of MODULES, each after those that it depends on."""
    files = {_module_name(path.name): path for path in kernel.glob("lib/modules/**/*.ko*")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in order or name not in files:
            return  # what has no file is part of the kernel itself
        found = re.search(rb"\0depends=([^\0]*)\0", _module(files[name]))
        for dependency in found[1].decode().split(",") if found else []:
            add(_module_name(dependency))
        order[name] = files[name]

    for name in MODULES:
        add(name)
    return list(order.values())


def _module_name(file: str) -> str:
    return file.partition(".ko")[0].replace("-", "_")


def _module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logging.info("guest: %s", build_guest())
    except RigUnavailable as reason:
        sys.exit(str(reason))
