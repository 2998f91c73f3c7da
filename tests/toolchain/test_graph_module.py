from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.graph import graph_from_text
from toolchain.layers import (
    ACTIVATIONS,
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
)
from toolchain.module import GraphModule, NormSettings, make_activation, make_module
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

Array = np.ndarray

SIZES = st.integers(1, 11)
KERNELS = st.integers(1, 5)
STRIDES = st.integers(1, 4)


def windows(x_CHW: Array, kernel: int, stride: int, fill: float) -> Array:
    """Windows of SAME padding as TFLite defines it: channels, rows, columns, kernel, kernel."""
    pads = [(0, 0)]
    for size in x_CHW.shape[1:]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x_CHW, pads, constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return views[:, ::stride, ::stride]


def image(shape: Shape, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def compute(layer: AnyLayer, *inputs: Array) -> tuple[Array, torch.nn.Module]:
    """What the torch module of a layer gives for one image, in double precision."""
    torch.manual_seed(0)
    module = make_module(layer, tuple(x.shape for x in inputs), NormSettings()).double().eval()
    with torch.no_grad():
        output = module(*(torch.from_numpy(x)[None] for x in inputs))
    return output[0].numpy(), module


@settings(deadline=None)
@given(SIZES, SIZES, KERNELS, STRIDES, st.booleans(), st.booleans())
def test_a_convolution_pads_as_tflite_does(
    height: int, width: int, kernel: int, stride: int, depthwise: bool, bias: bool
) -> None:
    x_CHW = image((3, height, width))
    channels = 3 if depthwise else 5
    layer = Conv2d(
        channels=channels, kernel=kernel, stride=stride, depthwise=depthwise, bias=bias,
        norm=False, activation="linear",
    )  # fmt: skip
    found, module = compute(layer, x_CHW)
    conv = next(part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    filter_OIKK = conv.weight.detach().numpy()
    views = windows(x_CHW, kernel, stride, 0.0)
    if depthwise:
        expected = np.einsum("chwij,cij->chw", views, filter_OIKK[:, 0])
    else:
        expected = np.einsum("chwij,ocij->ohw", views, filter_OIKK)
    if bias:
        expected += conv.bias.detach().numpy()[:, None, None]
    assert found.shape == layer.output_shape(x_CHW.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(deadline=None)
@given(SIZES, SIZES, KERNELS, STRIDES)
def test_a_max_pool_pads_as_tflite_does(height: int, width: int, kernel: int, stride: int) -> None:
    if stride == 1 and kernel % 2 == 0:
        stride = 2
    x_CHW = image((2, height, width)) - 5  # negative: a padding of zeros would win
    layer = MaxPool2d(kernel=kernel, stride=stride)
    found, _ = compute(layer, x_CHW)
    assert found.shape == layer.output_shape(x_CHW.shape)
    np.testing.assert_array_equal(found, windows(x_CHW, kernel, stride, -np.inf).max((3, 4)))


@settings(deadline=None)
@given(SIZES, SIZES, STRIDES, st.integers(0, 2))
def test_a_transposed_convolution_gives_what_a_convolution_of_its_size_would_read(
    height: int, width: int, stride: int, margin: int
) -> None:
    layer = ConvTranspose2d(
        channels=5, kernel=stride + 2 * margin, stride=stride, norm=False, activation="linear"
    )
    x_CHW = image((3, height, width))
    found, module = compute(layer, x_CHW)
    assert found.shape == layer.output_shape(x_CHW.shape)
    # The transpose of the matrix that a strided convolution with SAME padding is.
    filter_IOKK = module[0].weight.detach().numpy()
    y_CHW = image(found.shape, seed=1)
    views = windows(y_CHW, layer.kernel, stride, 0.0)
    forward = np.einsum("ohwij,coij->chw", views, filter_IOKK)
    np.testing.assert_allclose((found * y_CHW).sum(), (forward * x_CHW).sum())


def test_nearest_repeats_pixels_and_bilinear_blends_them_between_centres() -> None:
    x_CHW = np.array([[[0.0, 4.0], [8.0, 12.0]]])
    repeated, _ = compute(Upsample(factor=3), x_CHW)
    np.testing.assert_array_equal(repeated, x_CHW.repeat(3, axis=1).repeat(3, axis=2))
    blended, _ = compute(Upsample(interpolation="bilinear"), x_CHW)
    np.testing.assert_allclose(blended[0, 0], [0, 1, 3, 4])
    np.testing.assert_allclose(blended[0, :, 0], [0, 2, 6, 8])


@pytest.mark.parametrize("height", [7, 8, 13])
@pytest.mark.parametrize("width", [5, 9, 16])
def test_every_node_has_the_shape_that_the_graph_says(height: int, width: int) -> None:
    space = ShrinkCnnSpace(
        nodes=5, input_shape=(3, height, width), stem_channels=8, stem_stride=2, base_width=4,
        scales=(1, 2, 2), replicate=(1, 2, 1), pools=(1, 2, 3), head_channels=12,
    )  # fmt: skip
    graph = space.decode("s0.s0.s01.c02")
    module = GraphModule(graph).eval()
    seen: dict[str, Shape] = {}
    for name, layer in module.layers.items():
        layer.register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output.shape[1:]})
        )
    with torch.no_grad():
        scores_NF = module(torch.zeros(2, 3, height, width))
    assert scores_NF.shape == (2, *graph.output_shape)
    shapes = {name: shape for name, shape in graph.shapes.items() if name != "image"}
    assert seen == shapes


