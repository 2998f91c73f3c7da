"""Networks of vectors and words: LiteRT computes what ONNX Runtime does, with shared weights."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from onnx import ModelProto, numpy_helper
from onnxruntime import InferenceSession

from toolchain.errors import ExportFailed
from toolchain.export.flatbuffer import write_tflite
from toolchain.export.lowering.lower import lower
from toolchain.export.parity import litert_interpreter

RNG = np.random.default_rng(0)
CONSTANTS = {
    "table": RNG.standard_normal((30, 4), dtype=np.float32),
    "matrix": RNG.standard_normal((4, 4), dtype=np.float32),
    "half": np.float32(0.5),
    "first": np.array([0]),
    "second": np.array([1]),
    "last": np.array([-1]),
    "third": np.array([2]),
    "fourth": np.array([3]),
    "columns": np.array([1]),
    "steps": np.array([2]),
}
ROWS = "x = Gather(table, token)"


def make(nodes: str, outputs: str = "float[1,30] logits") -> ModelProto:
    """A model of three words and a state; it computes ``logits``."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]>\n'
        f"net (int64[3] token, float[1,4] state) => ({outputs}) {{ {nodes} }}"
    )
    for name, value in CONSTANTS.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


SECOND = f"{ROWS} r = Slice(x, second, third, first)"
NETWORKS = {
    "a row": f"{SECOND} s = Add(r, state) logits = Gemm<transB=1>(s, table)",
    "the last row": f"{ROWS} r = Slice(x, third, fourth) logits = Gemm<transB=1>(r, table)",
    "a row from the end": (
        f"{ROWS} r = Slice(x, last, fourth, first) logits = Gemm<transB=1>(r, table)"
    ),
    "means": f"{SECOND} d = Sub(r, state) m = Mul(half, d) logits = Gemm<transB=1>(m, table)",
    "functions": (
        f"{SECOND} t = Tanh(r) s = Sigmoid(state) c = Relu(t) m = Mul(c, s)"
        "logits = Gemm<transB=1>(m, table)"
    ),
    "a matrix twice": (
        f"{SECOND} a = MatMul(r, matrix) b = MatMul(a, matrix) logits = Gemm<transB=1>(b, table)"
    ),
    "a matrix both ways": (
        f"{SECOND} a = Gemm(r, matrix) b = Gemm<transB=1>(a, matrix)"
        "logits = Gemm<transB=1>(b, table)"
    ),
}
STACKED = (
    f"{SECOND} s = Concat<axis=0>(r, state, r, state, r, state, r)"
    "logits = Gemm<transB=1>(s, table)"
)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        *((nodes, "float[1,30] logits") for nodes in NETWORKS.values()),
        (STACKED, "float[7,30] logits"),
        (
            f"{SECOND} more = Add(r, state) logits = Tanh(more)",
            "float[1,4] more, float[1,4] logits",
        ),
    ],
    ids=[*NETWORKS, "stacked rows", "two outputs"],
)
def test_litert_computes_what_onnx_runtime_computes(nodes: str, outputs: str) -> None:
    model = make(nodes, outputs)
    lowered = lower(model)
    feed = {"token": np.array([3, 29, 7]), "state": RNG.standard_normal((1, 4), dtype=np.float32)}
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    run = litert_interpreter(write_tflite(lowered.plan, lowered.weights)).get_signature_runner()
    found = run(token=feed["token"].astype(np.int32), state=feed["state"])
    assert set(found) == set(names)
    for name, expected in zip(names, session.run(names, feed), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)


def shares(nodes: str) -> list[int | None]:
    return [
        step.shares
        for step in lower(make(NETWORKS[nodes])).plan.steps
        if step.kernel.kind == "fully_connected"
    ]


def test_what_reads_one_constant_shares_it_unless_it_is_turned() -> None:
    assert shares("a matrix twice") == [None, 2, 0]
    assert shares("a matrix both ways") == [None, None, 0]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("logits = Gather(table, first)", "by words that the network reads"),
        ("logits = Gather<axis=1>(table, token)", "takes along axis 1"),
        (f"{ROWS} logits = Slice(x, first, third, first)", r"it makes \(2, 4\) of \(3, 4\)"),
        (f"{ROWS} logits = Slice(x, first, second, columns)", "only one row of a matrix"),
        (f"{ROWS} logits = Slice(x, first, second, first, steps)", "only one row of a matrix"),
        (f"{SECOND} logits = Softmax(r)", "Softmax .*no rule"),
    ],
)
def test_what_cannot_be_lowered_is_refused(nodes: str, reason: str) -> None:
    model = make(nodes, "float[N,M] logits")
    with pytest.raises(ExportFailed, match=reason):
        lower(model)
