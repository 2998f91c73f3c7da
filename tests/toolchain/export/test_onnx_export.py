from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from toolchain.errors import ExportFailed
from toolchain.export.onnx import export_onnx

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def test_input_and_output_are_named_and_hold_one_image():
    graph = export_onnx(NETWORK, (3, 8, 9)).graph
    (image,) = graph.input
    (logits,) = graph.output
    assert (image.name, logits.name) == ("image", "logits")
    assert [size.dim_value for size in image.type.tensor_type.shape.dim] == [1, 3, 8, 9]
    assert [size.dim_value for size in logits.type.tensor_type.shape.dim] == [1, 4, 6, 7]


def test_the_module_stays_as_it_is():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_onnx(module, (3, 8, 8))
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_the_exporter_is_silent(capfd, caplog):
    export_onnx(NETWORK, (3, 8, 8))
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_nothing_of_this_machine_is_in_the_model():
    content = export_onnx(NETWORK, (3, 8, 8)).SerializeToString()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_the_same_module_gives_the_same_bytes():
    one, other = (export_onnx(NETWORK, (3, 8, 8)).SerializeToString() for _ in range(2))
    assert one == other


def test_a_module_that_torch_cannot_export_is_refused():
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportFailed, match=r"cannot export Branching .* \(1, 3, 8, 8\)"):
        export_onnx(Branching(), (3, 8, 8))
