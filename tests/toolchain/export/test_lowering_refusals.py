"""What cannot be lowered rightly is refused, by name, with a remedy."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.errors import ExportFailed
from toolchain.export.lowering.lower import lower

CONSTANTS = {
    "w": np.ones((4, 3, 3, 3), np.float32),
    "half": np.ones((4, 3, 3, 3), np.float16),
    "grouped": np.ones((4, 2, 1, 1), np.float32),
    "vector": np.ones(4, np.float32),
    "matrix": np.ones((4, 5), np.float32),
    "three": np.ones(3, np.float32),
    "scalar": np.float32(2),
    "crop": np.array([0, 0, -1, 0, 0, 0, 0, 0]),
    "widths": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "axis": np.array([1]),
    "zero": np.array([0]),
    "shape": np.array([1, 2, -1]),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "fractions": np.array([1, 1, 1.5, 1.5], np.float32),
    "uneven": np.array([1, 1, 2, 3], np.float32),
    "slightly": np.array([1, 1, 2, 2.1], np.float32),
    "up": np.ones((4, 4, 4, 4), np.float32),
}
MAP = "c = Conv(image, w)"
VECTOR = f"{MAP} q = GlobalAveragePool(c) f = Flatten(q)"

REFUSALS = {
    "logits = Softmax(image)": "Softmax .*no rule.* use one of Add",
    f"{MAP} logits = LeakyRelu(c)": "LeakyRelu",
    "logits = Conv<dilations=[2,2]>(image, w)": r"dilations=\[2, 2\]",
    'logits = Conv<auto_pad="SAME_LOWER">(image, w)': "auto_pad=SAME_LOWER",
    f"{MAP} logits = Conv<group=2>(c, grouped)": (
        r"group=2 with 4 channels in and a filter of shape \(4, 2, 1, 1\)"
    ),
    f"{MAP} n, m, v = BatchNormalization<training_mode=1>(c, vector, vector, vector, vector)"
    "logits = Relu(m)": "its input 'm' is no first output",
    f"{MAP} r = Relu(c) logits = BatchNormalization(r, vector, vector, vector, vector)": (
        "BatchNormalization .*put it behind a convolution"
    ),
    f"{MAP} n = BatchNormalization(c, vector, vector, vector, vector) logits = Add(c, n)": (
        "BatchNormalization"
    ),
    f"{MAP} logits = Clip(c, scalar)": r"Clip .*only Clip\(0, 6\)",
    f"{MAP} logits = HardSigmoid(c)": "HardSigmoid .*slope 1/6 and offset 1/2",
    f"{MAP} r = Relu(c) logits = HardSigmoid<alpha=0.16666667>(r)": "HardSigmoid .*behind a conv",
    f"{MAP} h = HardSigmoid<alpha=0.16666667>(c) logits = Add(h, c)": "that nothing else reads",
    f"{MAP} logits = Mul(c, scalar)": "its input 'scalar' is no first output .*constant",
    f"{MAP} logits = Gather(c, axis)": "Gather .*by words that the network reads",
    f"{MAP} q = GlobalAveragePool(c) f = Flatten(q) logits = Slice(f, zero, axis, axis)": (
        "Slice .*along axis 0"
    ),
    f"{MAP} q = Pad(c, crop) logits = Conv(q, grouped)": "Pad .*does more than put zeros",
    f'{MAP} q = Pad<mode="reflect">(c, widths) logits = Relu(q)': "Pad .*does more",
    f"{MAP} q = Pad(c, widths, scalar) logits = Relu(q)": "Pad .*does more",
    f"{MAP} logits = MaxPool<kernel_shape=[1,1], strides=[2,2]>(c)": "its window is 1x1",
    f"{MAP} logits = MaxPool<kernel_shape=[3,3], pads=[2,2,2,2]>(c)": "is not SAME",
    f"{MAP} logits = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(c)": "dilations",
    f"{MAP} logits = ReduceMean(c, axis)": r"axes=\[1\] of rank 4",
    f"{MAP} logits = ReduceMean(c)": "axes=all",
    f"{MAP} logits = Concat<axis=2>(c, c)": "axis=2",
    f"{MAP} logits = Resize(c, , fractions)": r"Resize .*it makes .*the same whole number",
    f"{MAP} logits = Resize(c, , uneven)": r"Resize .*it makes \(1, 14, 18, 4\)",
    f"{MAP} logits = Resize(c, , slightly)": r"its factors are \[1.0, 1.0, 2.0, 2.0999",
    f'{MAP} logits = Resize<mode="cubic">(c, , twice)': "Resize .*mode=cubic",
    f'{MAP} logits = Resize<mode="linear", coordinate_transformation_mode="align_corners">'
    "(c, , twice)": "align_corners=False",
    f'{MAP} logits = Resize<coordinate_transformation_mode="asymmetric", nearest_mode="ceil">'
    "(c, , twice)": "nearest_mode=ceil",
    f"{MAP} logits = ConvTranspose<strides=[2,2]>(c, up)": "ConvTranspose .*half of kernel less",
    f"{MAP} logits = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(c, up)": (
        r"'output_padding': \[1, 1\]"
    ),
    f"{MAP} logits = ConvTranspose<strides=[2,2], pads=[1,1,1,1], group=2>(c, up)": (
        "without groups"
    ),
    f"{MAP} f = Flatten(c) logits = Relu(f)": "flattened in NCHW order",
    f"{MAP} logits = Flatten(c)": "flattened in NCHW order",
    f"{MAP} logits = Flatten<axis=2>(c)": "Flatten .*output has shape",
    f"{MAP} logits = Reshape(c, shape)": "Reshape .*output has shape",
    f"{VECTOR} logits = Gemm<alpha=0.5>(f, matrix)": "Gemm .*alpha",
    f"{VECTOR} logits = Gemm(f, matrix, scalar)": r"its bias has shape \(\)",
    f"{MAP} q = GlobalAveragePool(c) logits = MatMul(q, q)": "MatMul",
    "c = Conv<strides=[1,2], pads=[0,1,0,1]>(image, w) q = GlobalAveragePool(c) f = Flatten(q)"
    "logits = Mul(f, c)": "of different rank",
}


@pytest.mark.parametrize(("nodes", "message"), REFUSALS.items(), ids=list(REFUSALS))
def test_unsupported_patterns_are_refused_by_name(nodes, message, make_onnx):
    model = make_onnx(nodes, CONSTANTS)
    with pytest.raises(ExportFailed, match=message):
        lower(model)


def test_a_batch_is_refused(make_onnx):
    with pytest.raises(ExportFailed, match=r"\(2, 3, 9, 8\).*export it for one image"):
        lower(make_onnx(f"{MAP} logits = Relu(c)", CONSTANTS, (2, 3, 9, 8)))


def test_a_dynamic_shape_is_refused(make_onnx):
    with pytest.raises(ExportFailed, match="not static"):
        lower(make_onnx(f"{MAP} logits = Relu(c)", CONSTANTS, ("N", 3, 9, 8)))


def test_a_batch_of_vectors_is_refused(make_onnx):
    with pytest.raises(ExportFailed, match=r"\(2, 9\).*export it for one image"):
        lower(make_onnx("logits = Relu(image)", CONSTANTS, (2, 9)))


def test_an_output_that_is_an_input_is_refused(make_onnx):
    model = make_onnx(f"{MAP} logits = Relu(c)", CONSTANTS)
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(ExportFailed, match="computes nothing for its output 'image'"):
        lower(model)


def test_a_model_that_only_hands_on_is_refused(make_onnx):
    with pytest.raises(ExportFailed, match="computes nothing"):
        lower(make_onnx("logits = Identity(image)"))


def test_an_operator_of_another_domain_is_refused(make_onnx):
    model = make_onnx(f"{MAP} logits = Relu(c)", CONSTANTS)
    model.graph.node[1].domain = "com.example"
    model.opset_import.add(domain="com.example", version=1)
    with pytest.raises(ExportFailed, match=r"com\.example\.Relu"):
        lower(model)


def test_an_unknown_attribute_is_refused(make_onnx):
    model = make_onnx(f"{MAP} logits = Sigmoid(c)", CONSTANTS)
    model.graph.node[1].attribute.add(name="slope", type=1, f=2.0)
    with pytest.raises(ExportFailed, match="slope"):
        lower(model)


def test_a_filter_for_other_channels_is_refused(make_onnx):
    model = make_onnx("logits = Conv(image, w)", CONSTANTS, (1, 5, 9, 8))
    with pytest.raises(ExportFailed, match=r"5 channels in and a filter of shape \(4, 3, 3, 3\)"):
        lower(model)


def test_inconsistent_shapes_are_refused(make_onnx):
    model = make_onnx(f"{VECTOR} logits = Mul(f, c)", CONSTANTS)
    with pytest.raises(ExportFailed, match="inconsistent shapes"):
        lower(model)
