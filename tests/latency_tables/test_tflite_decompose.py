"""What a file runs, told without running it; tests of the profilers ask the runtime."""

from __future__ import annotations

import pytest
from operator_zoo import network_of
from tflite_builder import NetworkBuilder

from latency_tables.kernel import parse_kernel
from latency_tables.tflite.cut import cut
from latency_tables.tflite.decompose import Decomposition, decompose
from latency_tables.tflite.network import parse_network
from latency_tables.tflite.pieces import LEAST_KERNELS, pieces

SHAPE = (1, 8, 8, 4)


def told(content: bytes) -> list[str]:
    return [kernel.key for kernel in decompose(parse_network(content)).kernels]


def kinds(content: bytes) -> list[str]:
    return [kernel.kind for kernel in decompose(parse_network(content)).kernels]


def parts(content: bytes) -> tuple[Decomposition, list[int]]:
    whole = decompose(parse_network(content))
    return whole, [len(part) if part[0].is_delegated else -len(part) for part in whole.parts]


def relu_after(count: int) -> NetworkBuilder:
    builder = NetworkBuilder()
    value = builder.input(*SHAPE)
    for _ in range(count):
        value = builder.convolution(value, 4)
        value = builder.operator("RELU", [value], SHAPE)
    return builder


def test_an_activation_of_its_own_joins_the_convolution() -> None:
    builder = relu_after(1)
    assert told(builder.content(builder.graph.operators[-1].outputs[0])) == [
        "conv2d 1x8x8x4 -> 1x8x8x4 kernel=3x3 padding=same stride=1x1 act=relu float32"
    ]


def test_a_convolution_that_something_else_reads_keeps_its_activation_apart() -> None:
    builder = relu_after(1)
    convolution, relu = (one.outputs[0] for one in builder.graph.operators)
    assert kinds(builder.content(convolution, relu)) == ["conv2d", "clamp"]


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_half_precision_weights_are_the_same_kernel(weights: str) -> None:
    builder = NetworkBuilder()
    assert told(
        builder.content(builder.convolution(builder.input(*SHAPE), 4, weights=weights))
    ) == ["conv2d 1x8x8x4 -> 1x8x8x4 kernel=3x3 padding=same stride=1x1 act=linear float32"]


def test_quantized_kernels_name_their_type_and_a_shared_scale() -> None:
    keys = []
    for per_channel in (True, False):
        builder = NetworkBuilder("int8")
        value = builder.convolution(builder.input(*SHAPE), 4, per_channel=per_channel)
        keys += told(builder.content(value))
    common = "conv2d 1x8x8x4 -> 1x8x8x4 kernel=3x3 padding=same"
    assert keys == [f"{common} stride=1x1 act=linear int8",
                    f"{common} scales=one stride=1x1 act=linear int8"]  # fmt: skip


def test_dynamic_range_weights_are_named_and_their_input_is_quantized() -> None:
    builder = NetworkBuilder()
    keys = told(builder.content(builder.convolution(builder.input(*SHAPE), 4, weights="int8")))
    assert keys[0] == "quantize_dynamically 1x8x8x4 -> 1x8x8x4 act=linear float32"
    assert "weights=int8" in keys[1]


@pytest.mark.parametrize(
    ("stride", "valid", "expected"),
    [(1, True, "same"), (2, True, "1x0x1x0"), (1, False, "2x2x2x2")],
)
def test_padding_is_told_by_what_it_comes_to(stride: int, valid: bool, expected: str) -> None:
    builder = NetworkBuilder()
    widths = builder.tensor((4, 2), dtype="int32", data=[[0, 0], [1, 1], [1, 1], [0, 0]])
    padded = builder.operator(
        "PAD", [builder.input(*SHAPE), widths], (1, 10, 10, 4), type="PadOptions"
    )
    (key,) = told(builder.content(builder.convolution(padded, 4, stride=stride, valid=valid)))
    assert f"padding={expected} " in key


def test_what_falls_out_of_xnnpack_is_named_and_splits_the_network() -> None:
    builder = NetworkBuilder()
    value = builder.convolution(builder.input(*SHAPE), 4)
    joined = builder.operator(
        "CONCATENATION", [value] * 6, (1, 8, 8, 24), type="ConcatenationOptions", axis=3
    )
    content = builder.content(builder.convolution(joined, 4))
    whole, found = parts(content)
    assert found == [1, -1, 1]
    assert whole.delegated_parts == 2
    assert dict(whole.reasons) == {1: "concat of 6 inputs: XNNPACK takes 2 to 5"}
    assert dict(whole.parts[1][0].kernel.attributes)["delegate"] == "none"


