from __future__ import annotations

import onnx
import pytest
import torch

from toolchain.errors import ExportFailed
from toolchain.export.artifact import Normalization, load_card
from toolchain.export.export import export_network
from toolchain.kernels import plan
from toolchain.module import GraphModule
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ShrinkCnnSpace(
    nodes=4,
    input_shape=(3, 15, 16),
    scales=(0.5,),
    replicate=(1,),
    pools=(2,),
    activation="swish",
)
GENOTYPE = "s0.c01.s012"
IMAGES = torch.randn(4, 3, 15, 16, generator=torch.Generator().manual_seed(0))
NORMALIZATION = Normalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))


def export(module, graph, directory, **settings):
    return export_network(
        module,
        graph,
        IMAGES,
        directory,
        genotype=GENOTYPE,
        normalization=NORMALIZATION,
        **settings,
    )


@pytest.fixture
def module(look_trained):
    torch.manual_seed(0)
    return look_trained(GraphModule(SPACE.decode(GENOTYPE)), 0)


def test_three_files_are_written_and_the_card_tells_the_truth(module, tmp_path):
    graph = SPACE.decode(GENOTYPE)
    artifact = export(module, graph, tmp_path, name="net")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.json",
        "net.onnx",
        "net.tflite",
    ]
    assert load_card(artifact.path) == artifact
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert artifact.inputs[0].shape == (1, 15, 16, 3)
    assert artifact.outputs[0].shape == (1, 10)
    assert artifact.genotype == GENOTYPE
    assert artifact.normalization == NORMALIZATION
    assert artifact.kernels == tuple(kernel.key for kernel in plan(graph).kernels)
    assert artifact.parity.litert.max_relative_error < 1e-5
    onnx.checker.check_model(tmp_path / "net.onnx")


def test_a_module_of_another_graph_is_refused_and_nothing_is_written(module, tmp_path):
    with pytest.raises(ExportFailed, match=r"not the graph s0\.s0\.s012: kernel \d+ is Step"):
        export(module, SPACE.decode("s0.s0.s012"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_when_parity_fails(module, tmp_path):
    with pytest.raises(ExportFailed, match="is off by"):
        export(module, SPACE.decode(GENOTYPE), tmp_path, tolerance=1e-12)
    assert not list(tmp_path.iterdir())
