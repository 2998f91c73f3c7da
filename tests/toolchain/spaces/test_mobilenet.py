from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.count import count
from toolchain.errors import GenotypeInvalid
from toolchain.graph import Graph
from toolchain.layers import Add, Conv2d, Linear, Multiply
from toolchain.spaces.mobilenet import (
    STRIDED_BLOCKS,
    VERSIONS,
    MobileNetSpace,
    round_channels,
)

SPACE = MobileNetSpace()
IMAGENET = MobileNetSpace(
    input_shape=(3, 224, 224), classes=1000, widths=(0.35, 0.5, 0.75, 1.0, 1.4)
)


def convolutions(graph: Graph) -> dict[str, Conv2d]:
    return {node.name: node.layer for node in graph.nodes if isinstance(node.layer, Conv2d)}


def named(graph: Graph, ending: str) -> list[str]:
    return [node.name for node in graph.nodes if node.name.endswith(ending)]


# The authors' table of checkpoints at 224x224.
@pytest.mark.parametrize(
    ("width", "macs", "params"),
    [
        ("0.35", 59e6, 1.66e6),
        ("0.5", 97e6, 1.95e6),
        ("0.75", 209e6, 2.61e6),
        ("1", 300e6, 3.47e6),
        ("1.4", 582e6, 6.06e6),
    ],
)
def test_mobilenetv2_counts_what_its_authors_state(width: str, macs: float, params: float) -> None:
    counts = count(IMAGENET.decode(f"v2-w{width}-s2-d4"))
    assert counts.macs == pytest.approx(macs, abs=1e6)
    assert counts.params == pytest.approx(params, rel=0.01)


# arXiv 1905.02244, table 3.
@pytest.mark.parametrize(("width", "macs", "params"), [("0.75", 44e6, 2.0e6), ("1", 56e6, 2.5e6)])
def test_mobilenetv3_small_counts_what_its_authors_state(
    width: str, macs: float, params: float
) -> None:
    counts = count(IMAGENET.decode(f"v3s-w{width}-s2-d4"))
    assert counts.macs == pytest.approx(macs, rel=0.02)
    assert counts.params_with_norm == pytest.approx(params, rel=0.025)


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [(0.1, 8), (8, 8), (11.2, 16), (11.9, 16), (12, 16), (20, 24), (19.9, 24), (33.6, 32)],
)
def test_channels_are_multiples_of_8_and_lose_no_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


@given(st.floats(0.01, 2000))
def test_rounding_moves_channels_by_half_a_step_or_up(channels: float) -> None:
    rounded = round_channels(channels)
    assert rounded % 8 == 0
    assert 0.9 * channels <= rounded <= max(channels + 12, 8)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize("strided", range(STRIDED_BLOCKS + 1))
