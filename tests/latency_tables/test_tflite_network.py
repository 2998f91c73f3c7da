from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_builder import NetworkBuilder

from latency_tables.errors import NetworkUnreadable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network, read_network
from latency_tables.tflite.schema import ModelDamaged

SHAPE = (1, 8, 8, 4)


def small() -> bytes:
    builder = NetworkBuilder()
    return builder.content(builder.convolution(builder.input(*SHAPE), 4, activation=1))


def test_tensors_operators_and_constants_are_read() -> None:
    network = parse_network(small())
    (operator,) = network.operators
    assert (operator.name, operator.version) == ("CONV_2D", 3)
    assert operator.options["strideH"] == 1
    assert [network.tensors[index].shape for index in network.inputs] == [SHAPE]
    weights = network.tensors[operator.inputs[1]]
    assert (weights.is_constant, weights.dtype) == (True, "float32")
    assert weights.values is not None
    assert weights.values.shape == (4, 3, 3, 4)
    assert network.output(operator).shape == SHAPE


def test_constants_behind_the_flatbuffer_are_read() -> None:
    content = small()
    model = schema.ModelT.InitFromPackedBuf(content)
    behind = b""
    places = {}
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data):
            places[index] = (len(behind), len(buffer.data))
            behind += bytes(memoryview(buffer.data))
            buffer.data, buffer.offset, buffer.size = None, 2, 1
    size = len(_packed(model))
    for index, (start, length) in places.items():
        model.buffers[index].offset, model.buffers[index].size = size + start, length
    moved = _packed(model)
    assert len(moved) == size
    plain, external = parse_network(content), parse_network(moved + behind)
    for one, other in zip(plain.tensors, external.tensors, strict=True):
        assert (one.data, one.is_constant) == (other.data, other.is_constant)
    assert decompose(plain) == decompose(external)


def _packed(model: schema.ModelT) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_file_that_is_none_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(NetworkUnreadable, match=r"missing\.tflite: No such file"):
        read_network(tmp_path / "missing.tflite")
    path = tmp_path / "net.tflite"
    path.write_bytes(b"")
    with pytest.raises(NetworkUnreadable, match=r"net\.tflite \(0 bytes\) is not a TFLite model"):
        read_network(path)
    path.write_bytes(small()[:300])
    with pytest.raises(NetworkUnreadable, match="truncated or damaged"):
        read_network(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_breaks(data: st.DataObject) -> None:
    content = bytearray(small())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decompose(parse_network(bytes(content)))
    except (ModelDamaged, NetworkUnreadable):
        return


def test_control_flow_is_refused_by_name() -> None:
    builder = NetworkBuilder()
    source = builder.input(*SHAPE)
    condition = builder.input(1, dtype="bool")
    content = builder.content(
        builder.operator("IF", [condition, source], SHAPE, type="IfOptions", thenSubgraphIndex=0)
    )
    with pytest.raises(NetworkUnreadable, match=r"operator 0, IF, .* without control flow"):
        parse_network(content)


def test_sizes_that_depend_on_computed_numbers_are_refused() -> None:
    builder = NetworkBuilder()
    source = builder.input(1, 1)
    content = builder.content(
        builder.operator("RESHAPE", [source], (1, 16, 64), type="ReshapeOptions")
    )
    with pytest.raises(NetworkUnreadable, match=r"'t1' depends on numbers .* fixed input shapes"):
        parse_network(content)


def test_a_packed_constant_counts_as_a_constant() -> None:
    builder = NetworkBuilder()
    content = builder.content(builder.convolution(builder.input(*SHAPE), 4, weights="float16"))
    network = parse_network(content)
    unpacked = network.operators[0].outputs[0]
    assert network.operators[0].name == "DEQUANTIZE"
    assert unpacked in network.constants
    assert network.tensors[unpacked].values is None
    packed = network.tensors[network.operators[0].inputs[0]]
    assert packed.values is not None
    assert packed.values.dtype == np.float16


def test_an_operator_without_what_its_kind_has_is_named() -> None:
    builder = NetworkBuilder()
    value = builder.operator("MAX_POOL_2D", [builder.input(*SHAPE)], SHAPE)
    with pytest.raises(NetworkUnreadable, match="operator 0, MAX_POOL_2D, is not made as"):
        decompose(parse_network(builder.content(value)))
