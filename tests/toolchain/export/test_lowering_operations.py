"""Models as other exporters write them: what LiteRT computes and runs is what was planned."""

from __future__ import annotations

import numpy as np
import pytest

from profilers.xnnpack import match_events
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


CONV = {"w": weights(4, 3, 3, 3), "b": weights(4)}
NORM = {
    "scale": weights(4),
    "shift": weights(4),
    "mean": weights(4),
    "variance": np.abs(weights(4)) + np.float32(0.5),
}
DEPTHWISE = {"d": weights(4, 1, 3, 3)}
POINTWISE = {"p": weights(6, 4, 1, 1)}
DENSE = {"m": weights(5, 4), "n": weights(5)}
BOUNDS = {"zero": np.float32(0), "six": np.float32(6)}
MAP = "c = Conv<pads=[1,1,1,1]>(image, w, b) r = Relu(c)"

Case = tuple[str, dict[str, np.ndarray], list[str]]

# Nodes, constants, the kernels that they become.
CASES: dict[str, Case] = {
    "batch norm is folded": (
        "c = Conv<pads=[1,1,1,1]>(image, w, b)"
        "logits = BatchNormalization<epsilon=0.01>(c, scale, shift, mean, variance)",
        CONV | NORM,
        ["conv2d"],
    ),
    "batch norm and clamp are folded into a depthwise convolution": (
        f"{MAP} e = Conv<group=4, strides=[2,2], pads=[1,1,1,1]>(r, d)"
        "n = BatchNormalization(e, scale, shift, mean, variance)"
        "logits = Clip(n, zero, six)",
        CONV | DEPTHWISE | NORM | BOUNDS,
        ["conv2d", "depthwise_conv2d"],
    ),
    "batch norm behind a value with two readers": (
        "c = Conv<pads=[1,1,1,1]>(image, w, b) r = Relu(c) logits = Add(c, r)",
        CONV,
        ["conv2d", "clamp", "add"],
    ),
    "symmetric pads that are not SAME": (
        "logits = Conv<strides=[2,2], pads=[2,2,2,2]>(image, w, b)",
        CONV,
        ["conv2d"],
    ),
    "pads without a convolution's part": (
        f"{MAP} logits = Conv<pads=[1,0,2,1]>(r, p)",
        CONV | POINTWISE,
        ["conv2d", "pad", "conv2d"],
    ),
    "pads of a strided 1x1 convolution": (
        f"{MAP} logits = Conv<strides=[2,2], pads=[1,1,1,1]>(r, p)",
        CONV | POINTWISE,
        ["conv2d", "conv2d"],
    ),
    "auto_pad SAME_UPPER": (
        'logits = Conv<strides=[2,2], auto_pad="SAME_UPPER">(image, w, b)',
        CONV,
        ["conv2d"],
    ),
    "auto_pad VALID": ('logits = Conv<auto_pad="VALID">(image, w, b)', CONV, ["conv2d"]),
    "a pad that two convolutions read": (
        f"{MAP} q = Pad(r, widths) e = Conv<group=4>(q, d) f = Conv<group=4>(q, d)"
        "g = Relu(e) logits = Add(f, g)",
        CONV | DEPTHWISE | {"widths": np.array([0, 0, 1, 0, 0, 0, 2, 1])},
        ["conv2d", "depthwise_conv2d", "depthwise_conv2d", "add"],
    ),
    "a pad that is the output": (
        f"{MAP} logits = Pad(r, widths)",
        CONV | {"widths": np.array([0, 0, 1, 0, 0, 0, 2, 1])},
        ["conv2d", "pad"],
    ),
    "max pooling rounded up": (
        f"{MAP} logits = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(r)",
        CONV,
        ["conv2d", "max_pool2d"],
    ),
    "max pooling of negative numbers with SAME pads": (
        "c = Conv(image, w, b)"
        "logits = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,0,1,1]>(c)",
        CONV,
        ["conv2d", "max_pool2d"],
    ),
    "max pooling with other pads where nothing is negative": (
        f"{MAP} logits = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r)",
        CONV,
        ["conv2d", "pad", "max_pool2d"],
    ),
    "a clamp is part of max pooling": (
        "c = Conv(image, w, b) q = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)logits = Relu(q)",
        CONV,
        ["conv2d", "max_pool2d"],
    ),
    "two clamps are one": (
        f"{MAP} a = Add(r, c) x = Relu(a) logits = Clip(x, zero, six)",
        CONV | BOUNDS,
        ["conv2d", "clamp", "add", "clamp"],
    ),
    "swish": (
        "c = Conv(image, w, b) s = Sigmoid(c) logits = Mul(c, s)",
        CONV,
        ["conv2d", "sigmoid", "multiply"],
    ),
    "hard swish": ("c = Conv(image, w, b) logits = HardSwish(c)", CONV, ["conv2d", "hard_swish"]),
    "hard swish spelled out": (
        "c = Conv(image, w, b) s = HardSigmoid<alpha=0.16666667, beta=0.5>(c) logits = Mul(s, c)",
        CONV,
        ["conv2d", "hard_swish"],
    ),
    "squeeze and excite": (
        f"{MAP} q = GlobalAveragePool(r) e = Conv(q, p) s = Sigmoid(e) t = Conv(r, p)"
        "logits = Mul(s, t)",
        CONV | POINTWISE,
        ["conv2d", "mean", "conv2d", "sigmoid", "conv2d", "multiply"],
    ),
    "hard sigmoid behind a convolution without bias": (
        f"{MAP} e = Conv(r, p) logits = HardSigmoid<alpha=0.16666667, beta=0.5>(e)",
        CONV | POINTWISE,
        ["conv2d", "conv2d", "scale"],
    ),
    "hard sigmoid behind batch norm": (
        "c = Conv(image, w, b) n = BatchNormalization(c, scale, shift, mean, variance)"
        "logits = HardSigmoid<alpha=0.16666667>(n)",
        CONV | NORM,
        ["conv2d", "scale"],
    ),
    "hard sigmoid behind dense layers with and without bias": (
        f"{MAP} q = ReduceMean<keepdims=0>(r, axes) g = Gemm<transB=1>(q, m, n)"
        "h = HardSigmoid<alpha=0.16666667>(g) k = MatMul(h, square)"
        "logits = HardSigmoid<alpha=0.16666667>(k)",
        CONV | DENSE | {"axes": np.array([2, 3]), "square": weights(5, 5)},
        ["conv2d", "mean", *["flatten", "fully_connected", "scale"] * 2],
    ),
    "squeeze and excite with hard sigmoid": (
        f"{MAP} q = GlobalAveragePool(r) e = Conv(q, f, n) s = HardSigmoid<alpha=0.16666667>(e)"
        "logits = Mul(r, s)",
        CONV | {"f": weights(4, 4, 1, 1), "n": weights(4)},
        ["conv2d", "mean", "conv2d", "scale", "multiply"],
    ),
    "a hard sigmoid that scales another value": (
        "c = Conv(image, w, b) s = HardSigmoid<alpha=0.16666667>(c) t = Mul(s, c)"
        "d = Conv(image, w, b) u = HardSigmoid<alpha=0.16666667>(d) v = Mul(t, u)"
        "logits = Sigmoid(v)",
        CONV,
        ["conv2d", "hard_swish", "conv2d", "scale", "multiply", "sigmoid"],
    ),
    "global pooling, Flatten, Gemm": (
        f"{MAP} q = GlobalAveragePool(r) f = Flatten(q) g = Gemm<transB=1>(f, m, n)"
        "logits = Relu(g)",
        CONV | DENSE,
        ["conv2d", "mean", "flatten", "fully_connected"],
    ),
    "global pooling, Squeeze, MatMul, Add": (
        f"{MAP} q = ReduceMean(r, axes) f = Squeeze(q, axes) g = MatMul(f, k)logits = Add(n, g)",
        CONV | {"k": weights(4, 5), "n": weights(5), "axes": np.array([2, 3])},
        ["conv2d", "mean", "flatten", "fully_connected"],
    ),
    "a dense layer without bias": (
        f"{MAP} q = ReduceMean<keepdims=0>(r, axes) logits = MatMul(q, k)",
        CONV | {"k": weights(4, 5), "axes": np.array([-1, -2])},
        ["conv2d", "mean", "flatten", "fully_connected"],
    ),
    "a dense layer on a flattened feature map": (
        "c = Conv(image, w, b) f = Flatten(c) logits = Gemm<transB=1>(f, m)",
        CONV | {"m": weights(5, 4 * 7 * 6)},
        ["conv2d", "flatten", "fully_connected"],
    ),
    "a flattened 1x1 map that is the output": (
        f"{MAP} q = GlobalAveragePool(r) e = Conv(q, p) logits = Reshape(e, shape)",
        CONV | POINTWISE | {"shape": np.array([1, -1])},
        ["conv2d", "mean", "conv2d", "flatten"],
    ),
    "a flattened 1x1 map that is read twice": (
        f"{MAP} q = GlobalAveragePool(r) e = Conv(q, p) f = Flatten(e) s = Sigmoid(f)"
        "logits = Mul(f, s)",
        CONV | POINTWISE,
        ["conv2d", "mean", "conv2d", "flatten", "sigmoid", "multiply"],
    ),
    "a concat of seven": (
        f"{MAP} logits = Concat<axis=-3>(r, c, r, c, r, c, r)",
        CONV,
        ["conv2d", "clamp", "concat", "concat"],
    ),
    "a concat of vectors": (
        f"{MAP} q = ReduceMean<keepdims=0>(r, axes) s = Sigmoid(q) logits = Concat<axis=1>(q, s)",
        CONV | {"axes": np.array([2, 3])},
        ["conv2d", "mean", "sigmoid", "concat"],
    ),
    "repeated pixels": (
        f'{MAP} logits = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",'
        'nearest_mode="floor">(r, , factors)',
        CONV | {"factors": np.array([1, 1, 3, 3], np.float32)},
        ["conv2d", "reshape", "repeat", "reshape"],
    ),
    "repeated pixels about centres": (
        f"{MAP} logits = Resize(r, , , sizes)",
        CONV | {"sizes": np.array([1, 4, 36, 32])},
        ["conv2d", "reshape", "repeat", "reshape"],
    ),
    "bilinear enlargement": (
        f'{MAP} logits = Resize<mode="linear">(r, , factors)',
        CONV | {"factors": np.array([1, 1, 2, 2], np.float32)},
        ["conv2d", "resize_bilinear"],
    ),
    "a transposed convolution": (
        f"{MAP} logits = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(r, u, b)",
        CONV | {"u": weights(4, 4, 4, 4)},
        ["conv2d", "conv_transpose2d"],
    ),
    "batch norm and clamp are folded into a transposed convolution": (
        f"{MAP} t = ConvTranspose<strides=[3,3]>(r, u)"
        "n = BatchNormalization(t, scale, shift, mean, variance) logits = Relu(n)",
        CONV | NORM | {"u": weights(4, 4, 3, 3)},
        ["conv2d", "conv_transpose2d"],
    ),
    "a clamp of a sum": (
        f"{MAP} a = Add(r, r) logits = Relu(a)",
        CONV,
        ["conv2d", "add", "clamp"],
    ),
    "what does nothing is passed through": (
        f"{MAP} i = Identity(r) v = Identity(p) e = Conv(i, v) logits = Dropout(e)",
        CONV | POINTWISE,
        ["conv2d", "conv2d"],
    ),
    "what nothing reads is left out": (
        f"{MAP} unused = Softmax(r) logits = Sigmoid(r)",
        CONV,
        ["conv2d", "sigmoid"],
    ),
}


