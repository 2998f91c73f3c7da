"""Model files on a phone, under their SHA-256: many in one push, none twice.

The name says what must be inside, so that what lies on the phone can be checked at any time:
after a cut link, a restart or a full disk only what is missing or damaged is sent again.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from device_farm.device import Device, require_success
from device_farm.errors import NoSpace

_TIMEOUT_S = 120.0
_CHECKED = re.compile(r"^([0-9a-f]{64}) [ *](?:\./)?([0-9a-f]{64})\.tflite$", re.MULTILINE)


class PhoneFiles:
    """Copies of model files in one folder of a phone."""

    def __init__(self, device: Device, folder: str) -> None:
        """Nothing is read or written yet; `folder` will hold nothing else."""
        self._device = device
        self._folder = folder
        self._there: set[str] = set()

    def path(self, local: Path) -> str:
        """Where a file's copy lies on the phone, whether it has been sent or not."""
        return self._remote(_sha256(local))

    def send(self, paths: Sequence[Path]) -> None:
        """Make sure that the phone has a copy of each file.

        Raises:
            NoSpace: The phone cannot hold them even when all others are deleted.
            PushFailed: The phone cannot store them.
        """
        wanted = {_sha256(path): path for path in paths}
        if wanted.keys() <= self._there:
            return
        try:
            self._send(wanted)
        except NoSpace:
            self.clear()
            self._send(wanted)

    def forget(self) -> None:
        """Look again what is on the phone: it was away."""
        self._there.clear()

    def clear(self) -> None:
        """Delete all copies."""
        self._there.clear()
        self._device.remove(self._folder)

    def _send(self, wanted: Mapping[str, Path]) -> None:
        folder = shlex.quote(self._folder)
        made = self._device.run(f"mkdir -p {folder}", timeout_s=_TIMEOUT_S)
        require_success(self._device.serial, made, f"make the folder {self._folder!r}")
        missing = wanted.keys() - self._intact()
        if len(missing) > 1:
            self._send_archive({digest: wanted[digest] for digest in sorted(missing)})
            missing = wanted.keys() - self._intact()
        for digest in sorted(missing):  # one by one where there is no `tar` or no `sha256sum`
            self._device.push(wanted[digest], self._remote(digest))
        self._there |= wanted.keys()

    def _send_archive(self, files: Mapping[str, Path]) -> None:
        """Send files in one push; what does not arrive whole is for `_intact` to find out."""
        remote = f"{self._folder}/batch.tar"
        with TemporaryDirectory(prefix="pocketnas-") as folder:
            archive = Path(folder) / "batch.tar"
            with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
                for digest, path in files.items():
                    tar.add(path, f"{digest}.tflite")
            self._device.push(archive, remote)
        names = shlex.quote(self._folder), shlex.quote(remote)
        self._device.run(
            "cd {} && tar xf {}; rm -f {}".format(*names, names[1]), timeout_s=_TIMEOUT_S
        )

    def _intact(self) -> set[str]:
        """The digests of the copies that hold what their names say."""
        command = f"cd {shlex.quote(self._folder)} && sha256sum ./*.tflite"
        answer = self._device.run(command, timeout_s=_TIMEOUT_S)
        return _named_by_content(_CHECKED.findall(answer.text))

    def _remote(self, digest: str) -> str:
        return f"{self._folder}/{digest}.tflite"


def _named_by_content(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {digest for digest, name in pairs if digest == name}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