def test_int8_hard_swish_is_left_to_tflite() -> None:
    builder = NetworkBuilder("int8")
    value = builder.convolution(builder.input(*SHAPE), 4)
    whole, found = parts(builder.content(builder.operator("HARD_SWISH", [value], SHAPE)))
    assert found == [1, -1]
    assert list(whole.reasons.values()) == ["int8 HARD_SWISH"]


def test_operators_that_are_ready_run_with_the_part_before() -> None:
    # TFLite's parts take in every operator of their kind that is ready, in whatever order.
    builder = NetworkBuilder()
    source = builder.input(*SHAPE)
    cast = builder.operator("CAST", [source], SHAPE, to="int32", type="CastOptions")
    convolution = builder.convolution(source, 4)
    other = builder.operator("CAST", [source], SHAPE, to="int32", type="CastOptions")
    whole, found = parts(builder.content(cast, convolution, other))
    assert found == [-2, 1]
    assert [one.operators for one in whole.run] == [(0,), (2,), (1,)]


def test_an_lstm_in_one_operator_is_a_kernel_outside_of_xnnpack() -> None:
    whole, found = parts(network_of("UNIDIRECTIONAL_SEQUENCE_LSTM", "float32"))
    assert found == [2, -1]
    assert whole.kernels[-1].key.startswith(
        "unidirectional_sequence_lstm 1x64x4,1x5,1x5 -> 1x64x5 "
    )


def test_a_custom_operator_is_a_kernel_by_its_own_name() -> None:
    builder = NetworkBuilder()
    value = builder.operator("My Warp", [builder.input(*SHAPE)], SHAPE, custom=b"\1\2")
    whole, _ = parts(builder.content(value))
    assert whole.kernels[0].kind == "My_Warp"
    assert whole.reasons == {0: "XNNPACK has no My Warp"}


def test_the_text_of_every_kernel_parses_back() -> None:
    builder = NetworkBuilder()
    value = builder.convolution(builder.input(*SHAPE), 4)
    value = builder.operator("MUL", [value, builder.tensor((), data=2)], SHAPE, type="MulOptions")
    value = builder.operator("GATHER", [value, builder.numbers(1, 2)], (1, 8, 8, 2),
                             type="GatherOptions", axis=3)  # fmt: skip
    value = builder.operator("My Warp", [value], (), custom=b"\1\2")
    for kernel in decompose(parse_network(builder.content(value))).kernels:
        assert parse_kernel(kernel.key) == kernel


def test_a_piece_runs_its_kernels_as_the_whole_does() -> None:
    builder = relu_after(5)
    network = parse_network(builder.content(builder.graph.operators[-1].outputs[0]))
    whole = decompose(network)
    piece = parse_network(cut(network, {2, 3, 4, 5}))
    assert decompose(piece).kernels == whole.kernels[1:3]
    assert [piece.tensors[index].shape for index in piece.inputs] == [SHAPE]
    weights = piece.tensors[piece.operators[0].inputs[1]]
    assert weights.data == network.tensors[network.operators[2].inputs[1]].data


def test_a_piece_brings_the_constants_that_it_unpacks() -> None:
    builder = NetworkBuilder()
    value = builder.input(*SHAPE)
    for _ in range(3):
        value = builder.convolution(value, 4, weights="float16")
    network = parse_network(builder.content(value))
    piece = parse_network(cut(network, {3}))
    assert [one.name for one in piece.operators] == ["DEQUANTIZE", "CONV_2D"]
    assert len(decompose(piece).kernels) == 1


@pytest.mark.parametrize("count", [1, 5, 7, 20, 41])
def test_pieces_cover_every_kernel_and_none_is_the_whole(count: int) -> None:
    builder = NetworkBuilder()
    value = builder.input(1, 8, 8, 1)
    for channels in range(1, count + 1):  # every kernel another
        value = builder.convolution(value, channels)
    network = parse_network(builder.content(value))
    whole = decompose(network)
    made = list(pieces(network, whole))
    assert {kernel for piece in made for kernel in piece.kernels} == set(whole.kernels)
    if count > LEAST_KERNELS:
        assert max(len(piece.kernels) for piece in made) < count
    for piece in made:
        assert decompose(parse_network(piece.build())).kernels == piece.kernels


def test_no_piece_has_two_partitions_of_xnnpack() -> None:
    builder = NetworkBuilder()
    value = builder.input(*SHAPE)
    for _ in range(3):
        for _ in range(4):
            value = builder.convolution(value, 4)
        value = builder.operator("CAST", [value], SHAPE, to="int32", type="CastOptions")
        value = builder.operator("CAST", [value], SHAPE, type="CastOptions")
    network = parse_network(builder.content(value))
    whole = decompose(network)
    assert whole.delegated_parts == 3
    made = [decompose(parse_network(piece.build())) for piece in pieces(network, whole)]
    assert {one.delegated_parts for one in made} == {1}
    assert {kernel for one in made for kernel in one.kernels} == set(whole.kernels)
