"""Export a trained ShrinkRNN language model: torch -> ONNX -> TFLite, compared on a text.

The file is a step, which reads one word and the state and gives scores and the next state, or a
sequence of several words, unrolled. Whoever runs it keeps the state and gives it back.

Shape suffixes: D words of a text.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from toolchain.errors import ExportFailed
from toolchain.export.artifact import Artifact
from toolchain.export.export import require_plan_of, save_network
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx_of
from toolchain.export.parity import TOLERANCE, Difference, Perplexities, TextParity
from toolchain.export.text_readers import (
    Call,
    Words,
    litert_reader,
    onnx_reader,
    read_text,
    torch_reader,
)
from toolchain.graph import Graph
from toolchain.module import GraphModule
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.spaces.shrinkrnn_step import (
    LOGITS,
    STATE,
    TOKEN,
    edge_layers,
    sequence_graph,
    step_graph,
)
from toolchain.train.language import perplexity
from toolchain.train.recurrent import CellModule, RecurrentModule
from toolchain.word_modules import BorrowingLinear, matrix_of

_LOGGER = logging.getLogger(__name__)


def export_recurrent(
    module: RecurrentModule,
    words_D: Words,
    directory: Path,
    *,
    count: int = 1,
    name: str = "network",
    tolerance: float = TOLERANCE,
) -> Artifact:
    """Write ``network.onnx``, ``network.tflite`` and its card, ``network.json``.

    Args:
        module: the trained model, a ShrinkRNN.
        words_D: a text on which the files must agree with the module: words by their numbers.
        directory: where the files go.
        count: words that the network reads at a time: 1 for a step.
        name: of the files, without suffix.
        tolerance: largest relative error allowed.

    Raises:
        ExportFailed: the module cannot be exported or lowered, its kernels are not the graph's,
            or a file computes something else. Nothing is written then.
        ValueError: the module is no ShrinkRNN, or the text is too short.
    """
    network = module.network
    if not isinstance(network, RecurrentNetwork):
        raise ValueError(f"only a ShrinkRNN can be exported, not {network}; train one")
    graph = step_graph(network) if count == 1 else sequence_graph(network, count)
    model = export_onnx_of(
        graph_module(module, graph),
        {
            TOKEN: torch.zeros(count, dtype=torch.int64),
            STATE: torch.zeros(1, network.hidden),
        },
        graph.outputs,
    )
    lowered = lower(model)
    require_plan_of(graph, lowered.plan)
    onnx_content = model.SerializeToString()
    content = write_tflite(lowered.plan, lowered.weights)
    parity = check_text_parity(
        module, onnx_content, content, words_D, count=count, tolerance=tolerance
    )
    return save_network(
        directory / f"{name}.tflite",
        content,
        onnx_content,
        lowered.plan,
        graph=graph.name,
        genotype=network.cell.genotype,
        normalization=None,
        parity=parity,
    )


@torch.no_grad()
def graph_module(module: RecurrentModule, graph: Graph) -> GraphModule:
    """A step or a sequence as a torch module, with the weights of a trained model.

    Args:
        module: the model.
        graph: ``step_graph`` or ``sequence_graph`` of its network.
    """
    assert isinstance(module.cell, CellModule)
    result = GraphModule(graph)
    hidden = module.network.hidden
    output = result.layers[LOGITS]
    assert isinstance(output, BorrowingLinear)
    assert output.bias is not None
    output.bias.copy_(module.bias)
    matrix_of(result.layers[TOKEN]).copy_(module.embedding)
    products = {"input": module.cell.input_weight, **module.cell.edge_weights}
    for name, weight in products.items():
        gate, candidate = edge_layers(name)
        matrix_of(result.layers[gate]).copy_(weight[:, :hidden].T)
        matrix_of(result.layers[candidate]).copy_(weight[:, hidden:].T)
    return result.eval()


def check_text_parity(
    module: RecurrentModule,
    onnx_model: bytes,
    tflite_model: bytes,
    words_D: Words,
    *,
    count: int,
    tolerance: float = TOLERANCE,
) -> TextParity:
    """Read a text with all three, each feeding its own state back, and compare.

    Args:
        module: the trained model.
        onnx_model: content of the ONNX file.
        tflite_model: content of the TFLite file.
        words_D: the text.
        count: words that the files read at a time.
        tolerance: largest ``max_relative_error`` allowed.

    Raises:
        ExportFailed: a runtime rejects its model or is further off than the tolerance; or the
            model's own scores are not finite or all equal, so that nothing can be compared.
        ValueError: the text is shorter than one call.
    """
    readers = (torch_reader(module), onnx_reader(onnx_model), litert_reader(tflite_model))
    reference, onnx, litert = (
        list(read_text(reader, words_D, hidden=module.network.hidden, count=count))
        for reader in readers
    )
    spread = float(np.ptp(np.concatenate([call.logits for call in reference])))
    # A NaN compares false.
    if not 0 < spread < np.inf:
        raise ExportFailed(
            f"the trained model's scores have spread {spread}, so that nothing can be compared; "
            "train it further"
        )
    parity = TextParity(
        words=sum(len(call.words) for call in reference),
        onnx=_difference(reference, onnx, spread),
        litert=_difference(reference, litert, spread),
        perplexity=Perplexities(
            torch=_perplexity(reference), onnx=_perplexity(onnx), litert=_perplexity(litert)
        ),
    )
    _LOGGER.info("parity: %s", parity)
    for runtime, difference in (("ONNX Runtime", parity.onnx), ("LiteRT", parity.litert)):
        if not difference.max_relative_error <= tolerance:
            raise ExportFailed(
                f"{runtime} is off by {difference.max_error:.3g} within {parity.words} words, "
                f"which is {difference.max_relative_error:.2g} of the scores' spread (allowed: "
                f"{tolerance:g}): do not ship this file, and report the network as a bug"
            )
    return parity


def _difference(reference: list[Call], found: list[Call], spread: float) -> Difference:
    pairs = [(one.logits, other.logits) for one, other in zip(reference, found, strict=True)]
    error = max(float(np.abs(other - one).max()) for one, other in pairs)
    agree = [one.argmax(axis=1) == other.argmax(axis=1) for one, other in pairs]
    return Difference(
        max_error=error,
        max_relative_error=error / spread,
        top1_agreement=float(np.concatenate(agree).mean()),
    )


def _perplexity(calls: list[Call]) -> float:
    words = sum(len(call.words) for call in calls)
    return perplexity(sum(call.surprise for call in calls) / words)
