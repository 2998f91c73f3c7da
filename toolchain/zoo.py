"""Published networks, rebuilt from their papers and counted.

Sources:
    shrinkcnn-a, shrinkcnn-b: AutoShrink, arXiv 1911.09251, and the authors' released code: the
        cell, widths, repeats and head; 3.6 M parameters and 384 M MACs as they state.
    mobilenetv2, mobilenetv3-small: arXiv 1801.04381 and 1905.02244, at width 1 and 224x224; 3.5 M
        and 2.5 M parameters with batch norm, 300 M and 56 M MACs as they state.
    swiftnet-vww: GRAM, arXiv 1906.08305: the authors' released network for Visual Wake Words,
        operator by operator, node numbers included: 213,656 weights, to which `count.py` adds
        the classifier's two biases. They state 57.4 M MACs; the convolutions and the classifier
        of their file have 56.16 M.
    scalenet-*, hrnet-*, higherhrnet-*: see `spaces/scalenet_published.py`.
    shrinkrnn: AutoShrink: the cell and the size of the authors' released training on the Penn
        Treebank. With 10,000 words that makes 23.0 M parameters; they state 24 M, which one edge
        more would be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from toolchain.errors import NameUnknown
from toolchain.graph import Graph, graph_from_json
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.spaces.scalenet_json import architecture_from_json, is_architecture
from toolchain.spaces.scalenet_published import SCALENETS
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace

SHRINKCNN_CELL = "s0.s0.s01.c02"
"""The cell that AutoShrink found: six edges, five live nodes."""

SHRINKCNN_OUTLINE = ShrinkCnnSpace(
    nodes=5,
    input_shape=(3, 224, 224),
    classes=1001,
    stem_channels=44,
    stem_stride=2,
    channel_scale=1.4,
    scales=(0.5, 1, 2, 4, 8),
    replicate=(1, 3, 4, 6, 4),
    pools=(1, 2, 2, 2, 2),
    head_channels=1280,
)
"""ImageNet outline of ShrinkCNN-A; B has swish for ReLU."""

SHRINKRNN_CELL = "i0.s0.s01.t0123.i0123"
"""The recurrent cell that AutoShrink found: 12 of 15 edges, two leaves."""

SHRINKRNN_OUTLINE = ShrinkRnnSpace(hidden=745, vocabulary=10_000)
"""Penn Treebank outline of ShrinkRNN."""

MOBILENET_OUTLINE = MobileNetSpace(input_shape=(3, 224, 224), classes=1000)
"""ImageNet outline of the baselines."""

SWIFTNET_OUTLINE = SwiftNetSpace(
    nodes=(30, 30, 30),
    input_shape=(3, 224, 224),
    classes=2,
    stem_channels=16,
    stem_kernel=7,
    stem_stride=4,
    stem_width=32,
    stem_pool=2,
    widths=(32, 48, 64),
    outputs=(48, 80, 76),
)
"""Visual Wake Words outline of SwiftNet."""

SWIFTNET_STAGES = (
    "14c0.17c14.18c0.19c14.20c0,14.21c19,20.23c14,21.24c0,18,19,20"
    ".25s20.26s23.27s20,21.28s0,18.29c17,20,23,24",
    "13c0.15s13.17s13.18c0.19c0.20c0.21c13,15.22c17,18.24c0,13,15,19.25c24.27c18.29s13,15",
    "7c0.11s7.15c7.20c0,11.21s7.22s15.23c7.24s15.25s7,11.27s7.29s7",
)
"""The cells that GRAM found: 24, 18 and 13 of 435 edges each."""


def _shrinkcnn(activation: str) -> Graph:
    return replace(SHRINKCNN_OUTLINE, activation=activation).decode(SHRINKCNN_CELL)


ZOO: Mapping[str, Callable[[], Graph]] = {
    "shrinkcnn-a": lambda: _shrinkcnn("relu"),
    "shrinkcnn-b": lambda: _shrinkcnn("swish"),
    "mobilenetv2": lambda: MOBILENET_OUTLINE.decode("v2-w1-s2-d4"),
    "mobilenetv3-small": lambda: MOBILENET_OUTLINE.decode("v3s-w1-s2-d4"),
    "swiftnet-vww": lambda: SWIFTNET_OUTLINE.decode("/".join(SWIFTNET_STAGES)),
    **{name: architecture.decode for name, architecture in SCALENETS.items()},
}
"""Every network by its name."""

RECURRENT_ZOO: Mapping[str, Callable[[], RecurrentNetwork]] = {
    "shrinkrnn": lambda: SHRINKRNN_OUTLINE.decode(SHRINKRNN_CELL),
}
"""Every recurrent network by its name; they read words, and are no graphs of an image."""


def make_network(name: str) -> Graph:
    """A published network.

    Raises:
        NameUnknown: there is none of this name; lists those there are.
    """
    if name not in ZOO:
        raise NameUnknown("network", name, ZOO)
    return replace(ZOO[name](), name=name)


def read_network(path: Path) -> Graph:
    """A network from a JSON file that holds its graph, or a ScaleNet's depths and fusions.

    Raises:
        ValueError: the file cannot be read, or holds neither.
        GenotypeInvalid: it holds a ScaleNet that is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if is_architecture(data):
            return architecture_from_json(data).decode()
        return graph_from_json(data)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read a graph from {path}: {error}") from None
