"""Where the `benchmark_model` for a phone comes from, and whether it fits the phone.

In this order: a file that the user names, the cache, the bucket from which Google's LiteRT CLI
fetches it. Measurements of two builds are not comparable, so that a file is known by its SHA-256,
and the fetched one is of the version of the LiteRT that is installed here.

Source: google-ai-edge/LiteRT-CLI, litert_cli/core/constants.py (base URL, version, folder), which
documents arm64 only; `android_x86_64` holds other files of LiteRT, hence perhaps this one. What
lies there is built from litert/tools of google-ai-edge/LiteRT; the one from tflite/tools, which
knows more flags, must be named by the user.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import secrets
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_farm.errors import printable
from profilers.download import DownloadLimits, Progress, download
from profilers.elf import ELF_MAGIC, REMEDY, require_abi, unreadable
from profilers.errors import BinaryUnavailable, BinaryUnusable, RuntimeUnavailable
from profilers.litert_library import DISTRIBUTION, REQUIREMENT

logger = logging.getLogger(__name__)

BASE_URL = "https://storage.googleapis.com/litert/binaries"
URL_VARIABLE = "POCKETNAS_BENCHMARK_URL"
CACHE_VARIABLE = "POCKETNAS_CACHE"
UNKNOWN_VERSION = "unknown"

_NAME = "benchmark_model"
_FOLDERS = {"arm64-v8a": "android_arm64", "x86_64": "android_x86_64"}
# 1: url, version, size_bytes, sha256.
_RECORD_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class BenchmarkBinary:
    """An executable `benchmark_model` on this machine.

    Attributes:
        path: The file.
        sha256: Of its content, in hexadecimal.
        version: Of the LiteRT that it was built from, such as `2.3.0`; `unknown` for a file of
            the user's.
        source: `file`, or the URL that it was fetched from.
    """

    path: Path
    sha256: str
    version: str
    source: str


def find_benchmark_binary(
    abi: str,
    *,
    path: Path | None = None,
    base_url: str | None = None,
    limits: DownloadLimits | None = None,
    progress: Progress | None = None,
) -> BenchmarkBinary:
    """Find the `benchmark_model` for a phone, fetching it into the cache when it is not there.

    Args:
        abi: The phone's, such as `arm64-v8a`.
        path: A file of the user's; nothing else is tried when it is given. It may be a script of
            the phone's shell, whose content is not looked at.
        base_url: Where `VERSION/android_arm64/benchmark_model` lies; by default
            `$POCKETNAS_BENCHMARK_URL`, else Google's bucket.
        limits: Of the download.
        progress: Told about the bytes that arrive.

    Raises:
        BinaryUnavailable: The file is not there, or cannot be fetched.
        BinaryUnusable: It is no executable of this ABI, or cut short.
        RuntimeUnavailable: LiteRT is not installed, so that no version is known.
    """
    if path is not None:
        digest = _sha256(path)
        require_abi(path, abi, is_script_allowed=True)
        return BenchmarkBinary(path=path, sha256=digest, version=UNKNOWN_VERSION, source="file")
    version = _litert_version()
    url = _url(abi, version, base_url or os.environ.get(URL_VARIABLE) or BASE_URL)
    # Mirrors may serve other builds, so that each URL has its own place.
    place = hashlib.sha256(url.encode()).hexdigest()[:8]
    cached = _cache_dir() / _NAME / f"{version}-{_FOLDERS[abi]}-{place}" / _NAME
    binary = _read_cached(cached, url, version)
    if binary is None:
        binary = _fetch(cached, url, version, limits or DownloadLimits(), progress)
    try:
        require_abi(binary.path, abi)
    except BinaryUnusable:
        binary.path.unlink(missing_ok=True)  # else it would be found again
        raise
    return binary


def _litert_version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise RuntimeUnavailable(
            f"{DISTRIBUTION} is not installed, so that it is not known which benchmark_model "
            f"fits; install it with: pip install '{REQUIREMENT}'"
        ) from error


def _url(abi: str, version: str, base_url: str) -> str:
    folder = _FOLDERS.get(abi)
    if folder is None:
        raise BinaryUnavailable(f"no benchmark_model is published for {printable(abi)}; {REMEDY}")
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BinaryUnavailable(
            f"{printable(base_url)!r} is no web address to fetch benchmark_model from; correct "
            f"${URL_VARIABLE}, or {REMEDY}"
        )
    return f"{base_url.rstrip('/')}/{version}/{folder}/{_NAME}"


def _cache_dir() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/pocketnas").expanduser()


def _read_cached(path: Path, url: str, version: str) -> BenchmarkBinary | None:
    """The file that was fetched before, if it is still what was fetched."""
    try:
        record: Any = json.loads(_record_path(path).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("schema") != _RECORD_SCHEMA:
        return None
    try:
        digest = _sha256(path)
    except BinaryUnavailable:
        return None
    if digest != record.get("sha256"):
        logger.warning("%s is not what was fetched (SHA-256 %s); fetching it anew", path, digest)
        return None
    return BenchmarkBinary(path=path, sha256=digest, version=version, source=url)


def _fetch(
    path: Path, url: str, version: str, limits: DownloadLimits, progress: Progress | None
) -> BenchmarkBinary:
    """Fetch the file and write down what it is; another process may do the same meanwhile."""
    logger.info("fetching %s", url)
    partial = path.with_name(f".{_NAME}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(url, partial, limits=limits, progress=progress)
            _require_elf(partial, url)
            binary = BenchmarkBinary(
                path=path, sha256=_sha256(partial), version=version, source=url
            )
            partial.chmod(0o755)
            os.replace(partial, path)
            partial.write_text(_record(binary))
            os.replace(partial, _record_path(path))
        finally:
            partial.unlink(missing_ok=True)
    except BinaryUnavailable as error:
        raise BinaryUnavailable(f"{error}; {REMEDY}") from error
    except OSError as error:
        raise BinaryUnavailable(
            f"cannot keep benchmark_model in {path.parent}: {error.strerror or error}; free some "
            f"space, set ${CACHE_VARIABLE} to another folder, or {REMEDY}"
        ) from error
    return binary


def _record(binary: BenchmarkBinary) -> str:
    """What is known of a fetched file, as text of a JSON file beside it."""
    record = {
        "schema": _RECORD_SCHEMA,
        "url": binary.source,
        "version": binary.version,
        "size_bytes": binary.path.stat().st_size,
        "sha256": binary.sha256,
    }
    return json.dumps(record, indent=2) + "\n"


def _require_elf(path: Path, url: str) -> None:
    """Refuse the page of a proxy or a login, which comes with status 200."""
    with path.open("rb") as file:
        start = file.read(16)
    if not start.startswith(ELF_MAGIC):
        shown = printable(start.decode(errors="backslashreplace"))
        raise BinaryUnavailable(
            f"{url} gives no executable but a file that begins with {shown!r}, perhaps the page "
            "of a proxy or a login"
        )


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
