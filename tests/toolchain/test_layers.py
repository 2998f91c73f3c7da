from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.layers import (
    LAYERS,
    Add,
    AnyLayer,
    Concat,
    Conv2d,
    ConvTranspose2d,
    GlobalAveragePool,
    Input,
    Linear,
    MaxPool2d,
    Multiply,
    Shape,
    Upsample,
    same_padding,
)

IMAGE: Shape = (6, 9, 7)
VECTOR: Shape = (6,)
GATE: Shape = (6, 1, 1)


@pytest.mark.parametrize(
    ("layer", "inputs", "output"),
    [
        (Input(channels=3, height=5, width=4), (), (3, 5, 4)),
        (Conv2d(channels=8, kernel=3), (IMAGE,), (8, 9, 7)),
        (Conv2d(channels=8, kernel=3, stride=2), (IMAGE,), (8, 5, 4)),
        (Conv2d(channels=6, kernel=5, stride=3, depthwise=True), (IMAGE,), (6, 3, 3)),
        (ConvTranspose2d(channels=8), (IMAGE,), (8, 18, 14)),
        (ConvTranspose2d(channels=8, kernel=3, stride=3), (IMAGE,), (8, 27, 21)),
        (Upsample(), (IMAGE,), (6, 18, 14)),
        (Upsample(factor=3, interpolation="bilinear"), (IMAGE,), (6, 27, 21)),
        (MaxPool2d(), (IMAGE,), (6, 5, 4)),
        (MaxPool2d(kernel=3, stride=1), (IMAGE,), IMAGE),
        (GlobalAveragePool(), (IMAGE,), VECTOR),
        (GlobalAveragePool(keep_map=True), (IMAGE,), GATE),
        (Linear(features=10), (VECTOR,), (10,)),
        (Add(), (IMAGE, IMAGE), IMAGE),
        (Multiply(), (IMAGE, GATE), IMAGE),
        (Multiply(), (GATE, GATE), GATE),
        (Concat(), (IMAGE, (2, 9, 7), IMAGE), (14, 9, 7)),
        (Concat(), (VECTOR, (4,)), (10,)),
    ],
)
def test_each_layer_has_its_shape_rule(
    layer: AnyLayer, inputs: tuple[Shape, ...], output: Shape
) -> None:
    assert layer.output_shape(*inputs) == output


