from __future__ import annotations

import pytest
import torch
from torch import nn

from toolchain.errors import ExportFailed
from toolchain.export.flatbuffer import Weights, write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx
from toolchain.export.parity import check_parity, parity_from_json

IMAGES = torch.randn(6, 3, 9, 8, generator=torch.Generator().manual_seed(0))


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)
        self.dense = nn.Linear(8, 5)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.dense(self.conv(x_NCHW).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def exported():
    module = Classifier().eval()
    model = export_onnx(module, (3, 9, 8))
    return module, model.SerializeToString(), lower(model)


def test_rounding_is_within_the_tolerance(exported):
    module, onnx_model, lowered = exported
    content = write_tflite(lowered.plan, lowered.weights)
    parity = check_parity(module, onnx_model, content, IMAGES)
    assert parity.images == 6
    for difference in (parity.onnx, parity.litert):
        assert difference.max_error < 1e-5
        assert difference.max_relative_error < 1e-5
        assert difference.top1_agreement == 1
    assert parity_from_json(parity.to_json()) == parity


def test_one_wrong_weight_is_found(exported):
    module, onnx_model, lowered = exported
    weights = dict(lowered.weights)
    filter_OHWI = weights[0].filter.copy()
    filter_OHWI[0, 0, 0, 0] += 0.5
    weights[0] = Weights(filter_OHWI, weights[0].bias)
    content = write_tflite(lowered.plan, weights)
    with pytest.raises(ExportFailed, match=r"LiteRT is off by .* of the outputs' spread"):
        check_parity(module, onnx_model, content, IMAGES)


def test_a_tolerance_is_taken_from_the_caller(exported):
    module, onnx_model, lowered = exported
    content = write_tflite(lowered.plan, lowered.weights)
    with pytest.raises(ExportFailed, match="allowed: 1e-12"):
        check_parity(module, onnx_model, content, IMAGES, tolerance=1e-12)


def test_feature_maps_are_compared_in_one_layout():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    model = export_onnx(module, (3, 9, 8))
    lowered = lower(model)
    content = write_tflite(lowered.plan, lowered.weights)
    parity = check_parity(module, model.SerializeToString(), content, IMAGES)
    assert parity.litert.max_relative_error < 1e-5


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_outputs_that_say_nothing_are_refused(value, exported):
    _, onnx_model, lowered = exported

    class Silent(nn.Module):
        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return torch.full((1, 5), value)

    content = write_tflite(lowered.plan, lowered.weights)
    with pytest.raises(ExportFailed, match="nothing can be compared"):
        check_parity(Silent(), onnx_model, content, IMAGES)


def test_outputs_of_another_shape_are_refused(exported):
    _, onnx_model, lowered = exported
    content = write_tflite(lowered.plan, lowered.weights)
    with pytest.raises(ExportFailed, match=r"\(5,\), the trained one's \(8, 7, 6\)"):
        check_parity(nn.Conv2d(3, 8, 3), onnx_model, content, IMAGES)


def test_damaged_models_are_refused(exported):
    module, onnx_model, lowered = exported
    content = write_tflite(lowered.plan, lowered.weights)
    with pytest.raises(ExportFailed, match="ONNX Runtime rejects"):
        check_parity(module, b"no model", content, IMAGES)
    with pytest.raises(ExportFailed, match="LiteRT rejects"):
        check_parity(module, onnx_model, b"no model", IMAGES)


def test_images_that_are_not_normalised_floats_are_refused(exported):
    module, onnx_model, _ = exported
    with pytest.raises(ValueError, match="float32 of shape NCHW"):
        check_parity(module, onnx_model, b"", IMAGES.to(torch.uint8))


def test_nothing_is_written_to_standard_error(exported, capfd):
    module, onnx_model, lowered = exported
    check_parity(module, onnx_model, write_tflite(lowered.plan, lowered.weights), IMAGES)
    assert capfd.readouterr() == ("", "")
