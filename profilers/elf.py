"""Whether a file is an executable for a phone's kind of CPU, seen before it is sent there.

Source: System V ABI, chapter 4 (ELF header), and the processor supplements of its machines.
"""

from __future__ import annotations

import struct
from pathlib import Path

from device_farm.errors import printable
from profilers.errors import BinaryUnavailable, BinaryUnusable

ELF_MAGIC = b"\x7fELF"
REMEDY = "give a benchmark_model for the phone with --benchmark-binary FILE"

_CLASSES = {1: "32-bit", 2: "64-bit"}
_BYTE_ORDERS = {1: "little-endian", 2: "big-endian"}
_MACHINES = {3: "x86", 40: "ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}
# Class, byte order and machine of Android's ABIs.
_ELF_OF_ABI = {
    "arm64-v8a": (2, 1, 183),
    "armeabi-v7a": (1, 1, 40),
    "x86_64": (2, 1, 62),
    "x86": (1, 1, 3),
    "riscv64": (2, 1, 243),
}
# Of the header, by class: place and size of the table of sections, which ends most files.
_SECTION_TABLES = {1: struct.Struct("<32xI10xHH"), 2: struct.Struct("<40xQ10xHH")}
_HEADER_BYTES = 64


def require_abi(path: Path, abi: str, *, is_script_allowed: bool = False) -> None:
    """Check by its header that a file is a whole executable for a phone of this ABI.

    Args:
        path: The file.
        abi: The phone's, such as `arm64-v8a`.
        is_script_allowed: Whether a script, which begins with `#!`, is taken as it is.

    Raises:
        BinaryUnusable: It is not; both sides are named.
        BinaryUnavailable: It cannot be read.
    """
    wanted = _ELF_OF_ABI.get(abi)
    if wanted is None:
        raise BinaryUnusable(
            f"the phone's ABI {printable(abi)!r} is not known here; known are "
            f"{', '.join(_ELF_OF_ABI)}"
        )
    header, size_bytes = _header(path)
    if is_script_allowed and header.startswith(b"#!"):
        return
    if not header.startswith(ELF_MAGIC) or len(header) < _HEADER_BYTES:
        raise BinaryUnusable(
            f"{path} is no executable for Android: it begins with "
            f"{printable(header[:16].decode(errors='backslashreplace'))!r}; {REMEDY}"
        )
    machine = int.from_bytes(header[18:20], "big" if header[5] == 2 else "little")
    found = (header[4], header[5], machine)
    if found != wanted:
        raise BinaryUnusable(
            f"{path} is made for {_describe(found)}, but the phone's ABI is {abi}, which is "
            f"{_describe(wanted)}; {REMEDY}"
        )
    place, entry_bytes, entries = _SECTION_TABLES[header[4]].unpack_from(header)
    if size_bytes < place + entry_bytes * entries:
        raise BinaryUnusable(
            f"{path} is cut short: {size_bytes} of at least {place + entry_bytes * entries} "
            f"bytes; {REMEDY}"
        )


def unreadable(path: Path, error: OSError) -> BinaryUnavailable:
    """The error for a file that the system does not let us read."""
    return BinaryUnavailable(
        f"cannot read {path}: {error.strerror or error}; check --benchmark-binary"
    )


def _header(path: Path) -> tuple[bytes, int]:
    """The beginning of a file, and its size in bytes."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES), path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _describe(elf: tuple[int, int, int]) -> str:
    size, byte_order, machine = elf
    return (
        f"{_MACHINES.get(machine, f'machine {machine}')} "
        f"({_CLASSES.get(size, f'class {size}')}, "
        f"{_BYTE_ORDERS.get(byte_order, f'byte order {byte_order}')})"
    )
