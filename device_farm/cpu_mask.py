"""Which CPUs a command may use, as `taskset` wants them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from device_farm.errors import CpuMaskUnfit
from device_farm.info import CpuCluster

_HEXADECIMAL = re.compile(r"(?:0x)?([0-9a-f]{1,256})", re.IGNORECASE)


def cpu_mask(serial: str, clusters: Sequence[CpuCluster], wanted: str, threads: int) -> int | None:
    """The CPUs for a command, as bits.

    Args:
        serial: The device, for messages.
        clusters: Slowest first; empty where the device does not tell.
        wanted: `big`, the fastest cluster; `auto`, the fastest that has a CPU for each thread, or
            else as many of the fastest as it takes; `all`; or a mask in hexadecimal.
        threads: How many CPUs the command keeps busy, at least 1.

    Returns:
        The mask, or None for all CPUs; `auto` and `big` give None where no clusters are known.

    Raises:
        CpuMaskUnfit: `wanted` is nothing of that, or names a CPU that is not there.
    """
    if wanted == "all":
        return None
    if wanted not in ("auto", "big"):
        return _checked(serial, clusters, wanted)
    if not clusters:
        return None
    if wanted == "big":
        return clusters[-1].mask
    fastest_first = list(reversed(clusters))
    for cluster in fastest_first:
        if len(cluster.cpus) >= threads:
            return cluster.mask
    mask = 0
    for cluster in fastest_first:
        if mask.bit_count() < threads:
            mask |= cluster.mask
    return mask


def _checked(serial: str, clusters: Sequence[CpuCluster], wanted: str) -> int:
    """A mask in hexadecimal that names CPUs of the device, and no others."""
    there = ", ".join(map(str, clusters))
    found = _HEXADECIMAL.fullmatch(wanted)
    mask = int(found[1], 16) if found else 0
    if mask == 0:
        remedy = "give auto, big, all or a mask in hexadecimal"
        raise CpuMaskUnfit(
            serial, f"{wanted!r} is no CPU mask", f"{remedy}; it has {there}" if there else remedy
        )
    absent = mask & ~sum(cluster.mask for cluster in clusters)
    if clusters and absent:
        what = f"CPU mask {wanted} names CPUs that are not there: {absent:x}"
        raise CpuMaskUnfit(serial, what, f"choose of {there}")
    return mask
