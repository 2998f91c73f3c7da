"""How long an export takes, stage by stage, for the complete DAG of the ShrinkCNN space.

python benchmarks/lowering.py -o results.json
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

from machine import report, spread

from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.onnx import export_onnx
from toolchain.module import GraphModule
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

OPERATORS = "scscscs"


def main() -> None:
    """Time the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    space = ShrinkCnnSpace()
    graph = space.decode(space.complete(OPERATORS))
    module = GraphModule(graph).eval()
    stages: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.repeats):
        start = time.perf_counter()
        model = export_onnx(module, graph.input_shape)
        exported = time.perf_counter()
        lowered = lower(model)
        planned = time.perf_counter()
        write_tflite(lowered.plan, lowered.weights)
        written = time.perf_counter()
        stages["torch to ONNX, checked"].append(exported - start)
        stages["ONNX to plan"].append(planned - exported)
        stages["plan to TFLite"].append(written - planned)
        stages["ONNX to TFLite"].append(written - exported)
    figures = {
        "kernels": len(lowered.plan.steps),
        "seconds": {stage: spread(times) for stage, times in stages.items()},
    }
    report("lowering", figures, options.output)


if __name__ == "__main__":
    main()
