from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tflite_builder import NetworkBuilder

from latency_tables.kernel import make_kernel
from latency_tables.model import LatencyModel
from latency_tables.predict import HANDOVER, Prediction, macs, predict
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import Network, parse_network

SHAPE = (1, 8, 8, 4)
MakeTable = Callable[..., LatencyTable]


def split_network() -> Network:
    """Two equal convolutions, a concat of six of them that falls out, a convolution."""
    builder = NetworkBuilder()
    value = builder.input(*SHAPE)
    for _ in range(2):
        value = builder.convolution(value, 4)
    value = builder.operator(
        "CONCATENATION", [value] * 6, (1, 8, 8, 24), type="ConcatenationOptions", axis=3
    )
    return parse_network(builder.content(builder.convolution(value, 8)))


@pytest.fixture
def table(make_table: MakeTable) -> LatencyTable:
    """Rows for all of the network: 0.1, 0.2 and 0.3 ms, and 0.05 ms for a further partition."""
    kernels = [*dict.fromkeys(decompose(split_network()).kernels), HANDOVER]
    rows = {
        kernel: KernelLatency(median_ms=ms, iqr_ms=0.0, p95_ms=ms, samples=1, contexts=1)
        for kernel, ms in zip(kernels, (0.1, 0.2, 0.3, 0.05), strict=True)
    }
    return replace(make_table(), rows=rows)


def without(table: LatencyTable, kind: str) -> LatencyTable:
    return replace(table, rows={one: row for one, row in table.rows.items() if one.kind != kind})


def predicted(table: LatencyTable) -> Prediction:
    return predict("net.tflite", split_network(), LatencyModel(table))


def test_a_prediction_is_the_tables_model_of_the_kernels(table: LatencyTable) -> None:
    found = predicted(table)
    convolution, concat, last, _ = table.rows
    kernels = (convolution, convolution, concat, last, HANDOVER)
    assert found.latency == LatencyModel(table).predict(kernels)
    assert found.parts == (2, -1, 1)
    assert (found.known_kernels, found.known_macs, found.missing) == (1.0, 1.0, ())
    assert [share.count for share in found.kernels] == [1, 2, 1, 1]
    assert found.dearest[0].kernel == last
    assert "4 kernels in 3 partitions: 2 in XNNPACK, 1 in TFLite, 1 in XNNPACK" in found.summary()


def test_what_fell_out_of_xnnpack_is_told_with_the_reason(table: LatencyTable) -> None:
    (outside,) = predicted(table).outside
    assert (outside.index, outside.name) == (2, "CONCATENATION")
    assert outside.reason == "concat of 6 inputs: XNNPACK takes 2 to 5"
    assert "1x concat of 6 inputs" in predicted(table).summary()


def test_what_is_not_known_is_named_with_the_share_that_is(table: LatencyTable) -> None:
    whole = predicted(table)
    last = whole.kernels[0].kernel
    rows = {one: row for one, row in table.rows.items() if one != last}
    found = predicted(replace(table, rows=rows))
    assert found.latency is None
    assert found.missing == (last,)
    assert found.known_kernels == 4 / 5
    known = 2 * 8 * 8 * 4 * 4 * 9
    assert found.known_macs == pytest.approx(known / (known + 8 * 8 * 8 * 24 * 9))
    assert found.least_ms == pytest.approx(0.1 + 0.1 + 0.2 + 0.05)
    text = found.summary()
    assert "at least 0.450 ms" in text
    assert str(last) in text
    told = found.to_json()
    assert (told["p50_ms"], told["p95_ms"], told["is_complete"]) == (None, None, False)
    assert told["missing"] == [last.key]


def test_a_further_partition_is_missed_like_a_kernel(table: LatencyTable) -> None:
    assert predicted(without(table, "handover")).missing == (HANDOVER,)


def test_json_tells_what_the_text_tells(table: LatencyTable) -> None:
    found = predicted(table)
    told = found.to_json()
    assert found.latency is not None
    assert (told["p50_ms"], told["p95_ms"]) == (found.latency.p50_ms, found.latency.p95_ms)
    assert told["partitions"] == [
        {"runs_in": "xnnpack", "kernels": 2},
        {"runs_in": "tflite", "kernels": 1},
        {"runs_in": "xnnpack", "kernels": 1},
    ]
    shares = [one["share"] for one in told["dearest"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(one["ms"] for one in told["dearest"]) == pytest.approx(
        sum(found.latency.by_kernel_ms)
    )


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "attributes", "expected"),
    [
        ("conv2d", (1, 8, 8, 4), (1, 8, 8, 6), {"kernel": "3x3"}, 64 * 6 * 9 * 4),
        ("conv2d", (1, 8, 8, 4), (1, 8, 8, 6), {"kernel": "3x3", "groups": "2"}, 64 * 6 * 9 * 2),
        ("depthwise_conv2d", (1, 8, 8, 4), (1, 8, 8, 4), {"kernel": "5x5"}, 64 * 4 * 25),
        ("conv_transpose2d", (1, 4, 4, 3), (1, 8, 8, 5), {"kernel": "2x2"}, 16 * 3 * 4 * 5),
        ("fully_connected", (1, 10), (1, 3), {}, 30),
        ("add", (1, 10), (1, 10), {}, 0),
    ],
)
def test_multiply_accumulates_are_counted(kind, inputs, output, attributes, expected) -> None:
    assert macs(make_kernel(kind, (inputs,), output, attributes)) == expected
