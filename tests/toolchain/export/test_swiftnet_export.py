"""SwiftNets, whose stages end in concats of many leaves, run as planned and in one piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from profilers.litert import LiteRtModel
from profilers.xnnpack import match_events
from toolchain.export.artifact import Normalization
from toolchain.export.export import export_network
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.module import GraphModule
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.zoo import make_network

LookTrained = Callable[[nn.Module, int], nn.Module]

LARGE = SwiftNetSpace()
SMALL = SwiftNetSpace(
    nodes=(8, 10, 12), input_shape=(1, 21, 20), widths=(8, 12, 16), outputs=(8, 16, 20),
    stem_channels=4, stem_width=8,
)  # fmt: skip
WIDE = "1c0.2s0.3c0.4c0.5s0.6c0.7c0/1c0.2c0.3c0,1.4c2.5c0.6s0.7c1.8c0.9c0/1s0.2c1"
"""Concats of seven and of eight leaves."""


def assert_runs_in_one_piece_as_planned(path: Path, graph: Graph) -> None:
    with LiteRtModel(path, profile=True) as model:
        operators = model.profile(runs=1, warmup=0).operators
    match_events([operator.name for operator in operators], plan(graph).kernels)
    assert all(operator.is_delegated for operator in operators)
    # They are numbered within their partition: a second one would begin again at 0.
    numbers = [operator.index for operator in operators]
    assert numbers == sorted(set(numbers))


def assert_exported_as_planned(graph: Graph, look_trained: LookTrained, folder: Path) -> None:
    """Export with random weights, compared on random images, and profile what was written."""
    torch.manual_seed(0)
    module = look_trained(GraphModule(graph), 0)
    images = torch.randn(2, *graph.input_shape)
    normalization = Normalization(mean=(0.0,), std=(1.0,))
    artifact = export_network(
        module, graph, images, folder, genotype=graph.name, normalization=normalization
    )
    assert artifact.parity.litert.max_relative_error < 1e-5
    assert artifact.kernels == tuple(kernel.key for kernel in plan(graph).kernels)
    assert_runs_in_one_piece_as_planned(artifact.path, graph)


@pytest.mark.parametrize("genotype", [WIDE, "1s0/1c0/1s0.2c0,1"])
def test_a_network_is_exported_as_planned(
    genotype: str, look_trained: LookTrained, tmp_path: Path
) -> None:
    assert_exported_as_planned(SMALL.decode(genotype), look_trained, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_are_exported_as_planned(
    seed: int, look_trained: LookTrained, tmp_path: Path
) -> None:
    graph = SMALL.decode(SMALL.sample(np.random.default_rng(seed)))
    assert_exported_as_planned(graph, look_trained, tmp_path)


@pytest.mark.slow
def test_the_released_network_is_exported_as_planned(
    look_trained: LookTrained, tmp_path: Path
) -> None:
    assert_exported_as_planned(make_network("swiftnet-vww"), look_trained, tmp_path)


@pytest.mark.parametrize("space", [LARGE, SMALL], ids=["large", "small"])
def test_litert_runs_exactly_the_planned_kernels_of_random_networks_in_one_piece(
    space: SwiftNetSpace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "probe.tflite"
    for _ in range(25):
        graph = space.decode(space.sample(rng))
        path.write_bytes(write_tflite(plan(graph), random_weights(plan(graph), 0)))
        assert_runs_in_one_piece_as_planned(path, graph)