def test_the_first_strided_blocks_lose_their_stride(version: str, stem: int, strided: int) -> None:
    space = MobileNetSpace(input_shape=(3, 96, 96), strided=(strided, STRIDED_BLOCKS))
    graph = space.decode(f"{version}-w0.25-s{stem}-d{strided}")
    kept = [name for name, conv in convolutions(graph).items() if conv.stride == 2]
    published = [
        name
        for name, conv in convolutions(space.decode(f"{version}-w0.25-s2-d4")).items()
        if conv.stride == 2
    ]
    assert len(published) == 1 + STRIDED_BLOCKS
    expected = published[STRIDED_BLOCKS + 1 - strided :]
    assert kept == (["stem", *expected] if stem == 2 else expected)
    assert graph.shapes["last"][1:] == (96 // (stem * 2**strided),) * 2


def test_the_customary_strides_leave_4x4_of_32x32() -> None:
    assert SPACE.decode("v2-w0.5-s1-d3").shapes["last"] == (1280, 4, 4)
    assert SPACE.decode("v3s-w0.5-s2-d4").shapes["last"] == (288, 1, 1)


def test_mobilenetv2_is_built_as_the_paper_says() -> None:
    graph = IMAGENET.decode("v2-w1-s2-d4")
    found = convolutions(graph)
    assert found["stem"] == Conv2d(channels=32, kernel=3, stride=2, activation="relu6")
    # The first block expands nothing; projections are linear.
    assert "b1_expand" not in found
    assert found["b2_expand"] == Conv2d(channels=96, activation="relu6")
    assert found["b2_dw"] == Conv2d(
        channels=96, kernel=3, stride=2, depthwise=True, activation="relu6"
    )
    assert found["b2_project"] == Conv2d(channels=24, activation="linear")
    widths = [graph.shapes[name][0] for name in named(graph, "_project")]
    assert widths == [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    sums = [node for node in graph.nodes if isinstance(node.layer, Add)]
    assert [node.name for node in sums] == [
        f"b{number}_add" for number in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
    ]
    assert sums[1].inputs == ("b5_project", "b4_project")
    assert not named(graph, "_scale")


def test_mobilenetv3_small_is_built_as_the_paper_says() -> None:
    graph = IMAGENET.decode("v3s-w1-s2-d4")
    found = convolutions(graph)
    assert [graph.shapes[name][0] for name in named(graph, "_dw")] == [
        16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576,
    ]  # fmt: skip
    assert [found[name].kernel for name in named(graph, "_dw")] == [3] * 3 + [5] * 8
    assert [found[name].activation for name in named(graph, "_dw")] == (
        ["relu"] * 3 + ["hard_swish"] * 8
    )
    gates = [node for node in graph.nodes if isinstance(node.layer, Multiply)]
    assert [node.name for node in gates] == [
        f"b{number}_scale" for number in (1, 4, 5, 6, 7, 8, 9, 10, 11)
    ]
    assert gates[1].inputs == ("b4_dw", "b4_excite")
    assert found["b4_squeeze"] == Conv2d(channels=24, bias=True, norm=False, activation="relu")
    assert found["b4_excite"] == Conv2d(
        channels=96, bias=True, norm=False, activation="hard_sigmoid"
    )
    assert graph.shapes["last"] == (576, 7, 7)
    assert graph.nodes[-2].layer == Linear(features=1024, activation="hard_swish")


def test_below_width_1_the_head_is_narrowed_on_demand_only() -> None:
    heads = {
        genotype: SPACE.decode(genotype).shapes[name]
        for genotype, name in [
            ("v2-w0.5-s1-d3", "pool"),
            ("v2-w0.5-s1-d3-h", "pool"),
            ("v3s-w0.5-s1-d3", "head"),
            ("v3s-w0.5-s1-d3-h", "head"),
        ]
    }
    assert list(heads.values()) == [(1280,), (640,), (1024,), (512,)]
    assert IMAGENET.decode("v2-w1.4-s2-d4").shapes["pool"] == (1792,)


def test_every_genotype_names_another_network_and_witnesses_are_all_of_them() -> None:
    witnesses = list(SPACE.witnesses())
    graphs = [SPACE.decode(genotype) for genotype in witnesses]
    assert [graph.name for graph in graphs] == witnesses
    assert len({graph.nodes for graph in graphs}) == len(witnesses)
    # Two versions, two stems, three resolutions; two heads at each of four widths, one at 1.
    assert len(witnesses) == 2 * 2 * 3 * (2 * 4 + 1)
    rng = np.random.default_rng(0)
    assert {SPACE.sample(rng) for _ in range(2000)} == set(witnesses)


def test_a_mutation_changes_one_word() -> None:
    rng = np.random.default_rng(0)
    reached = set()
    for _ in range(500):
        genotype = SPACE.sample(rng)
        changed = SPACE.mutate(genotype, rng)
        assert changed in SPACE.baselines
        before, after = (text.removesuffix("-h").split("-") for text in (genotype, changed))
        is_narrowed = genotype.endswith("-h") != changed.endswith("-h")
        assert sum(one != two for one, two in zip(before, after, strict=True)) + is_narrowed == 1
        reached.add(changed)
    assert len(reached) > 90
    single = MobileNetSpace(versions=("v2",), widths=(1.0,), stem_strides=(1,), strided=(3,))
    assert single.mutate("v2-w1-s1-d3", rng) == "v2-w1-s1-d3"


@pytest.mark.parametrize(
    "genotype",
    [
        "",
        "v2",
        "v1-w1-s1-d3",
        "v2-w1-s1",
        "v2-w0.6-s1-d3",
        "v2-w1.0-s1-d3",
        "v2-w1-s3-d3",
        "v2-w1-s1-d5",
        "v2-w1-s1-d1",
        "v2-w1-s1-d3-h",
        "v2-w0.5-s1-d3-",
        "v2-s1-w0.5-d3",
        "V2-w0.5-s1-d3",
        "v2-w0.5-s1-d3 ",
    ],
)
def test_text_that_is_no_genotype_is_refused_with_the_grid(genotype: str) -> None:
    grid = r"of versions v2, v3s, widths 0\.25, 0\.35, .*strides 1, 2 and strided blocks 2, 3, 4"
    for read in (SPACE.decode, lambda text: SPACE.mutate(text, np.random.default_rng(0))):
        with pytest.raises(GenotypeInvalid, match=grid):
            read(genotype)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"versions": ("v2", "v4")}, r"versions must be one or more of \['v2', 'v3s'\]"),
        ({"versions": ()}, "versions must be one or more"),
        ({"widths": ()}, "widths must be one or more"),
        ({"widths": (0.5, 0.0)}, "each above 0"),
        ({"stem_strides": (1, 3)}, r"stem_strides must be one or more of \[1, 2\], got \[1, 3\]"),
        ({"strided": (5,)}, r"strided must be one or more of \[0, 1, 2, 3, 4\]"),
        ({"input_shape": (3, 32)}, "rows, columns"),
        ({"input_shape": (3, 0, 32)}, "input: height"),
        ({"classes": 0}, "linear: features"),
    ],
)
def test_an_impossible_grid_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        MobileNetSpace(**settings)


def test_a_genotype_is_decoded_in_under_a_millisecond() -> None:
    taken_ms = []
    for genotype in SPACE.witnesses():
        start_ns = time.thread_time_ns()
        SPACE.decode(genotype)
        taken_ms.append((time.thread_time_ns() - start_ns) / 1e6)
    assert np.median(taken_ms) < 1
