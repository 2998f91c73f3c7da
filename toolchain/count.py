"""What a network costs, counted from its graph: parameters, multiply-accumulates, memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from toolchain.graph import Graph
from toolchain.layers import Concat, Shape

BYTES_PER_FLOAT = 4


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Static cost of one network on one image.

    Attributes:
        params: weights and biases, batch norm excluded.
        params_with_norm: the same with scales and shifts of batch norm.
        macs: multiply-accumulates of convolutions and dense layers.
        peak_memory_bytes: largest input plus output of any one layer, concats apart, in float32:
            what papers on small devices call peak memory. SwiftNet's (arXiv 1906.08305) states
            200.7 KB for its network at one byte a value, a quarter of our figure; its concats,
            not counted, would raise that to 250.9 KB. No promise for a runtime: see
            live_memory_bytes.
        live_memory_bytes: most bytes alive at once when the layers run in the graph's order; a
            feature map lives until its last reader has run, an output to the end; what no output
            depends on is not run.
    """

    params: int
    params_with_norm: int
    macs: int
    peak_memory_bytes: int
    live_memory_bytes: int

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def count(graph: Graph) -> Counts:
    """Count a network.

    Raises:
        ValueError: the graph is inconsistent.
    """
    shapes = graph.shapes
    params = norm = macs = peak = 0
    for node in graph.nodes:
        inputs = [shapes[name] for name in node.inputs]
        params += node.layer.parameters(*inputs)
        norm += node.layer.norm_parameters(*inputs)
        macs += node.layer.macs(*inputs)
        if inputs and not isinstance(node.layer, Concat):
            peak = max(peak, sum(map(_bytes, inputs)) + _bytes(shapes[node.name]))
    return Counts(
        params=params,
        params_with_norm=params + norm,
        macs=macs,
        peak_memory_bytes=peak,
        live_memory_bytes=_live_bytes(graph),
    )


def _live_bytes(graph: Graph) -> int:
    """Peak of a liveness analysis in execution order."""
    nodes = [node for node in graph.nodes if node.name in graph.needed]
    last_reader = {name: node.name for node in nodes for name in node.inputs}
    alive: dict[str, int] = {}
    peak = 0
    for node in nodes:
        alive[node.name] = _bytes(graph.shapes[node.name])
        peak = max(peak, sum(alive.values()))
        for name in set(node.inputs):
            if last_reader[name] == node.name and name not in graph.outputs:
                del alive[name]
    return peak


def _bytes(shape: Shape) -> int:
    return BYTES_PER_FLOAT * math.prod(shape)
