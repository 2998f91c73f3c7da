"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, 10 classes.

Source: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms,
arXiv 1708.07747. License MIT.

The files come from, in this order: the folder that the user names, the cache, the installed
Debian package, that package fetched into the cache (no root needed), the authors' web site.
Checksums are of the *decompressed* files, because Debian compresses them anew: the bytes inside
are the authors' own.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import os
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.atomic import atomic_path
from toolchain.errors import DataUnusable
from toolchain.tasks.cache import cache_dir
from toolchain.tasks.classification import ClassificationData, assemble

logger = logging.getLogger(__name__)

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SHA256_OF_CONTENT = {
    "train-images-idx3-ubyte.gz": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte.gz": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
INSTALLED_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
WEB_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
COMMAND_TIMEOUT_S = 300.0
DOWNLOAD_TIMEOUT_S = 30.0

IMAGES_HEADER_BYTES = 16
LABELS_HEADER_BYTES = 8


def load_fashion_mnist(
    path: Path | None = None, image_size: int | None = None
) -> ClassificationData:
    """Load Fashion-MNIST, fetching it into the cache when this machine does not have it.

    Args:
        path: Folder with the four `*.gz` files; nothing else is tried when it is given.
        image_size: Rows and columns to resize the images to; 28 when None.

    Raises:
        DataUnusable: The files cannot be had anywhere, or are not the published ones.
    """
    if path is not None:
        return _read(path, image_size)
    tried: list[str] = []
    sources: tuple[tuple[str, Callable[[], Path]], ...] = (
        ("cache", _cache_folder),
        ("installed Debian package", lambda: INSTALLED_FOLDER),
        ("Debian package fetched into the cache", _fetch_debian_package),
        ("web site", _fetch_from_web_site),
    )
    for source, find in sources:
        try:
            data = _read(find(), image_size)
        except DataUnusable as problem:
            tried.append(f"  {source}: {problem}")
            continue
        logger.info("Fashion-MNIST from the %s", source)
        return data
    raise DataUnusable(
        "Fashion-MNIST was not found and could not be fetched. Tried:\n"
        + "\n".join(tried)
        + f"\nInstall the Debian package {DEBIAN_PACKAGE}, or give a folder that holds "
        + ", ".join(SHA256_OF_CONTENT)
    )


def _read(folder: Path, image_size: int | None) -> ClassificationData:
    if not folder.is_dir():
        raise DataUnusable(f"{folder} is not a folder; check --data")
    content = {name: _verified_content(folder / name) for name in SHA256_OF_CONTENT}

    def part(prefix: str) -> tuple[Tensor, Tensor]:
        images_NHW = torch.frombuffer(
            content[f"{prefix}-images-idx3-ubyte.gz"],
            dtype=torch.uint8,
            offset=IMAGES_HEADER_BYTES,
        ).view(-1, 28, 28)
        labels_N = torch.frombuffer(
            content[f"{prefix}-labels-idx1-ubyte.gz"],
            dtype=torch.uint8,
            offset=LABELS_HEADER_BYTES,
        ).long()
        return _resized(images_NHW.unsqueeze(1), image_size), labels_N

    return assemble("fashion-mnist", train=part("train"), test=part("t10k"), classes=CLASSES)


def _verified_content(file: Path) -> bytearray:
    try:
        content = bytearray(gzip.decompress(file.read_bytes()))
    except FileNotFoundError:
        raise DataUnusable(f"{file} is missing") from None
    except (OSError, EOFError, zlib.error) as problem:
        raise DataUnusable(f"{file} cannot be read ({problem}): fetch it again") from problem
    found, expected = hashlib.sha256(content).hexdigest(), SHA256_OF_CONTENT[file.name]
    if found != expected:
        raise DataUnusable(
            f"{file} is not the published file: sha256 of its content is {found}, "
            f"not {expected}: fetch it again"
        )
    return content


def _resized(images_NCHW: Tensor, image_size: int | None) -> Tensor:
    if image_size is None or image_size == images_NCHW.shape[-1]:
        return images_NCHW
    # Piece by piece: as float the whole set would take four times its memory.
    pieces = [
        F.interpolate(piece.float(), size=image_size, mode="bilinear", antialias=True)
        .round()
        .clamp(0, 255)
        .byte()
        for piece in torch.split(images_NCHW, 4096)
    ]
    return torch.cat(pieces)


def _cache_folder() -> Path:
    return cache_dir() / "fashion-mnist"


def _fetch_debian_package() -> Path:
    with tempfile.TemporaryDirectory(prefix="pocketnas-") as name:
        folder = Path(name)
        try:
            _call("apt-get", "download", DEBIAN_PACKAGE, folder=folder)
        except DataUnusable:
            # A fresh container has no package lists yet; only root may fetch them.
            if os.geteuid() != 0:
                raise
            _call("apt-get", "update", folder=folder)
            _call("apt-get", "download", DEBIAN_PACKAGE, folder=folder)
        (package,) = folder.glob("*.deb")
        _call("dpkg", "-x", package.name, "content", folder=folder)
        unpacked = folder / "content" / INSTALLED_FOLDER.relative_to("/")
        for file in unpacked.glob("*.gz"):
            with atomic_path(_cache_folder() / file.name) as temporary:
                temporary.write_bytes(file.read_bytes())
    return _cache_folder()


def _call(*command: str, folder: Path) -> None:
    line = " ".join(command)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
    except FileNotFoundError:
        raise DataUnusable(f"this system has no {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise DataUnusable(f"`{line}` took more than {COMMAND_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).replace("\n", " ")
        raise DataUnusable(f"`{line}` failed with exit code {done.returncode}: {reason}")


def _fetch_from_web_site() -> Path:
    for file in SHA256_OF_CONTENT:
        url = WEB_SITE + file
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
                content = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            raise DataUnusable(f"{url}: {problem}") from problem
        with atomic_path(_cache_folder() / file) as temporary:
            temporary.write_bytes(content)
    return _cache_folder()