@pytest.mark.parametrize(("nodes", "constants", "kinds"), CASES.values(), ids=list(CASES))
def test_litert_runs_the_plan_and_computes_the_same(
    nodes, constants, kinds, make_onnx, run_onnx, run_tflite, events_of
):
    model = make_onnx(nodes, constants)
    lowered = lower(model)
    content = write_tflite(lowered.plan, lowered.weights)
    image = weights(1, 3, 9, 8)
    expected = run_onnx(model, image)
    np.testing.assert_allclose(run_tflite(content, image), expected, rtol=1e-4, atol=1e-4)
    match_events(events_of(content), lowered.plan.kernels)
    # Order of execution follows the ONNX model; merged operations stand where their first stood.
    assert sorted(kernel.kind for kernel in lowered.plan.kernels) == sorted(kinds)


def test_old_opsets_state_as_attributes_what_new_ones_read(make_onnx, run_onnx, run_tflite):
    model = make_onnx(
        "q = Pad<pads=[0,0,0,0,0,0,1,1], value=0.0>(image) c = Conv<strides=[2,2]>(q, w, b)"
        "x = Clip<min=0.0, max=6.0>(c) r = ReduceMean<axes=[2,3], keepdims=1>(x)"
        "f = Squeeze<axes=[2,3]>(r) logits = Gemm<transB=1>(f, m, n)",
        CONV | DENSE,
        opset=10,
    )
    lowered = lower(model)
    assert [kernel.kind for kernel in lowered.plan.kernels] == [
        "conv2d",
        "mean",
        "flatten",
        "fully_connected",
    ]
    image = weights(1, 3, 9, 8)
    content = write_tflite(lowered.plan, lowered.weights)
    np.testing.assert_allclose(
        run_tflite(content, image), run_onnx(model, image), rtol=1e-4, atol=1e-5
    )


def test_constant_nodes_are_constants(make_onnx, run_onnx, run_tflite):
    model = make_onnx(
        "c = Conv(image, w, b) zero = Constant<value_float=0.0>()"
        "six = Constant<value=float {6.0}>() logits = Clip(c, zero, six)",
        CONV,
    )
    lowered = lower(model)
    assert [kernel.activation for kernel in lowered.plan.kernels] == ["relu6"]


def test_padding_is_same_only_where_windows_lie_as_tflite_puts_them(make_onnx):
    def padding(pads: str, size: int) -> str:
        model = make_onnx(
            f"logits = Conv<strides=[2,2], pads={pads}>(image, w, b)", CONV, (1, 3, size, size)
        )
        (kernel,) = lower(model).plan.kernels
        return kernel.attribute("padding")

    assert padding("[1,1,1,1]", 9) == "same"
    assert padding("[1,1,1,1]", 8) == "1x0x1x0"
    assert padding("[0,0,1,1]", 8) == "same"
    assert padding("[0,0,0,0]", 9) == "valid"
