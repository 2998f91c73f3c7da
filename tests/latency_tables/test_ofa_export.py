from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency_tables.errors import ExportImpossible
from latency_tables.kernel import Kernel, Shape, make_kernel
from latency_tables.ofa import read_ofa
from latency_tables.ofa_export import write_ofa
from latency_tables.table import KernelLatency, LatencyTable
from toolchain.kernels import plan
from toolchain.spaces.mobilenet import MobileNetSpace

MakeTable = Callable[..., LatencyTable]

BLOCK = "expanded_conv-input:10x10x16-output:10x10x16-expand:48-kernel:3-stride:1"


def conv(
    kind: str, source: Shape, output: Shape, size: int, activation: str, stride: int = 1
) -> Kernel:
    window = {"kernel": f"{size}x{size}", "stride": f"{stride}x{stride}", "padding": "same"}
    return make_kernel(kind, (source,), output, window, activation)


NARROW, WIDE = (1, 10, 10, 16), (1, 10, 10, 48)
EXPAND = conv("conv2d", NARROW, WIDE, 1, "relu6")
MIDDLE = conv("depthwise_conv2d", WIDE, WIDE, 3, "relu6")
PROJECT = conv("conv2d", WIDE, NARROW, 1, "linear")
ADD = make_kernel("add", (NARROW, NARROW), NARROW)


def with_rows(table: LatencyTable, *kernels: Kernel) -> LatencyTable:
    """A row for each kernel: of 1, 2, 4, ... ms, so that a sum tells its terms."""
    return replace(
        table,
        rows={
            kernel: KernelLatency(
                median_ms=2.0**number, iqr_ms=0.0, p95_ms=3.0, samples=60 - number, contexts=3
            )
            for number, kernel in enumerate(kernels)
        },
    )


def means(text: str) -> dict[str, float]:
    lines = text.splitlines()
    heads = [index for index, line in enumerate(lines) if line.endswith(":")]
    return {lines[i].rstrip(":"): float(lines[i + 2].split()[1]) for i in heads}


def test_a_block_is_the_sum_of_its_kernels(make_table: MakeTable) -> None:
    bare = with_rows(make_table(calibrated=False), EXPAND, MIDDLE, PROJECT, ADD)
    assert means(write_ofa(bare)) == {
        f"{BLOCK}-idskip:0-se:0-hs:0": 1 + 2 + 4,
        f"{BLOCK}-idskip:1-se:0-hs:0": 1 + 2 + 4 + 8,
        # The middle and the projection alone are a block without expansion, too.
        f"{BLOCK}-idskip:0-se:0-hs:0".replace("10x10x16-out", "10x10x48-out"): 2 + 4,
    }


def test_means_are_parts_of_a_prediction(make_table: MakeTable) -> None:
    table = with_rows(make_table(), EXPAND, MIDDLE, PROJECT)
    fit = table.calibration
    assert fit is not None
    text = write_ofa(table)
    assert means(text)[f"{BLOCK}-idskip:0-se:0-hs:0"] == pytest.approx(
        fit.scale * 7 + 3 * fit.per_kernel_ms
    )
    assert f"add {fit.overhead_ms:.6f} ms for each network" in text
    assert "count: 58" in text


def test_an_expansion_to_as_many_channels_is_no_block_of_theirs(make_table: MakeTable) -> None:
    even = conv("conv2d", WIDE, WIDE, 1, "relu6")
    text = write_ofa(with_rows(make_table(), even, MIDDLE, PROJECT))
    assert list(means(text)) == [
        "expanded_conv-input:10x10x48-output:10x10x16-expand:48-kernel:3-stride:1-idskip:0-se:0-hs:0"
    ]


def test_what_is_written_is_read_back(make_table: MakeTable) -> None:
    text = write_ofa(with_rows(make_table(), EXPAND, MIDDLE, PROJECT, ADD))
    assert {kernel.kind for kernel in read_ofa(text)} == {"ofa.expanded_conv"}
    assert [row.median_ms for row in read_ofa(text).values()] == list(means(text).values())


def test_a_table_without_their_layers_says_so(make_table: MakeTable) -> None:
    with pytest.raises(ExportImpossible, match="export it as csv"):
        write_ofa(make_table(0))


def test_a_mobilenet_v3_is_written_whole_but_for_its_second_head(make_table: MakeTable) -> None:
    """Its head's dense layer is a 1x1 convolution in once-for-all: another kernel, left out."""
    space = MobileNetSpace(input_shape=(3, 160, 160), classes=1000)
    kernels = plan(space.decode("v3s-w1-s2-d4")).kernels
    layers = means(write_ofa(with_rows(make_table(), *dict.fromkeys(kernels))))
    assert {
        "Conv-input:160x160x3-output:80x80x16",
        "expanded_conv-input:80x80x16-output:40x40x16-expand:16-kernel:3-stride:2-idskip:0-se:1-hs:0",
        "expanded_conv-input:40x40x16-output:20x20x24-expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0",
        "expanded_conv-input:5x5x96-output:5x5x96-expand:576-kernel:5-stride:1-idskip:1-se:1-hs:1",
        "Conv_1-input:5x5x96-output:5x5x576",
        "AvgPool2D-input:5x5x576-output:1x1x576",
        "Logits-input:1x1x1024-output:1000",
    } <= layers.keys()
    assert not any(key.startswith("Conv_2") for key in layers)
