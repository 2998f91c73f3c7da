"""LSTMs and GRUs that take as long a word as another network, by the clock of this machine."""

from __future__ import annotations

from pathlib import Path

from profilers.benchmark import benchmark, benchmark_settings
from profilers.host import HostRunner
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.graph import Graph
from toolchain.kernels import plan
from toolchain.spaces.gated_network import GatedNetwork, gated_step_graph
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.spaces.shrinkrnn_step import step_graph

GRAIN = 4
"""Values by which states differ: multiples of it, which are quick for what they compute."""

MOST_HIDDEN = 2048


def step_of(network: RecurrentNetwork | GatedNetwork) -> Graph:
    """One word, as the runtime computes it."""
    if isinstance(network, GatedNetwork):
        return gated_step_graph(network)
    return step_graph(network)


def measured_ms(graph: Graph, folder: Path) -> float:
    """Median milliseconds of a step with random weights."""
    planned = plan(graph)
    path = folder / "step.tflite"
    path.write_bytes(write_tflite(planned, random_weights(planned, 0)))
    report = benchmark(path, HostRunner(), settings=benchmark_settings(), kernels=planned.kernels)
    return report.measurement.median_ms


def gated_of_speed(network: RecurrentNetwork, kind: str, folder: Path) -> dict[str, float]:
    """The largest LSTM or GRU that is no slower, by bisection.

    Returns:
        Its ``hidden`` values, its measured ``ms``, and the ``network_ms`` it was to keep.
    """

    def ms(hidden: int) -> float:
        one = GatedNetwork(kind=kind, hidden=hidden, vocabulary=network.vocabulary)
        return measured_ms(step_of(one), folder)

    limit_ms = measured_ms(step_of(network), folder)
    low, high = 1, MOST_HIDDEN // GRAIN
    low_ms = ms(low * GRAIN)
    while high - low > 1:  # ends: the range halves
        middle = (low + high) // 2
        middle_ms = ms(middle * GRAIN)
        if middle_ms <= limit_ms:
            low, low_ms = middle, middle_ms
        else:
            high = middle
    return {"hidden": low * GRAIN, "ms": low_ms, "network_ms": limit_ms}
