"""Debian packages for the rigs: fetched with lists and a cache of their own, never installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class RigUnavailable(Exception):
    """This machine cannot run a rig; the message is the reason to skip."""


class Apt:
    """The machine's apt with lists of its own: what the machine's own apt knows stays as it is."""

    def __init__(self, folder: Path, suite: str | None = None) -> None:
        """Fetch the lists of packages.

        Args:
            folder: Where lists and packages go; is made.
            suite: A Debian release; by default all that the machine's own sources offer.
        """
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        options = [
            f"Dir::State::lists={folder / 'lists'}",
            f"Dir::State::status={folder / 'status'}",
            f"Dir::Cache={folder / 'cache'}",
            "APT::Sandbox::User=root",
            "APT::Install-Recommends=false",
        ]
        if suite is not None:
            sources = folder / "sources.list"
            sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
            options += [f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=-"]
        self._options = [word for option in options for word in ("-o", option)]
        self._run("apt-get", "-qq", "update")

    def alone(self, packages: Sequence[str]) -> list[Path]:
        """Fetch these packages and nothing that they depend on."""
        self._run("apt-get", "-qq", "download", *packages)
        return sorted((self._folder / "debs").glob("*.deb"))

    def with_dependencies(self, packages: Sequence[str]) -> list[Path]:
        """Fetch these packages and all that they depend on."""
        self._run("apt-get", "-qq", "--yes", "--download-only", "install", *packages)
        return sorted((self._folder / "cache" / "archives").glob("*.deb"))

    def meant_by(self, name: str) -> str:
        """The first package that a package without files of its own stands for."""
        listed = self._run("apt-cache", "depends", name)
        found = re.search(r"Depends: ([^\s<]+)", listed)
        if found is None:
            raise RigUnavailable(f"apt knows no package behind {name} on this machine")
        return found[1]

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *self._options, *arguments],
            cwd=self._folder / "debs",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RigUnavailable(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def download(folder: Path, suite: str, packages: Sequence[str]) -> list[Path]:
    """Fetch packages of a Debian release, without what they depend on."""
    return Apt(folder, suite).alone(packages)


def _mirror() -> str:
    """The Debian mirror that this machine's apt uses."""
    for path in sorted(Path("/etc/apt").glob("sources.list*/debian.sources")):
        if found := re.search(r"^URIs:\s*(\S+)", path.read_text(), re.MULTILINE):
            return found[1]
    path = Path("/etc/apt/sources.list")
    if path.exists() and (found := re.search(r"^deb .*?(\S+/debian)/?\s", path.read_text(), re.M)):
        return found[1]
    raise RigUnavailable("apt names no Debian mirror on this machine")
