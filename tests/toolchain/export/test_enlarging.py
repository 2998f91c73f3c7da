"""Layers that enlarge: what torch computes, LiteRT computes, in kernels that XNNPACK takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from latency_tables.kernel import Kernel, make_kernel
from profilers.litert import LiteRtModel, OperatorEvent
from profilers.xnnpack import match_events
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx
from toolchain.export.operators import OPERATORS, Operator
from toolchain.export.parity import run_litert
from toolchain.export.quantization import compare_outputs, read_arithmetic
from toolchain.export.quantize import quantize
from toolchain.graph import graph_from_text
from toolchain.kernels import Step, image_plan, plan
from toolchain.module import GraphModule

LookTrained = Callable[[nn.Module, int], nn.Module]

LAYERS = {
    "nearest": "upsample(a, factor=3)",
    "nearest by 8": "upsample(a, factor=8)",
    "bilinear": "upsample(a, factor=3, interpolation=bilinear)",
    "bilinear by 8": "upsample(a, factor=8, interpolation=bilinear)",
    "transposed": "conv_transpose2d(a, channels=6)",
    "transposed with bias": "conv_transpose2d(a, channels=3, kernel=2, bias=True, norm=False)",
    "transposed with stride 3": "conv_transpose2d(a, channels=6, kernel=7, stride=3)",
    "transposed with relu6": "conv_transpose2d(a, channels=6, activation=relu6)",
    "transposed with swish": "conv_transpose2d(a, channels=6, activation=swish)",
    "transposed without": "conv_transpose2d(a, channels=6, activation=linear)",
}


def operators(content: bytes, path: Path) -> list[OperatorEvent]:
    path.write_bytes(content)
    with LiteRtModel(path, profile=True) as model:
        return list(model.profile(runs=1, warmup=0).operators)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("size", ["height=5, width=7", "height=1, width=1"])
def test_a_network_that_enlarges_runs_as_planned_in_one_piece_also_in_int8(
    layer: str, size: str, look_trained: LookTrained, tmp_path: Path
) -> None:
    graph = graph_from_text(
        f"image = input(channels=4, {size})\n"
        f"a = conv2d(image, channels=8, kernel=3)\nb = {layer}\n"
        "c = conv2d(b, channels=5, activation=linear)\n",
        "enlarged",
    )
    torch.manual_seed(0)
    module = look_trained(GraphModule(graph), 0)
    lowered = lower(export_onnx(module, graph.input_shape))
    assert lowered.plan == plan(graph)
    content = write_tflite(lowered.plan, lowered.weights)
    images = torch.randn(16, *graph.input_shape)
    with torch.no_grad():
        expected = module(images).numpy()
    found = run_litert(content, images.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected))
    events = operators(content, tmp_path / "float.tflite")
    match_events([event.name for event in events], plan(graph).kernels)
    assert all(event.is_delegated for event in events)

    quantized = quantize(content, images.numpy())
    assert read_arithmetic(quantized).float_ops == ()
    assert all(event.is_delegated for event in operators(quantized, tmp_path / "int8.tflite"))
    movement = compare_outputs(found, run_litert(quantized, images.numpy()), None)
    assert movement.sqnr_db > 20


SHAPE = (1, 6, 6, 4)
CONV = make_kernel(
    "conv2d", (SHAPE,), SHAPE, {"kernel": "3x3", "stride": "1x1", "padding": "same"}
)


def test_xnnpack_leaves_the_operator_for_nearest_to_litert(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Why pixels are repeated by a product; once this fails, one operator can do it."""

    def resize_nearest(kernel: Kernel) -> Operator:
        return Operator(
            schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR,
            schema.BuiltinOptions.ResizeNearestNeighborOptions,
            schema.ResizeNearestNeighborOptionsT(),
            np.array(kernel.output[1:3], np.int32),
        )

    monkeypatch.setitem(OPERATORS, "resize_nearest", resize_nearest)
    resize = make_kernel("resize_nearest", (SHAPE,), (1, 12, 12, 4))
    network = image_plan(SHAPE, (Step(CONV, (0,)), Step(resize, (1,))))
    events = operators(write_tflite(network, random_weights(network, 0)), tmp_path / "x.tflite")
    assert [(event.name, event.is_delegated) for event in events[1:]] == [
        ("RESIZE_NEAREST_NEIGHBOR", False)
    ]


@pytest.mark.parametrize("reads", [(2, 3), (3, 3)], ids=["read by others", "not"])
def test_xnnpack_takes_an_int8_relu_only_as_the_activation_of_the_sum_before_it(
    reads: tuple[int, int], tmp_path: Path
) -> None:
    """Why the two are written as one operator, where nothing else reads the sum."""
    add = make_kernel("add", (SHAPE, SHAPE), SHAPE)
    clamp = make_kernel("clamp", (SHAPE,), SHAPE, {"range": "relu"})
    steps = (Step(CONV, (0,)), Step(add, (0, 1)), Step(clamp, (2,)), Step(add, reads))
    network = image_plan(SHAPE, steps)
    content = write_tflite(network, random_weights(network, 0))
    assert all(event.is_delegated for event in operators(content, tmp_path / "float.tflite"))
    images = np.random.default_rng(0).standard_normal((4, 4, 6, 6), dtype=np.float32)
    events = operators(quantize(content, images), tmp_path / "int8.tflite")
    left = [event.name for event in events if not event.is_delegated]
    assert left == (["RELU"] if reads == (2, 3) else [])
