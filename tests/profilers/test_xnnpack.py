from __future__ import annotations

import pytest

from latency_tables.kernel import make_kernel
from profilers.errors import OperatorsDiffer
from profilers.xnnpack import kernel_kinds, match_events

CONV = make_kernel(
    "conv2d",
    ((1, 8, 8, 3),),
    (1, 8, 8, 4),
    {"kernel": "3x3", "padding": "same", "stride": "1x1"},
)
CLAMP = make_kernel("clamp", ((1, 8, 8, 4),), (1, 8, 8, 4), {"range": "relu"})
NAMES = ["Convolution (NHWC, F32) IGEMM", "Clamp (NC)"]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Convolution (NHWC, F32) IGEMM", {"conv2d", "depthwise_conv2d"}),
        ("Convolution (NHWC, QC8) DWConv", {"conv2d", "depthwise_conv2d"}),
        ("Fully Connected (NC, PF32) GEMM", {"conv2d", "fully_connected"}),
        ("Copy (NC, X32)", {"concat", "copy", "split"}),
        ("Constant Pad (ND, X32)", {"pad"}),
        ("Mean (ND) Reduce2", {"mean"}),
        ("Multiply (ND)", {"multiply", "repeat", "scale"}),
        ("Static Reshape (NC)", {"flatten", "reshape"}),
        ("Resize Bilinear (NHWC)", {"resize_bilinear"}),
        ("Deconvolution (NHWC, F32) Subconv2D", {"conv_transpose2d"}),
        ("CONCATENATION", {"concat"}),
        ("RELU6", {"clamp"}),
        ("Softmax (NC, F32)", {"softmax"}),
        ("Convolution", {"conv2d", "depthwise_conv2d"}),
        ("GATHER", {"gather"}),
        ("Tile (ND)", set()),
        ("", set()),
    ],
)
def test_an_event_tells_the_kinds_of_kernel_it_can_be(name, kinds):
    assert kernel_kinds(name) == kinds


def test_events_that_can_be_the_planned_kernels_match():
    match_events(NAMES, [CONV, CLAMP])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[::-1], r"operator 0: planned was conv2d .* ran Clamp \(NC\)"),
        (NAMES[:1], "operator 1: planned was clamp .* ran nothing more"),
        ([*NAMES, "Add (ND)"], r"operator 2: planned was no more kernels, .* ran Add \(ND\)"),
        (["Tile (ND)", "Clamp (NC)"], r"ran Tile \(ND\)"),
    ],
)
def test_a_difference_names_position_plan_and_what_ran(names, message):
    with pytest.raises(OperatorsDiffer, match=message):
        match_events(names, [CONV, CLAMP])