@pytest.mark.parametrize(
    ("layer", "inputs", "reason"),
    [
        (Input(channels=3, height=5, width=4), (IMAGE,), "takes 0 input"),
        (Conv2d(channels=8), (), "takes 1 input"),
        (Conv2d(channels=8), (IMAGE, IMAGE), "takes 1 input"),
        (Conv2d(channels=8), (VECTOR,), "feature map"),
        (Conv2d(channels=8, depthwise=True), (IMAGE,), "keeps its 6 channels, not 8"),
        (ConvTranspose2d(channels=8), (VECTOR,), "feature map"),
        (Upsample(), (VECTOR,), "feature map"),
        (Upsample(), (IMAGE, IMAGE), "takes 1 input"),
        (MaxPool2d(), (VECTOR,), "feature map"),
        (GlobalAveragePool(), (VECTOR,), "feature map"),
        (Linear(features=3), (IMAGE,), "pool first"),
        (Add(), (IMAGE,), "takes 2 input"),
        (Add(), (IMAGE, (5, 9, 7)), "equal shapes"),
        (Multiply(), (IMAGE,), "takes 2 input"),
        (Multiply(), (GATE, IMAGE), r"then \(6, 1, 1\), .*got \(6, 9, 7\); pool with keep_map"),
        (Multiply(), (IMAGE, VECTOR), "keep_map=True"),
        (Multiply(), (IMAGE, (5, 1, 1)), r"got \(5, 1, 1\)"),
        (Multiply(), (VECTOR, GATE), "feature map"),
        (Concat(), (IMAGE,), "two or more"),
        (Concat(), (IMAGE, (6, 9, 8)), "one size"),
        (Concat(), (IMAGE, VECTOR), "one size"),
    ],
)
def test_what_a_layer_cannot_take_is_refused(
    layer: AnyLayer, inputs: tuple[Shape, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        layer.output_shape(*inputs)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (Input, {"channels": 0, "height": 1, "width": 1}, "channels must be at least 1"),
        (Conv2d, {"channels": 0}, "channels must be at least 1"),
        (Conv2d, {"channels": 4, "kernel": -1}, "kernel must be at least 1"),
        (Conv2d, {"channels": 4, "stride": 0}, "stride must be at least 1"),
        (Conv2d, {"channels": 4, "activation": "gelu"}, "unknown activation 'gelu'"),
        (ConvTranspose2d, {"channels": 4, "kernel": 3}, "plus an even number, got 3 .*use 2 or 4"),
        (ConvTranspose2d, {"channels": 4, "kernel": 1}, "plus an even number"),
        (ConvTranspose2d, {"channels": 4, "activation": "hard_sigmoid"}, "give it to a conv2d"),
        (Upsample, {"factor": 1}, "factor must be 2 or more, got 1"),
        (Upsample, {"interpolation": "cubic"}, "'cubic'; known are nearest, bilinear"),
        (MaxPool2d, {"kernel": 0}, "kernel must be at least 1"),
        (MaxPool2d, {"kernel": 4, "stride": 1}, "odd kernel"),
        (Linear, {"features": 0}, "features must be at least 1"),
        (Linear, {"features": 1, "activation": "softmax"}, "unknown activation"),
        (Add, {"activation": ""}, "unknown activation"),
        (Add, {"activation": "hard_sigmoid"}, "needs a layer with weights"),
    ],
)
def test_impossible_settings_are_refused(
    kind: type[AnyLayer], settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        kind(**settings)


def test_convolutions_count_their_filter_their_bias_and_their_norm() -> None:
    full = Conv2d(channels=8, kernel=3, stride=2, bias=True)
    assert full.macs(IMAGE) == 3 * 3 * 6 * 8 * 5 * 4
    assert full.parameters(IMAGE) == 3 * 3 * 6 * 8 + 8
    assert full.norm_parameters(IMAGE) == 16
    depthwise = Conv2d(channels=6, kernel=5, depthwise=True, norm=False)
    assert depthwise.macs(IMAGE) == 5 * 5 * 6 * 9 * 7
    assert depthwise.parameters(IMAGE) == 5 * 5 * 6
    assert depthwise.norm_parameters(IMAGE) == 0


def test_transposed_convolutions_count_their_filter_for_each_pixel_they_give() -> None:
    layer = ConvTranspose2d(channels=8, bias=True)
    assert layer.macs(IMAGE) == 4 * 4 * 6 * 8 * 18 * 14
    assert layer.parameters(IMAGE) == 4 * 4 * 6 * 8 + 8
    assert layer.norm_parameters(IMAGE) == 16


def test_dense_layers_count_their_matrix_and_their_bias() -> None:
    assert Linear(features=10).macs(VECTOR) == 60
    assert Linear(features=10).parameters(VECTOR) == 70
    assert Linear(features=10, bias=False).parameters(VECTOR) == 60


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (MaxPool2d(), (IMAGE,)),
        (GlobalAveragePool(), (IMAGE,)),
        (Upsample(), (IMAGE,)),
        (Add(), (IMAGE, IMAGE)),
        (Multiply(), (IMAGE, GATE)),
        (Concat(), (IMAGE, IMAGE)),
    ],
)
def test_layers_without_weights_count_nothing(layer: AnyLayer, inputs: tuple[Shape, ...]) -> None:
    assert layer.macs(*inputs) == layer.parameters(*inputs) == layer.norm_parameters(*inputs) == 0


def test_layers_are_values() -> None:
    assert len({Conv2d(channels=8), Conv2d(channels=8), Conv2d(channels=9)}) == 2
    with pytest.raises(FrozenInstanceError):
        Add().activation = "relu"  # type: ignore[misc]
    assert all(layer.kind == name for name, layer in LAYERS.items())


@given(size=st.integers(1, 300), kernel=st.integers(1, 11), stride=st.integers(1, 5))
def test_same_padding_is_what_tflite_pads(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    # tensorflow/lite/kernels/padding.h: ComputeOutSize and ComputePaddingWithOffset.
    out_size = (size + stride - 1) // stride
    total = max((out_size - 1) * stride + kernel - size, 0)
    assert before == total // 2
    assert after == total // 2 + total % 2
    # What the definition is for: just enough for the last window, and no window of padding alone.
    assert (size + before + after - kernel) // stride + 1 == math.ceil(size / stride)
    assert before < kernel
    assert (out_size - 1) * stride - before < size
