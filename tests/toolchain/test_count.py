from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    # thop asks distutils for the version of torch.
    warnings.simplefilter("ignore")
    import thop
    from thop.vision.basic_hooks import count_convNd

from toolchain.count import count
from toolchain.graph import Graph, graph_from_text
from toolchain.module import (
    GraphModule,
    ImageMean,
    SamePad,
    ScaledChannels,
    SubsamplingConv2d,
)
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.zoo import ZOO, make_network


def nothing(_module: nn.Module, _inputs: Any, _output: Any) -> None:
    """Counts 0: not part of what we call MACs."""


UNCOUNTED = dict.fromkeys(
    (
        nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.Hardswish,
        nn.Hardsigmoid, nn.Identity, nn.Upsample, ImageMean, SamePad, ScaledChannels,
    ),
    nothing,
)  # fmt: skip
# thop runs what it counts.
CHEAP = [name for name in ZOO if count(make_network(name)).macs < 1e9]
# thop goes by the type and does not know this one for the convolution that it is.
COUNTED = {SubsamplingConv2d: count_convNd}


def sampled_graphs() -> list[Graph]:
    rng = np.random.default_rng(0)
    spaces = (
        ShrinkCnnSpace(),
        ShrinkCnnSpace(activation="swish", head_channels=24, input_shape=(1, 28, 28)),
        ShrinkCnnSpace(base_width=4, stem_channels=4, nodes=5),
        ShrinkCnnSpace(nodes=5, replicate=(2, 1, 2), stem_stride=2, input_shape=(3, 31, 33)),
        MobileNetSpace(widths=(0.25, 0.5), input_shape=(1, 28, 28)),
        SwiftNetSpace(nodes=(8, 10, 12), stem_stride=1),
        SwiftNetSpace(stem_kernel=7, stem_width=0, stem_pool=2, input_shape=(1, 33, 31)),
        *(ScaleNetSpace(head=head, width=4, input_shape=(1, 32, 48)) for head in HEADS),
        ScaleNetSpace(modules=(1, 1, 1), stem_bottleneck=True, stem_blocks=2),
    )
    return [space.decode(space.sample(rng)) for space in spaces for _ in range(10)]


def assert_counted_right(graph: Graph) -> None:
    module = GraphModule(graph).eval()
    sums = {True: 0, False: 0}
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            sums[isinstance(part, nn.BatchNorm2d)] += parameter.numel()
    counts = count(graph)
    assert counts.params == sums[False]
    assert counts.params_with_norm == sums[False] + sums[True]
    macs, _ = thop.profile(
        module,
        (torch.zeros(1, *graph.input_shape),),
        custom_ops=UNCOUNTED | COUNTED,
        verbose=False,
    )
    assert counts.macs == macs


@pytest.mark.parametrize("name", CHEAP)
def test_networks_of_the_zoo_count_what_thop_and_torch_count(name: str) -> None:
    assert_counted_right(make_network(name))


def test_networks_of_the_spaces_count_what_thop_and_torch_count() -> None:
    for graph in sampled_graphs():
        assert_counted_right(graph)


SKIP = """
image = input(channels=2, height=4, width=4)
a = conv2d(image, channels=4, kernel=3)
b = conv2d(a, channels=8)
c = conv2d(b, channels=4)
sum = add(a, c)
pool = global_average_pool(sum)
logits = linear(pool, features=3)
"""


def test_memory_is_of_one_layer_or_of_all_that_lives() -> None:
    counts = count(graph_from_text(SKIP, "skip"))
    map_bytes = 4 * 4 * 4 * np.array([2, 4, 8, 4, 4])
    # The widest layer is b or c, 4 and 8 channels; while they run, a lives for the sum.
    assert counts.peak_memory_bytes == map_bytes[1] + map_bytes[2]
    assert counts.live_memory_bytes == map_bytes[1] + map_bytes[2] + map_bytes[3]


def test_an_addition_holds_both_its_inputs() -> None:
    text = "image = input(channels=2, height=4, width=4)\nsum = add(image, image)\n"
    counts = count(graph_from_text(text, "sum"))
    assert counts.peak_memory_bytes == 3 * 4 * math.prod((2, 4, 4))
    assert counts.live_memory_bytes == 2 * 4 * math.prod((2, 4, 4))
    assert counts.macs == counts.params == counts.params_with_norm == 0


def test_a_concat_takes_no_peak_memory_but_lives_with_what_it_joins() -> None:
    text = (
        "image = input(channels=2, height=4, width=4)\n"
        "a = conv2d(image, channels=6)\nb = conv2d(image, channels=6)\n"
        "both = concat(a, b)\nlast = conv2d(both, channels=2)\n"
    )
    counts = count(graph_from_text(text, "concat"))
    map_bytes = 4 * 4 * 4
    assert counts.peak_memory_bytes == map_bytes * (12 + 2)
    assert counts.live_memory_bytes == map_bytes * (6 + 6 + 12)


def test_what_the_output_does_not_depend_on_is_counted_and_takes_no_live_memory() -> None:
    dead = "dead = conv2d(a, channels=4)\ndeader = conv2d(dead, channels=64)\n"
    without, counts = (
        count(graph_from_text(SKIP.replace("b = ", f"{more}b = "), "skip")) for more in ("", dead)
    )
    assert counts.live_memory_bytes == without.live_memory_bytes
    assert counts.macs == without.macs + 4 * 4 * (4 * 4 + 4 * 64)
    assert counts.params == without.params + 4 * 4 + 4 * 64


def test_counts_as_json_hold_all_five() -> None:
    assert set(count(make_network("shrinkcnn-a")).to_json()) == {
        "params", "params_with_norm", "macs", "peak_memory_bytes", "live_memory_bytes",
    }  # fmt: skip
