"""What it saves to lower a concat of many inputs as a tree: SwiftNets, against one concat each.

    python benchmarks/concat.py -o results.json

XNNPACK takes concats of up to five inputs. A larger one, written as the one CONCATENATION that it
is, runs outside of XNNPACK and splits the network. Networks: the released SwiftNet for Visual
Wake Words (224x224) and random ones of the default outline (32x32) that have such a concat. Both
files of a network take turns in one process, one thread, CPU time of that thread.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from machine import report, spread

from latency_tables.kernel import make_kernel
from profilers.litert import LiteRtModel
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.graph import Graph
from toolchain.kernels import Plan, Step, image_plan, plan
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.zoo import make_network

SEED = 5
WARM_UP = 5
RELEASED = "swiftnet-vww"


def main() -> None:
    """Time both lowerings of each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=10, help="random ones")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--runs", type=int, default=50, help="of each file in each round")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    graphs = [make_network(RELEASED), *_random_graphs(options.networks)]
    networks = {graph.name: _compare(graph, options.rounds, options.runs) for graph in graphs}
    others = [one for name, one in networks.items() if name != RELEASED]
    figures = {
        "seed": SEED,
        "rounds": options.rounds,
        "runs": options.runs,
        "released_speedup": networks[RELEASED]["speedup"],
        "random_median_speedups": spread([one["speedup"]["median"] for one in others]),
        "networks": networks,
    }
    report("concat", figures, options.output)


def _random_graphs(count: int) -> list[Graph]:
    """So many networks of the default outline that a tree of concats stands in."""
    space, rng = SwiftNetSpace(), np.random.default_rng(SEED)
    graphs: list[Graph] = []
    while len(graphs) < count:  # most have one
        graph = space.decode(space.sample(rng))
        if joined(plan(graph)) != plan(graph):
            graphs.append(graph)
    return graphs


def joined(planned: Plan) -> Plan:
    """The plan with each tree of concats as one concat."""
    readers: dict[int, list[Step]] = {}
    for step in planned.steps:
        for read in step.inputs:
            readers.setdefault(read, []).append(step)
    steps: list[Step] = []
    numbers = {0: 0}
    parts: dict[int, tuple[int, ...]] = {}
    for number, (kernel, reads, *_) in enumerate(planned.steps, start=1):
        inputs = tuple(part for read in reads for part in parts.get(read, (read,)))
        if kernel.kind == "concat" and [one.kernel.kind for one in readers[number]] == ["concat"]:
            parts[number] = inputs
            continue
        if inputs != reads:
            shapes = tuple(planned.steps[value - 1].kernel.output for value in inputs)
            kernel = make_kernel("concat", shapes, kernel.output)
        steps.append(Step(kernel, tuple(numbers[value] for value in inputs)))
        numbers[number] = len(steps)
    return image_plan(planned.inputs[0].shape, tuple(steps))


def _compare(graph: Graph, rounds: int, runs: int) -> dict[str, Any]:
    plans = {"tree": plan(graph), "one concat": joined(plan(graph))}
    sizes = [len(step.inputs) for step in plans["one concat"].steps if _is_concat(step)]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.tflite") for name in plans}
        for name, one in plans.items():
            files[name].write_bytes(write_tflite(one, random_weights(one, SEED)))
        outside = {name: _left_outside(path) for name, path in files.items()}
        times_ms = _take_turns(files, rounds, runs)
    pairs = zip(times_ms["tree"], times_ms["one concat"], strict=True)
    return {
        "concats_of_more_than_5": sorted(size for size in sizes if size > 5),
        "operators_outside_xnnpack": outside,
        "cpu_ms": {name: spread(values) for name, values in times_ms.items()},
        "speedup": spread([one / tree for tree, one in pairs]),
    }


def _is_concat(step: Step) -> bool:
    return step.kernel.kind == "concat"


def _left_outside(path: Path) -> dict[str, int]:
    """Operators that XNNPACK does not run, by name."""
    with LiteRtModel(path, profile=True) as model:
        operators = model.profile(runs=1, warmup=0).operators
    return dict(Counter(one.name for one in operators if not one.is_delegated))


def _take_turns(files: Mapping[str, Path], rounds: int, runs: int) -> dict[str, list[float]]:
    """Median CPU ms of each file in each round; both must compute the same."""
    times_ms: dict[str, list[float]] = {name: [] for name in files}
    models = {name: LiteRtModel(path) for name, path in files.items()}
    for turn in range(rounds):
        for name in list(files)[:: 1 if turn % 2 else -1]:
            models[name].fill_inputs(SEED)
            timed = models[name].time_runs(runs, WARM_UP)
            times_ms[name].append(float(np.median(timed.samples_ms)))
    first, second = (model.read_output() for model in models.values())
    assert np.array_equal(first, second), "a concat only copies: both lowerings compute the same"
    for model in models.values():
        model.close()
    return times_ms


if __name__ == "__main__":
    main()
