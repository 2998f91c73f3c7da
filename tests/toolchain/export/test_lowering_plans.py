"""The plan that a search predicts with is what is exported, and what LiteRT runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from profilers.xnnpack import XNNPACK_KINDS, match_events
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx
from toolchain.kernels import plan
from toolchain.module import GraphModule
from toolchain.probe_networks import probe_networks
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space

COMPLETE = "s0.c01.s012.c0123.s01234.c012345.s0123456"
"""Every node reads every earlier one: concats of up to seven."""

INPUT_SHAPES = ((3, 32, 32), (1, 28, 28), (3, 33, 45), (3, 31, 30))
ACTIVATIONS = ("relu", "swish", "relu6", "hard_swish")

LARGE = {
    "nodes": 5,
    "input_shape": (3, 224, 224),
    "classes": 1001,
    "stem_channels": 44,
    "stem_stride": 2,
    "channel_scale": 1.4,
    "scales": (0.5, 1, 2, 4, 8),
    "replicate": (1, 3, 4, 6, 4),
    "pools": (1, 2, 2, 2, 2),
    "head_channels": 1280,
}
"""ShrinkCNN-A of the paper, and with swish ShrinkCNN-B."""


@pytest.fixture
def require_plan(look_trained, run_tflite, events_of):
    """Exports a network of a space and compares it with its graph, kernel by kernel."""

    def require(space: Space, genotype: str, seed: int) -> None:
        graph = space.decode(genotype)
        torch.manual_seed(seed)
        module = look_trained(GraphModule(graph), seed)
        lowered = lower(export_onnx(module, graph.input_shape))
        assert lowered.plan.kernels == plan(graph).kernels
        assert lowered.plan == plan(graph)
        content = write_tflite(lowered.plan, lowered.weights)
        events = events_of(content)
        match_events(events, plan(graph).kernels)
        assert {event.partition(" (")[0] for event in events} <= set(XNNPACK_KINDS)
        image = torch.randn(1, *graph.input_shape)
        with torch.no_grad():
            expected = module(image).numpy()
        tolerance = 1e-4 * np.ptp(expected)
        np.testing.assert_allclose(run_tflite(content, image.numpy()), expected, atol=tolerance)

    return require


def test_complete_cells_are_exported_as_planned(require_plan):
    require_plan(ShrinkCnnSpace(), COMPLETE, 0)


def test_a_merge_that_two_nodes_share_is_computed_once(require_plan):
    space = ShrinkCnnSpace(nodes=6, scales=(0.5,), replicate=(1,), pools=(2,))
    merges = [
        step.kernel
        for step in plan(space.decode("s0.s0.s12.c12.s34")).steps
        if step.kernel.kind == "concat"
    ]
    assert len(merges) == 2
    require_plan(space, "s0.s0.s12.c12.s34", 0)


@pytest.mark.parametrize(
    ("genotype", "input_shape"),
    [
        ("v2-w0.25-s1-d3", (3, 32, 32)),
        ("v3s-w0.25-s1-d3-h", (3, 32, 32)),
        # Maps of 1x1 in the last blocks; an odd size.
        ("v3s-w0.25-s2-d4", (1, 31, 29)),
    ],
)
def test_baselines_are_exported_as_planned(genotype, input_shape, require_plan):
    require_plan(MobileNetSpace(input_shape=input_shape), genotype, 0)


@pytest.mark.slow
def test_litert_runs_exactly_the_planned_kernels_of_every_baseline(events_of):
    for probe in probe_networks(MobileNetSpace(widths=(0.25, 0.5)), seed=0):
        events = events_of(probe.build())
        match_events(events, probe.kernels)
        assert {event.partition(" (")[0] for event in events} <= set(XNNPACK_KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v2", "v3s"])
def test_the_published_baselines_are_exported_as_planned(version, require_plan):
    space = MobileNetSpace(input_shape=(3, 224, 224), classes=1000)
    require_plan(space, f"{version}-w1-s2-d4", 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_random_cells_are_exported_as_planned(seed, require_plan):
    space = ShrinkCnnSpace(
        nodes=6,
        input_shape=INPUT_SHAPES[seed % len(INPUT_SHAPES)],
        activation=ACTIVATIONS[seed // len(INPUT_SHAPES) % len(ACTIVATIONS)],
        stem_channels=8,
        stem_stride=1 + seed % 3 // 2,
        scales=(0.5,),
        replicate=(1,),
        pools=(1 + seed % 2,),
        head_channels=24 * (seed % 5 == 0),
    )
    require_plan(space, space.sample(np.random.default_rng(seed)), seed)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_the_networks_of_the_paper_are_exported_as_planned(activation, require_plan):
    require_plan(ShrinkCnnSpace(activation=activation, **LARGE), "s0.s0.s01.c02", 0)
