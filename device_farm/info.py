"""What a device is: what must be known of it before a latency measured on it means anything.

Parsers are pure functions over the text of Android's own tools. Nothing here changes between two
runs on the same build; battery.py and thermal.py hold what does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from device_farm.device import Device, require_success
from device_farm.errors import InfoUnreadable, printable

_TIMEOUT_S = 15.0
_POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
_LIST_POLICIES = f"grep -H '' {_POLICIES}/related_cpus {_POLICIES}/cpuinfo_max_freq"
_POLICY_LINE = re.compile(r"^\S*/policy(\d+)/(related_cpus|cpuinfo_max_freq):(.*)$", re.MULTILINE)
_PROPERTY = re.compile(r"^\[([^]\n]+)\]: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
# The first that a phone has: `ro.soc.model` came with Android 12.
_SOC_PROPERTIES = ("ro.soc.model", "ro.board.platform", "ro.hardware")
_MAX_CPUS = 1024


@dataclass(frozen=True, kw_only=True)
class CpuCluster:
    """CPUs that share a clock.

    Attributes:
        cpus: Their numbers, ascending; at least one.
        max_mhz: The highest clock that the hardware allows.
    """

    cpus: tuple[int, ...]
    max_mhz: float

    @property
    def mask(self) -> int:
        """The CPUs as bits, as `taskset` wants them in hexadecimal."""
        return sum(1 << cpu for cpu in self.cpus)

    def __str__(self) -> str:
        return f"{len(self.cpus)} x {self.max_mhz:.0f} MHz (mask {self.mask:x})"


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """The identity of a phone; text is safe to print.

    Attributes:
        manufacturer: Such as `Google`.
        model: Such as `Pixel 8`.
        soc: System on chip, such as `SM8550`, or what the phone calls its platform.
        fingerprint: Of the system's build; changes with every update.
        abi: The preferred instruction set, such as `arm64-v8a`.
        android: Release, such as `14`.
        sdk: API level, such as 34.
        clusters: Slowest first; empty where the phone does not tell.
    """

    manufacturer: str
    model: str
    soc: str
    fingerprint: str
    abi: str
    android: str
    sdk: int
    clusters: tuple[CpuCluster, ...]


def read_info(device: Device) -> DeviceInfo:
    """Ask a phone what it is.

    Raises:
        InfoUnreadable: Its answers make no sense.
        CommandFailed: It has no `getprop`, so it is no phone.
    """
    answer = device.run("getprop", timeout_s=_TIMEOUT_S)
    require_success(device.serial, answer, "read properties")
    policies = device.run(_LIST_POLICIES, timeout_s=_TIMEOUT_S)  # fails where there are none
    clusters = parse_clusters(device.serial, policies.text)
    return info_of_properties(device.serial, parse_properties(answer.text), clusters)


def parse_properties(text: str) -> dict[str, str]:
    """The output of `getprop`: `[name]: [value]`, where a value may have several lines."""
    return dict(_PROPERTY.findall(text.replace("\r\n", "\n")))


def parse_clusters(serial: str, text: str) -> tuple[CpuCluster, ...]:
    """The output of `grep -H '' policy*/related_cpus policy*/cpuinfo_max_freq`, slowest first.

    Raises:
        InfoUnreadable: A policy is incomplete, or two policies share a CPU.
    """
    policies: dict[str, dict[str, str]] = {}
    for policy, field, value in _POLICY_LINE.findall(text):
        policies.setdefault(policy, {})[field] = value
    clusters = [_cluster(serial, policy, fields) for policy, fields in policies.items()]
    cpus = [cpu for cluster in clusters for cpu in cluster.cpus]
    if len(cpus) != len(set(cpus)):
        raise InfoUnreadable(serial, f"a CPU is in two clusters: {sorted(cpus)}")
    return tuple(sorted(clusters, key=lambda cluster: (cluster.max_mhz, cluster.cpus)))


def info_of_properties(
    serial: str, properties: Mapping[str, str], clusters: tuple[CpuCluster, ...]
) -> DeviceInfo:
    """Pick a phone's identity out of its properties.

    Raises:
        InfoUnreadable: An essential property is absent or empty.
    """

    def first_of(*names: str) -> str:
        for name in names:
            if value := properties.get(name, "").strip():
                return printable(value)
        raise InfoUnreadable(serial, f"getprop gives no {' or '.join(names)}")

    sdk = first_of("ro.build.version.sdk")
    if re.fullmatch(r"[0-9]{1,4}", sdk) is None:
        raise InfoUnreadable(serial, f"getprop gives ro.build.version.sdk as {sdk!r}")
    return DeviceInfo(
        manufacturer=first_of("ro.product.manufacturer"),
        model=first_of("ro.product.model"),
        soc=first_of(*_SOC_PROPERTIES),
        fingerprint=first_of("ro.build.fingerprint"),
        abi=first_of("ro.product.cpu.abi"),
        android=first_of("ro.build.version.release"),
        sdk=int(sdk),
        clusters=clusters,
    )


def _cluster(serial: str, policy: str, fields: Mapping[str, str]) -> CpuCluster:
    numbers = fields.get("related_cpus", "").split()
    khz = fields.get("cpuinfo_max_freq", "").strip()
    if not numbers or not all(re.fullmatch(r"[0-9]{1,9}", number) for number in (*numbers, khz)):
        raise InfoUnreadable(serial, f"cpufreq policy{policy} reads {dict(fields)}")
    cpus = sorted({int(number) for number in numbers})
    if cpus[-1] >= _MAX_CPUS:
        raise InfoUnreadable(serial, f"cpufreq policy{policy} names CPU {cpus[-1]}")
    return CpuCluster(cpus=tuple(cpus), max_mhz=int(khz) / 1000)
