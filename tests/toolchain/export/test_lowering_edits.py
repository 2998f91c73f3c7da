from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.export.lowering.edits.batch_norm import fold_batch_norm
from toolchain.export.lowering.edits.clamp import fuse_clamps, name_clamps
from toolchain.export.lowering.edits.scale import name_scales
from toolchain.export.lowering.network import Operation, read_network
from toolchain.export.lowering.window import read_window

CONSTANTS = {
    "w": np.ones((4, 3, 3, 3), np.float32),
    "scale": np.array([1, 2, 3, 4], np.float32),
    "shift": np.array([0, 1, 0, 1], np.float32),
    "mean": np.array([0, 0, 1, 1], np.float32),
    "variance": np.array([1, 4, 9, 16], np.float32),
}


def test_folding_scales_the_filter_and_shifts_the_bias(make_onnx):
    model = make_onnx(
        "c = Conv(image, w)"
        "logits = BatchNormalization<epsilon=0.0>(c, scale, shift, mean, variance)",
        CONSTANTS,
    )
    network = fold_batch_norm(read_network(model))
    (conv,) = network.operations
    filter_OIHW, bias = (network.constants[name] for name in conv.inputs[1:])
    np.testing.assert_array_equal(filter_OIHW[:, 0, 0, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(bias, [0, 1, -1, 0])
    assert {filter_OIHW.dtype, bias.dtype} == {np.dtype(np.float32)}


def test_batch_norm_in_training_mode_is_not_folded(make_onnx):
    model = make_onnx(
        "c = Conv(image, w)"
        "logits, m, v = BatchNormalization<training_mode=1>(c, scale, shift, mean, variance)",
        CONSTANTS,
    )
    assert len(fold_batch_norm(read_network(model)).operations) == 2


@pytest.mark.parametrize(
    ("clamps", "activation"),
    [
        ("logits = Relu(c)", "relu"),
        ("r = Relu(c) logits = Relu(r)", "relu"),
        ("r = Relu(c) logits = Clip(r, zero, six)", "relu6"),
        ("r = Clip(c, zero, six) logits = Relu(r)", "relu6"),
        ("logits = Clip(c, zero)", "relu"),
    ],
)
def test_the_narrower_of_two_clamps_holds(clamps, activation, make_onnx):
    bounds = {"zero": np.float32(0), "six": np.float32(6)}
    model = make_onnx(f"c = Conv(image, w) {clamps}", CONSTANTS | bounds)
    (conv,) = fuse_clamps(name_clamps(read_network(model))).operations
    assert (conv.type, conv.activation) == ("Conv", activation)


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
)
def test_the_pads_that_windows_touch_give_the_same_windows(size, kernel, stride, before, after):
    if size + before + after < kernel:
        return
    output = (size + before + after - kernel) // stride + 1
    operation = Operation(
        type="Conv",
        name="c",
        inputs=("image", "w"),
        output="c",
        attributes={"pads": [before, before, after, after], "strides": [stride, stride]},
    )
    window = read_window(operation, (1, 3, size, size), (1, 4, output, output), (kernel, kernel))
    top, _, bottom, _ = window.pads
    assert top == before
    assert bottom <= after
    assert (size + top + bottom - kernel) // stride + 1 == output
    if window.is_same:
        assert output == -(-size // stride)


@pytest.mark.parametrize(
    ("factor", "by"),
    [(1 / 2, "1/2"), (1 / 3, "1/3"), (1 / 64, "1/64"), (1 / 65, None), (0.4, None), (2, None)],
)
@pytest.mark.parametrize("product", ["Mul(c, factor)", "Mul(factor, c)"])
def test_a_product_with_one_over_a_whole_number_is_a_scale(factor, by, product, make_onnx):
    constants = {**CONSTANTS, "factor": np.float32(factor)}
    model = make_onnx(f"c = Conv(image, w) logits = {product}", constants)
    last = name_scales(read_network(model)).operations[-1]
    if by is None:
        assert last.type == "Mul"
    else:
        assert (last.type, last.inputs, last.attributes) == ("Scale", ("c",), {"by": by})
