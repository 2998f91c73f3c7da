"""How long an export takes, stage by stage, for the complete DAG of the ShrinkCNN space.

python benchmarks/lowering.py -o results.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import onnx
from machine import report, spread

from profilers.litert import LiteRtModel
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
        content = write_tflite(lowered.plan, lowered.weights)
        written = time.perf_counter()
        onnx.checker.check_model(model, full_check=True)
        checked = time.perf_counter()
        stages["torch to ONNX, checked"].append(exported - start)
        stages["of that, the check"].append(checked - written)
        stages["ONNX to plan"].append(planned - exported)
        stages["plan to TFLite"].append(written - planned)
        stages["ONNX to TFLite"].append(written - exported)
        stages["TFLite loaded by LiteRT"].append(_load_s(content))
    figures = {
        "kernels": len(lowered.plan.steps),
        "seconds": {stage: spread(times) for stage, times in stages.items()},
    }
    report("lowering", figures, options.output)


def _load_s(content: bytes) -> float:
    """Seconds from a file to a compiled model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.tflite")
        path.write_bytes(content)
        start = time.perf_counter()
        with LiteRtModel(path):
            return time.perf_counter() - start


if __name__ == "__main__":
    main()
