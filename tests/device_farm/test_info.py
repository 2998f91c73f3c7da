from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_farm.errors import CommandFailed, InfoUnreadable
from device_farm.host import HostDevice
from device_farm.info import (
    CpuCluster,
    info_of_properties,
    parse_clusters,
    parse_properties,
    read_info,
)

GETPROP = """[persist.notes]: [first line
second [line] of it]
[ro.board.platform]: [kalama]
[ro.build.fingerprint]: [acme/rocket/rocket:14/UP1A.231005.007/7:user/release-keys]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.empty]: []
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.manufacturer]: [Acme]
[ro.product.model]: [Rocket 3]
[ro.soc.model]: [SM8550]
"""
POLICIES = """\
/sys/devices/system/cpu/cpufreq/policy0/related_cpus:0 1 2
/sys/devices/system/cpu/cpufreq/policy3/related_cpus:3 4 5 6
/sys/devices/system/cpu/cpufreq/policy7/related_cpus:7
/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq:2016000
/sys/devices/system/cpu/cpufreq/policy3/cpuinfo_max_freq:2803200
/sys/devices/system/cpu/cpufreq/policy7/cpuinfo_max_freq:3187200
"""


def test_a_phone_is_known_by_its_properties_and_clusters() -> None:
    clusters = parse_clusters("PHONE", POLICIES)
    info = info_of_properties("PHONE", parse_properties(GETPROP), clusters)
    assert (info.manufacturer, info.model, info.soc) == ("Acme", "Rocket 3", "SM8550")
    assert (info.abi, info.android, info.sdk) == ("arm64-v8a", "14", 34)
    assert info.fingerprint.startswith("acme/rocket")
    assert [cluster.mask for cluster in info.clusters] == [0x07, 0x78, 0x80]
    assert [str(cluster) for cluster in info.clusters] == [
        "3 x 2016 MHz (mask 7)",
        "4 x 2803 MHz (mask 78)",
        "1 x 3187 MHz (mask 80)",
    ]


def test_a_property_may_have_several_lines() -> None:
    properties = parse_properties(GETPROP)
    assert properties["persist.notes"] == "first line\nsecond [line] of it"
    assert properties["ro.empty"] == ""
    assert len(properties) == 10


def test_line_ends_of_old_phones_are_no_part_of_a_value() -> None:
    assert parse_properties(GETPROP.replace("\n", "\r\n")) == parse_properties(GETPROP)


def test_the_platform_stands_in_for_the_soc_before_android_12() -> None:
    properties = parse_properties(GETPROP)
    del properties["ro.soc.model"]
    assert info_of_properties("PHONE", properties, ()).soc == "kalama"


@pytest.mark.parametrize("name", ["ro.product.model", "ro.build.fingerprint"])
def test_a_missing_property_is_named(name: str) -> None:
    properties = parse_properties(GETPROP) | {name: " "}
    with pytest.raises(InfoUnreadable, match=f"PHONE: getprop gives no {name}"):
        info_of_properties("PHONE", properties, ())


@pytest.mark.parametrize("sdk", ["thirty", "-1", "34.5", "9" * 5000])
def test_an_odd_sdk_is_refused(sdk: str) -> None:
    properties = parse_properties(GETPROP) | {"ro.build.version.sdk": sdk}
    with pytest.raises(InfoUnreadable, match=r"ro\.build\.version\.sdk"):
        info_of_properties("PHONE", properties, ())


def test_a_model_cannot_steer_a_terminal() -> None:
    properties = parse_properties(GETPROP) | {"ro.product.model": "\x1b[2Jowned\x07"}
    assert info_of_properties("PHONE", properties, ()).model == r"\x1b[2Jowned\x07"


def test_the_slowest_cluster_comes_first_whatever_its_number() -> None:
    text = "/x/policy0/related_cpus:0\n/x/policy1/related_cpus:1\n"
    text += "/x/policy0/cpuinfo_max_freq:3000000\n/x/policy1/cpuinfo_max_freq:1000000\n"
    assert [cluster.cpus for cluster in parse_clusters("PHONE", text)] == [(1,), (0,)]


def test_a_phone_that_hides_its_policies_has_no_clusters() -> None:
    assert parse_clusters("PHONE", "grep: policy*: Permission denied\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        POLICIES.replace("cpuinfo_max_freq:2016000", "scaling_max_freq:2016000"),
        POLICIES.replace("2016000", "fast"),
        POLICIES.replace(":0 1 2\n", ":\n"),
        POLICIES.replace(":0 1 2\n", ":0 -1\n"),
        POLICIES.replace(":0 1 2\n", ":999999999\n"),
        POLICIES.replace(":7\n", ":6\n"),
    ],
    ids=["no clock", "odd clock", "no CPUs", "negative CPU", "too many CPUs", "shared CPU"],
)
def test_contradictory_policies_are_refused(text: str) -> None:
    with pytest.raises(InfoUnreadable):
        parse_clusters("PHONE", text)


def test_a_machine_without_getprop_is_no_phone() -> None:
    with pytest.raises(CommandFailed, match="cannot read properties"):
        read_info(HostDevice())


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(300_000, 5_000_000)), min_size=1, max_size=5)
)
def test_every_cpu_is_in_the_cluster_that_lists_it(sizes: list[tuple[int, int]]) -> None:
    text, wanted, first = "", set(), 0
    for size, khz in sizes:
        cpus = tuple(range(first, first + size))
        text += f"/x/policy{first}/related_cpus:{' '.join(map(str, cpus))}\n"
        text += f"/x/policy{first}/cpuinfo_max_freq:{khz}\n"
        wanted.add(CpuCluster(cpus=cpus, max_mhz=khz / 1000))
        first += size
    clusters = parse_clusters("PHONE", text)
    assert set(clusters) == wanted
    assert [cluster.max_mhz for cluster in clusters] == sorted(khz / 1000 for _, khz in sizes)
    assert sum(cluster.mask for cluster in clusters) == (1 << first) - 1


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9._]{0,20}", fullmatch=True),
        st.text(st.characters(exclude_characters="[]\r", exclude_categories=["Cs"])),
    )
)
def test_what_getprop_prints_is_read_back(properties: dict[str, str]) -> None:
    text = "".join(f"[{name}]: [{value}]\n" for name, value in properties.items())
    assert parse_properties(text) == properties


@given(st.text())
def test_garbage_is_unreadable_and_nothing_worse(text: str) -> None:
    assert all(name in text for name in parse_properties(text))
    try:
        clusters = parse_clusters("PHONE", POLICIES[:90] + text)
    except InfoUnreadable:
        return
    assert all(cluster.cpus and cluster.max_mhz >= 0 for cluster in clusters)
