"""From a torch module to an ONNX model.

torch has two exporters. This uses the one built on ``torch.export``, the default since torch 2.9:
the older one, on TorchScript, is twenty times faster (0.3 s instead of 6 s for a network of 70
operators) but deprecated, and its removal is announced. An export happens once for each network
that is shipped, so that seconds do not matter; that it works with the next torch does. Both write
the operators that ``lowering`` knows, in the order in which the module computes.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import nn

from toolchain.errors import ExportFailed
from toolchain.kernels import IMAGE_NAME, LOGITS_NAME
from toolchain.layers import Shape


def export_onnx(module: nn.Module, input_shape: Shape) -> onnx.ModelProto:
    """The module in evaluation mode, for one image, checked by ONNX's own checker.

    The module itself is left as it is, on whatever device it is.

    Args:
        module: takes images NCHW.
        input_shape: CHW of an image.

    Raises:
        ExportFailed: torch cannot export the module, or what it exported is no valid model.
    """
    image = torch.zeros(1, *input_shape)
    return export_onnx_of(module, {IMAGE_NAME: image}, [LOGITS_NAME])


def export_onnx_of(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str]
) -> onnx.ModelProto:
    """See ``export_onnx``; for modules of several inputs or outputs.

    Args:
        module: takes the inputs in their order.
        inputs: examples of them, by name.
        outputs: names of what it computes, in order.

    Raises:
        ExportFailed: see ``export_onnx``.
    """
    network = copy.deepcopy(module).cpu().eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=list(inputs),
                output_names=list(outputs),
            )
    except torch.onnx.OnnxExporterError as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs.values())
        raise ExportFailed(
            f"torch cannot export {type(module).__name__} for inputs of shape {shapes}: "
            f"{error}; build it of operations that torch.onnx knows"
        ) from error
    assert program is not None, "the exporter returns a program unless it is given a file"
    model = program.model_proto
    _forget_origin(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportFailed(f"torch exported an invalid ONNX model: {error}") from error
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself (torch 2.13) from our caller.

    It warns that torchvision is absent and that a function of torch's own is deprecated.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: stack traces with paths of this machine, in every node."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
