from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from latency_tables.kernel import make_kernel
from toolchain.export.flatbuffer import Weights, random_weights, write_tflite
from toolchain.kernels import Plan, Step, image_plan, plan
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def operators(content: bytes) -> list[str]:
    model = schema.ModelT.InitFromPackedBuf(content)
    codes = [NAMES[code.builtinCode] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def conv_plan(padding: str) -> Plan:
    attributes = {"kernel": "3x3", "stride": "2x2", "padding": padding}
    kernel = make_kernel("conv2d", ((1, 8, 8, 3),), (1, 4, 4, 5), attributes)
    return image_plan((1, 8, 8, 3), (Step(kernel, (0,)),))


def test_a_network_has_one_operator_for_each_kernel_but_the_flatten_and_no_transpose():
    network = plan(ShrinkCnnSpace(activation="swish").decode("s0.c01.s012"))
    names = operators(write_tflite(network, random_weights(network, 0)))
    assert len(names) == len(network.steps) - 1
    assert "TRANSPOSE" not in names
    assert "RESHAPE" not in names


def test_pads_in_numbers_are_an_operator_before_the_convolution():
    network = conv_plan("1x0x1x0")
    assert operators(write_tflite(network, random_weights(network, 0))) == ["PAD", "CONV_2D"]


def test_same_padding_is_part_of_the_convolution():
    network = conv_plan("same")
    assert operators(write_tflite(network, random_weights(network, 0))) == ["CONV_2D"]


def test_a_flatten_that_no_dense_layer_reads_is_an_operator():
    flatten = make_kernel("flatten", ((1, 2, 2, 3),), (1, 12))
    network = image_plan((1, 2, 2, 3), (Step(flatten, (0,)),))
    assert operators(write_tflite(network, {})) == ["RESHAPE"]


def test_a_scale_is_a_product_with_a_constant():
    scale = make_kernel("scale", ((1, 2, 2, 3),), (1, 2, 2, 3), {"by": "1/6"})
    content = write_tflite(image_plan((1, 2, 2, 3), (Step(scale, (0,)),)), {})
    assert operators(content) == ["MUL"]
    model = schema.ModelT.InitFromPackedBuf(content)
    factor = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    assert factor.type == schema.TensorType.FLOAT32
    assert model.buffers[factor.buffer].data.view(np.float32) == [np.float32(1 / 6)]


def sum_plan(range_: str, reads: tuple[int, ...]) -> Plan:
    """A sum, its clamp, and a sum of what ``reads`` says."""
    shape = (1, 2, 2, 3)
    add = make_kernel("add", (shape, shape), shape)
    clamp = make_kernel("clamp", (shape,), shape, {"range": range_})
    return image_plan(shape, (Step(add, (0, 0)), Step(clamp, (1,)), Step(add, reads)))


def test_a_clamp_that_alone_reads_a_sum_is_the_activation_of_that():
    for name, code in (("relu", 1), ("relu6", 3)):
        content = write_tflite(sum_plan(name, (2, 0)), {})
        assert operators(content) == ["ADD", "ADD"]
        model = schema.ModelT.InitFromPackedBuf(content)
        first, second = (one.builtinOptions for one in model.subgraphs[0].operators)
        assert (first.fusedActivationFunction, second.fusedActivationFunction) == (code, 0)


def test_a_clamp_of_a_sum_that_others_read_is_an_operator_of_its_own():
    assert operators(write_tflite(sum_plan("relu", (2, 1)), {})) == ["ADD", "RELU", "ADD"]


def test_a_clamped_sum_can_be_the_output():
    plan_ = sum_plan("relu", (2, 0))
    content = write_tflite(image_plan(plan_.inputs[0].shape, plan_.steps[:2]), {})
    assert operators(content) == ["ADD"]
    subgraph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    assert subgraph.tensors[subgraph.outputs[0]].name == b"logits"


def test_operators_state_the_version_that_knows_their_settings():
    shape = (1, 2, 2, 3)
    attributes = {"kernel": "4x4", "stride": "2x2", "padding": "same"}
    network = image_plan(
        shape,
        (
            Step(make_kernel("resize_bilinear", (shape,), (1, 4, 4, 3)), (0,)),
            Step(make_kernel("conv_transpose2d", ((1, 4, 4, 3),), (1, 8, 8, 5), attributes), (1,)),
        ),
    )
    model = schema.ModelT.InitFromPackedBuf(write_tflite(network, random_weights(network, 0)))
    # tensorflow/lite/tools/versioning/op_version.cc
    assert [code.version for code in model.operatorCodes] == [3, 4]


def test_the_same_plan_and_seed_give_the_same_bytes():
    network = plan(ShrinkCnnSpace().decode("s0.c01"))
    one, other = (write_tflite(network, random_weights(network, 7)) for _ in range(2))
    assert one == other


def test_missing_weights_are_refused():
    with pytest.raises(ValueError, match=r"step 0 .*\(5, 3, 3, 3\), got none"):
        write_tflite(conv_plan("same"), {})


def test_weights_of_another_shape_are_refused():
    weights = {0: Weights(np.zeros((5, 3, 3, 2), np.float32), np.zeros(5, np.float32))}
    with pytest.raises(ValueError, match=r"got \(5, 3, 3, 2\)"):
        write_tflite(conv_plan("same"), weights)


def test_an_unknown_kind_of_kernel_is_refused():
    kernel = make_kernel("teleport", ((1, 4),), (1, 4))
    with pytest.raises(ValueError, match="no TFLite operator for kernel teleport"):
        write_tflite(image_plan((1, 4), (Step(kernel, (0,)),)), {})
