"""Networks as exporters write them, and the two runtimes that must agree on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from profilers.litert import LiteRtModel

Constants = dict[str, np.ndarray]


@pytest.fixture
def make_onnx() -> Callable[..., onnx.ModelProto]:
    """Builds a model from the text of its nodes; it ends in ``logits``."""

    def build(
        nodes: str,
        constants: Constants | None = None,
        image: Sequence[int | str] = (1, 3, 9, 8),
        opset: int = 18,
    ) -> onnx.ModelProto:
        model = onnx.parser.parse_model(
            f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
            f"net (float[{','.join(map(str, image))}] image) => (float[1] logits) {{ {nodes} }}"
        )
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
        model.graph.output[0].CopyFrom(output)
        for name, value in (constants or {}).items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return model

    return build


@pytest.fixture
def run_onnx() -> Callable[[onnx.ModelProto, np.ndarray], np.ndarray]:
    """ONNX Runtime's answer to one image NCHW."""

    def run(model: onnx.ModelProto, image_NCHW: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {session.get_inputs()[0].name: image_NCHW})[0]

    return run


@pytest.fixture
def run_tflite() -> Callable[[bytes, np.ndarray], np.ndarray]:
    """LiteRT's answer to one image NCHW, as NCHW."""

    def run(content: bytes, image_NCHW: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        image_NHWC = np.ascontiguousarray(image_NCHW.transpose(0, 2, 3, 1))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image_NHWC)
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return np.moveaxis(output, -1, 1) if output.ndim == 4 else output

    return run


@pytest.fixture
def events_of(tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Names of the operators that LiteRT runs for a model, in order."""

    def profile(content: bytes) -> list[str]:
        path = tmp_path / "profiled.tflite"
        path.write_bytes(content)
        with LiteRtModel(path, threads=1, profile=True) as model:
            return [event.name for event in model.profile(runs=1, warmup=0).operators]

    return profile


@pytest.fixture
def look_trained() -> Callable[[nn.Module, int], nn.Module]:
    """Gives batch norms the statistics and weights of a network that saw data."""

    def randomize(module: nn.Module, seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.5, generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
                with torch.no_grad():
                    part.weight.uniform_(0.5, 1.5, generator=generator)
                    part.bias.normal_(0, 0.3, generator=generator)
        return module.eval()

    return randomize
