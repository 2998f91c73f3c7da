from __future__ import annotations

import pytest

from device_farm.cpu_mask import cpu_mask
from device_farm.errors import CpuMaskUnfit
from device_farm.info import CpuCluster

LITTLE = CpuCluster(cpus=(0, 1, 2, 3), max_mhz=1800)
MIDDLE = CpuCluster(cpus=(4, 5, 6), max_mhz=2400)
PRIME = CpuCluster(cpus=(7,), max_mhz=2900)
CLUSTERS = (LITTLE, MIDDLE, PRIME)


@pytest.mark.parametrize(
    ("wanted", "threads", "mask"),
    [
        ("auto", 1, 0x80),
        ("auto", 3, 0x70),
        ("auto", 4, 0x0F),
        ("auto", 5, 0xFF),
        ("auto", 99, 0xFF),
        ("big", 4, 0x80),
        ("all", 1, None),
        ("f0", 1, 0xF0),
        ("0X7F", 1, 0x7F),
    ],
)
def test_a_wish_becomes_cpus_of_the_phone(wanted: str, threads: int, mask: int | None) -> None:
    assert cpu_mask("PHONE", CLUSTERS, wanted, threads) == mask


def test_the_fastest_clusters_are_joined_only_as_far_as_it_takes() -> None:
    small = CpuCluster(cpus=(0, 1), max_mhz=1800)
    fast = CpuCluster(cpus=(2, 3), max_mhz=2000)
    prime = CpuCluster(cpus=(4, 5), max_mhz=2400)
    assert cpu_mask("PHONE", (small, fast, prime), "auto", 3) == 0x3C


@pytest.mark.parametrize(("wanted", "mask"), [("auto", None), ("big", None), ("30", 0x30)])
def test_a_phone_that_hides_its_clusters_gets_what_can_be_said(
    wanted: str, mask: int | None
) -> None:
    assert cpu_mask("PHONE", (), wanted, 2) == mask


@pytest.mark.parametrize("wanted", ["100", "f00", "0", "0x", "", "-1", "bigg", "1 2", "\x1b", "٣"])
def test_another_mask_is_refused_with_what_there_is(wanted: str) -> None:
    with pytest.raises(CpuMaskUnfit, match=r"1 x 2900 MHz \(mask 80\)") as caught:
        cpu_mask("PHONE", CLUSTERS, wanted, 1)
    assert str(caught.value).isprintable()
