"""ScaleNets, with many branches, sums and enlargements, run as planned and in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from profilers.litert import LiteRtModel
from profilers.xnnpack import match_events
from toolchain.export.artifact import Artifact, Normalization
from toolchain.export.export import export_network
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.export.parity import run_litert
from toolchain.export.quantization import compare_outputs, read_arithmetic
from toolchain.export.quantize import quantize
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.module import GraphModule
from toolchain.spaces.scalenet import PAPER, ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS

LookTrained = Callable[[nn.Module, int], nn.Module]

SMALL = ScaleNetSpace(input_shape=(3, 32, 48), classes=5, modules=(1, 1), max_depth=3)
PAPER_NARROW = replace(
    ScaleNetSpace(**PAPER), width=8, stem_channels=8, input_shape=(1, 64, 96), modules=(1, 1, 1)
)


def assert_runs_in_one_piece(path: Path) -> list[str]:
    with LiteRtModel(path, profile=True) as model:
        operators = model.profile(runs=1, warmup=0).operators
    assert all(operator.is_delegated for operator in operators)
    # They are numbered within their partition: a second one would begin again at 0.
    numbers = [operator.index for operator in operators]
    assert numbers == sorted(set(numbers))
    return [operator.name for operator in operators]


def export(graph: Graph, look_trained: LookTrained, folder: Path) -> Artifact:
    torch.manual_seed(0)
    module = look_trained(GraphModule(graph), 0)
    images = torch.randn(2, *graph.input_shape)
    normalization = Normalization(mean=(0.0,), std=(1.0,))
    return export_network(
        module, graph, images, folder, genotype=graph.name, normalization=normalization
    )


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_a_random_network_is_exported_as_planned_and_quantized_in_one_piece(
    head: str, look_trained: LookTrained, tmp_path: Path
) -> None:
    space = replace(SMALL, head=head)
    graph = space.decode(space.sample_group(np.random.default_rng(0), (2, 3), 0.5))
    artifact = export(graph, look_trained, tmp_path)
    assert artifact.parity.litert.max_relative_error < 1e-5
    assert artifact.outputs[0].shape[1:] == (*graph.output_shape[1:], graph.output_shape[0])
    match_events(assert_runs_in_one_piece(artifact.path), plan(graph).kernels)

    images = np.random.default_rng(0).standard_normal((16, *space.input_shape), dtype=np.float32)
    quantized = quantize(artifact.path.read_bytes(), images)
    assert read_arithmetic(quantized).float_ops == ()
    path = tmp_path / "int8.tflite"
    path.write_bytes(quantized)
    assert_runs_in_one_piece(path)
    reference = run_litert(artifact.path.read_bytes(), images[:4])
    movement = compare_outputs(reference, run_litert(quantized, images[:4]), None)
    assert movement.sqnr_db > 15


@pytest.mark.parametrize("head", HEADS)
def test_litert_runs_exactly_the_planned_kernels_of_random_networks_in_one_piece(
    head: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "probe.tflite"
    for space in (replace(SMALL, head=head), replace(PAPER_NARROW, head=head)):
        for genotype in (space.smallest(), space.largest(), *(space.sample(rng) for _ in "abc")):
            network = plan(space.decode(genotype))
            path.write_bytes(write_tflite(network, random_weights(network, 0)))
            match_events(assert_runs_in_one_piece(path), network.kernels)


def test_what_a_pose_network_computes_and_never_reads_is_not_exported(
    look_trained: LookTrained, tmp_path: Path
) -> None:
    space = replace(SMALL, head="pose", modules=(1,))
    graph = space.decode("02.000")  # Branch 1 has a block after the last fusion into branch 0.
    dead = {"s2m0_b1_t2_a", "s2m0_b1_t2_b", "s2m0_b1_t2_add"}
    names = {node.name for node in graph.nodes}
    assert dead < names
    live = Graph("live", tuple(node for node in graph.nodes if node.name not in dead))
    artifact = export(graph, look_trained, tmp_path)
    assert artifact.kernels == tuple(kernel.key for kernel in plan(live).kernels)
