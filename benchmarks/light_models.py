"""The `onnx` wheel's light models, made ready for our own export.

They are classifiers of 2014 to 2018 without their weights: each weight is a ``ConstantOfShape``.
Here they get weights at random. Left out is what an exported classifier has no use for: dropout
and the softmax at the end. Sum, a pooling of the whole map and a reshape before a dense layer are
put in today's words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SEED = 7
FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
WORDS = {"AveragePool": "GlobalAveragePool", "Reshape": "Flatten", "Sum": "Add"}
"""What stands for what; of an average pooling that is not of the whole map, shapes tell."""


def light_models() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Every light model of the wheel, by name."""
    for path in sorted(FOLDER.glob("*.onnx")):
        yield path.stem, _prepared(onnx.load(path))


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    rng = np.random.default_rng(SEED)
    graph = model.graph
    shapes = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            weights = _weights(rng, tuple(map(int, shapes[node.input[0]])))
            graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        elif node.op_type in ("Dropout", "Softmax"):
            same[node.output[0]] = same.get(node.input[0], node.input[0])
        else:
            reads = [same.get(name, name) for name in node.input]
            if node.op_type in ("AveragePool", "Reshape"):
                del node.attribute[:]
                del reads[1:]
            node.op_type = WORDS.get(node.op_type, node.op_type)
            del node.input[:]
            node.input.extend(reads)
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    for output in graph.output:
        output.name = same.get(output.name, output.name)
    constants = {one.name for one in graph.initializer}
    images = [one for one in graph.input if one.name not in constants]
    del graph.input[:]
    graph.input.extend(images)
    model.ir_version = 8
    model.opset_import[0].version = 13
    return model


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Filters that keep activations near unit variance; vectors of one half."""
    if len(shape) < 2:
        return np.full(shape, 0.5, np.float32)
    fan_in = math.prod(shape[1:])
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / fan_in))