def test_merges_and_means_are_what_they_are_called() -> None:
    x, y = image((3, 4, 5)), image((3, 4, 5), seed=1)
    np.testing.assert_allclose(compute(Add(activation="relu"), x, y)[0], np.maximum(x + y, 0))
    np.testing.assert_array_equal(compute(Concat(), x, y)[0], np.concatenate([x, y]))
    np.testing.assert_allclose(compute(GlobalAveragePool(), x)[0], x.mean((1, 2)))
    gate, _ = compute(GlobalAveragePool(keep_map=True), x)
    np.testing.assert_allclose(gate, x.mean((1, 2), keepdims=True))
    np.testing.assert_array_equal(compute(Multiply(), y, gate)[0], y * gate)
    dense, module = compute(Linear(features=2), x[:, 0, 0])
    expected = module.weight.detach().numpy() @ x[:, 0, 0] + module.bias.detach().numpy()
    np.testing.assert_allclose(dense, expected)


def test_activations_are_those_of_the_runtime() -> None:
    x = np.linspace(-8, 8, 33)
    sigmoid = 1 / (1 + np.exp(-x))
    expected = {
        "linear": x,
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "swish": x * sigmoid,
        "hard_swish": x * np.clip(x + 3, 0, 6) / 6,
        "sigmoid": sigmoid,
        "hard_sigmoid": np.clip(x + 3, 0, 6) / 6,
        "tanh": np.tanh(x),
    }
    assert set(expected) == set(ACTIVATIONS)
    for name, values in expected.items():
        found = make_activation(name)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(found, values, atol=1e-12)


def test_the_norm_stands_between_convolution_and_activation_with_its_constants() -> None:
    graph = graph_from_text(
        "image = input(channels=3, height=4, width=4)\n"
        "stem = conv2d(image, channels=4, kernel=3, activation=relu)\n",
        "small",
    )
    module = GraphModule(graph, NormSettings(eps=1e-3, momentum=0.01))
    kinds = [type(part).__name__ for part in module.layers["stem"]]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"]
    norm = module.layers["stem"][1]
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)
    x_NCHW = torch.full((1, 3, 4, 4), math.pi)
    assert module(x_NCHW).min() >= 0


def test_an_input_has_no_module() -> None:
    with pytest.raises(ValueError, match="computes nothing"):
        make_module(Input(channels=1, height=1, width=1), (), NormSettings())
