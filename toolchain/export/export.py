"""Export a trained network: torch -> ONNX -> TFLite, compared before anything is written."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from toolchain.atomic import atomic_path
from toolchain.errors import ExportFailed
from toolchain.export.artifact import Artifact, Normalization, Tensor, save_card, sha256_of
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx
from toolchain.export.parity import TOLERANCE, Parity, TextParity, check_parity
from toolchain.graph import Graph
from toolchain.kernels import Plan, plan
from toolchain.versions import versions

_LOGGER = logging.getLogger(__name__)


def export_network(
    module: nn.Module,
    graph: Graph,
    images_NCHW: torch.Tensor,
    directory: Path,
    *,
    genotype: str,
    normalization: Normalization,
    name: str = "network",
    tolerance: float = TOLERANCE,
) -> Artifact:
    """Write ``network.onnx``, ``network.tflite`` and its card, ``network.json``.

    The network takes images that are normalised already, so that its kernels are those of the
    graph; mean and deviation stand in the card.

    Args:
        module: the trained network; it is left in evaluation mode.
        graph: what the module computes.
        images_NCHW: normalised images on which the files must agree with the module.
        directory: where the files go.
        genotype: the point of the search space that the network is.
        normalization: how ``images_NCHW`` were normalised.
        name: of the files, without suffix.
        tolerance: largest relative error allowed.

    Raises:
        ExportFailed: the module cannot be exported or lowered, its kernels are not the graph's,
            or a file computes something else. Nothing is written then.
    """
    model = export_onnx(module, graph.input_shape)
    lowered = lower(model)
    require_plan_of(graph, lowered.plan)
    onnx_content = model.SerializeToString()
    content = write_tflite(lowered.plan, lowered.weights)
    parity = check_parity(module, onnx_content, content, images_NCHW, tolerance=tolerance)
    return save_network(
        directory / f"{name}.tflite",
        content,
        onnx_content,
        lowered.plan,
        graph=graph.name,
        genotype=genotype,
        normalization=normalization,
        parity=parity,
    )


def save_network(
    path: Path,
    content: bytes,
    onnx_content: bytes,
    lowered: Plan,
    *,
    graph: str,
    genotype: str,
    normalization: Normalization | None,
    parity: Parity | TextParity,
) -> Artifact:
    """Write a float network, its ONNX form and its card.

    Args:
        path: of the TFLite file; the others stand beside it.
        content: of the TFLite file.
        onnx_content: of the ONNX file.
        lowered: what the file runs.
        graph: name of the graph.
        genotype: the point of the search space that the network is.
        normalization: of the images that it reads; None where it reads none.
        parity: what the comparison of the files showed.
    """
    artifact = Artifact(
        path=path,
        format="tflite",
        sha256=sha256_of(content),
        size_bytes=len(content),
        inputs=tuple(
            Tensor(name=name, shape=shape, dtype=dtype) for name, shape, dtype in lowered.inputs
        ),
        outputs=tuple(
            Tensor(name=name, shape=lowered.shape(value), dtype="float32")
            for name, value in lowered.outputs
        ),
        normalization=normalization,
        graph=graph,
        genotype=genotype,
        parity=parity,
        kernels=tuple(kernel.key for kernel in lowered.kernels),
        versions=versions(),
    )
    with atomic_path(path.with_suffix(".onnx")) as temporary:
        temporary.write_bytes(onnx_content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    save_card(artifact)
    _LOGGER.info("exported %s: %d kernels", path, len(lowered.steps))
    return artifact


def require_plan_of(graph: Graph, lowered: Plan) -> None:
    """What was searched and predicted must be what is shipped.

    Raises:
        ExportFailed: the plans differ; the message names the first step that does.
    """
    planned = plan(graph)
    if lowered == planned:
        return
    pairs = zip(lowered.steps, planned.steps, strict=False)
    position = next(
        (index for index, (one, other) in enumerate(pairs) if one != other),
        min(len(lowered.steps), len(planned.steps)),
    )
    got, expected = (
        str(steps[position]) if position < len(steps) else "nothing"
        for steps in (lowered.steps, planned.steps)
    )
    raise ExportFailed(
        f"the exported network is not the graph {graph.name}: kernel {position} is {got}, planned "
        f"was {expected}; export the module that was built from this graph"
    )
