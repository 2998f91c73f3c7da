"""Published networks, rebuilt from their papers and counted.

Sources:
    shrinkcnn-a, shrinkcnn-b: AutoShrink, arXiv 1911.09251, and the authors' released code: the
        cell, widths, repeats and head; 3.6 M parameters and 384 M MACs as they state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from toolchain.errors import NameUnknown
from toolchain.graph import Graph, graph_from_json
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

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


def _shrinkcnn(activation: str) -> Graph:
    return replace(SHRINKCNN_OUTLINE, activation=activation).decode(SHRINKCNN_CELL)


ZOO: Mapping[str, Callable[[], Graph]] = {
    "shrinkcnn-a": lambda: _shrinkcnn("relu"),
    "shrinkcnn-b": lambda: _shrinkcnn("swish"),
}
"""Every network by its name."""


def make_network(name: str) -> Graph:
    """A published network.

    Raises:
        NameUnknown: there is none of this name; lists those there are.
    """
    if name not in ZOO:
        raise NameUnknown("network", name, ZOO)
    return replace(ZOO[name](), name=name)


def read_network(path: Path) -> Graph:
    """A network from a JSON file that holds its graph.

    Raises:
        ValueError: the file cannot be read, or holds no graph.
    """
    try:
        return graph_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read a graph from {path}: {error}") from None
