"""The tables of operators: as text of every family, as CSV, as a protobuf."""

from __future__ import annotations

from pathlib import Path

import pytest
from ai_edge_litert.profiling_info_pb2 import BenchmarkProfilingData
from benchmark_text import FAMILIES, csv_table, table
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from profilers.benchmark_output import OperatorRow, parse_csv, parse_output, parse_profile_proto
from profilers.errors import OutputUnreadable
from profilers.operator_rows import parse_row, read_tables

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
CONV = "Convolution (NHWC, F32) IGEMM"


def proto(text: str | None = None) -> bytes:
    text = (GOLDEN / "profile.txtpb").read_text() if text is None else text
    return bytes(text_format.Parse(text, BenchmarkProfilingData()).SerializeToString())


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "v0_quantized",
            [
                ("CONV_2D", "[net/stem/Relu6]", False, 3.105, 1),
                ("DEPTHWISE_CONV_2D", "[net/block_1/depthwise/Relu6]", False, 1.204, 1),
                ("CONV_2D", "[net/block_1/pointwise, net/skip]", False, 2.25, 1),
                ("SOFTMAX", "[net/out]", False, 0.031, 1),
            ],
        ),
        (
            "v1_gpu_opaque",
            [
                ("QUANTIZE", "[net/in_int8]:0", False, 0.084, 1),
                ("TfLiteGpuDelegateV2", "[net/head/Relu, net/head/skip]:19", False, 5.31, 1),
                ("SOFTMAX", "[net/out]:17", False, 0.022, 1),
            ],
        ),
        (
            "v2_truncated",
            [
                ("PAD", "[net/pad]:0", False, 0.4, 1),
                ("TfLiteXNNPackDelegate", "[net/b1]:31", False, 8000.25, 1),
                ("RESIZE_BILINEAR", "[net/up]:12", False, 1210.5, 1),
                ("TfLiteXNNPackDelegate", "[net/b2]:32", False, 2400, 1),
            ],
        ),
        (
            "v3_two_partitions",
            [
                ("QUANTIZE", "[in]:0", False, 0.052, 1),
                ("Convolution (NHWC, QC8) IGEMM", None, True, 0.402, 2),
                ("Convolution (NHWC, QC8) DWConv", None, True, 0.11, 2),
                ("Clamp (NC)", "Delegate/Clamp (NC):2", True, 0.02, 1),
                ("CUSTOM_NMS", "[boxes, scores]:12", False, 0.75, 1),
            ],
        ),
        (
            "v3_gpu_kernels",
            [
                ("convolution_2d 0 -> relu 1", None, True, 0.211, 1),
                ("depth_to_space 2", "Delegate/depth_to_space 2:1", True, 0.402, 1),
            ],
        ),
        (
            "v3_control_flow",
            [("MUL", "[x2]:0", False, 0.015, 1), ("WHILE", "[out]:1", False, 4.2, 1)],
        ),
        (
            "v4_litert",
            [
                ("Static Reshape (NC)", "Delegate/Static Reshape (NC):0", True, 0.002, 1),
                ("Fully Connected (NC, PF32) GEMM", None, True, 0.245, 1),
            ],
        ),
        (
            "v5_litert",
            [
                (CONV, "[Delegate]:0", True, 0.402, 1),
                ("Clamp (NC)", "[Delegate]:1", True, 0.015, 1),
                ("Fully Connected (NC, F32) GEMM", "[Delegate]:2", True, 0.051, 1),
                ("CUMSUM", "[Builtin]:7", False, 0.12, 1),
            ],
        ),
    ],
)
def test_every_family_tells_its_operators(name, rows):
    operators = parse_output((GOLDEN / f"{name}.txt").read_text()).operators
    assert len(operators) == len(rows)
    assert list(operators) == sorted(operators, key=lambda row: row.position)
    for operator, (kind, row_name, is_delegated, mean_ms, calls) in zip(
        operators, rows, strict=True
    ):
        assert operator.kind == kind
        assert row_name in (None, operator.name)
        assert operator.is_delegated == is_delegated
        assert operator.mean_ms == mean_ms
        assert operator.calls == calls
        assert operator.ms == mean_ms * calls


def test_what_is_no_operator_is_told_apart():
    output = parse_output((GOLDEN / "v4_litert.txt").read_text())
    assert [(row.kind, row.mean_ms, row.calls) for row in output.overheads] == [
        ("LiteRT::Run[buffer registration]", 0.011, 1),
        ("AllocateTensors", 0.35, 0),
        ("LiteRT::Run[Buffer sync]", 0.009, 1),
    ]
    assert output.row_count == 5


@pytest.mark.parametrize(
    ("name", "count", "mean_ms"),
    [
        ("v0_quantized", 40, 6.59025),
        ("v3_xnnpack", 75, 1.30875),
        ("v3_control_flow", 75, 4.21525),
        ("v4_litert", 59, 0.2725),
    ],
)
def test_the_sum_of_the_rows_is_told(name, count, mean_ms):
    profiled = parse_output((GOLDEN / f"{name}.txt").read_text()).profiled
    assert profiled is not None
    assert (profiled.count, profiled.mean_ms) == (count, pytest.approx(mean_ms))


def test_the_sum_of_litert_2_3_is_over_rows_not_runs():
    text = (GOLDEN / "v5_litert.txt").read_text()
    assert parse_output(text).profiled is None
    assert parse_output(text.replace("count=4 curr", "count=1 curr")).profiled is None


@pytest.mark.parametrize(
    ("kind", "name", "is_overhead"),
    [
        ("Warp", "Warp/0", True),  # an event that no list here knows
        ("AllocateTensors", "[Default]:0", True),
        ("LiteRT::Run[Buffer sync]", "x", True),
        ("Warp", "Warp/x", False),
        ("CONV_2D", "[a/0]:1", False),
        ("Clamp (NC)", "Delegate/Clamp (NC):1", False),
    ],
)
def test_events_are_told_from_operators_by_their_names(kind, name, is_overhead):
    row = parse_row(f"\t{kind}\t 0.300\t 0.250\t 5.0%\t 5.0%\t 0.000\t 1\t{name}", 0)
    assert row is not None
    assert row.is_overhead == is_overhead


def test_what_happens_inside_of_a_delegates_row_is_not_counted_twice():
    output = parse_output((GOLDEN / "v2_truncated.txt").read_text())
    assert [(row.kind, row.is_delegated, row.mean_ms) for row in output.delegate_internal] == [
        ("Convolution (NHWC, F32)", True, 7100.125),
        ("Clamp (NC)", True, 899.875),
    ]


def test_a_called_graph_is_part_of_its_caller():
    output = parse_output((GOLDEN / "v3_control_flow.txt").read_text())
    assert output.has_called_graphs
    assert {row.kind for row in output.operators} == {"MUL", "WHILE"}


def test_calls_of_all_inferences_are_divided_by_the_least():
    """Also where the tensors were allocated once in all of them."""
    text = (GOLDEN / "v5_litert.txt").read_text()
    row = next(line for line in text.split("\n") if "Clamp" in line)
    merged = text.replace(row, row.replace(" 40 ", "120 "))
    once = row.replace("Delegate/Clamp (NC)", "AllocateTensors".rjust(19)).replace(" 40 ", "  1 ")
    output = parse_output(merged.replace(row.replace(" 40 ", "120 "), f"{once}\n{row}", 1))
    assert [operator.calls for operator in output.operators] == [1, 1, 1, 1]
    assert [operator.calls for operator in parse_output(merged).operators] == [1, 3, 1, 1]


def test_calls_are_divided_by_the_runs_where_every_row_was_merged():
    text = (GOLDEN / "v5_litert.txt").read_text()
    output = parse_output(text.replace("             40   [", "            120   ["))
    assert [operator.calls for operator in output.operators] == [2, 2, 2, 2]  # 20 + 40 runs


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no row",
        "50% done, 3% failed, 0 1 x",
        "\t CONV_2D\t 0.1\t nan\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0",
        "\t CONV_2D\t 0.1\t inf\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0",
        "\t CONV_2D\t 0.1\t 1e400\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0",
        "\t CONV_2D\t 0.1\t -0.1\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0",
        "\t CONV_2D\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.000\t -1\t[x]:0",
        "\t CONV_2D\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.000\t 1.5\t[x]:0",
        "\t CONV_2D\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.000\t " + "9" * 5000 + "\t[x]:0",
        "\t CONV_2D\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.000\t 1",
        "\t CONV_2D\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.0",
        "\t\t 0.1\t 0.1\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0",
        ",0.1,0.1,5%,5%,0,1,[x]:0",
        "CONV_2D,0.1,0.1,5%,5%,0,1,",
        "CONV_2D,0.1,nan,5%,5%,0,1,[x]:0",
    ],
)
def test_what_is_no_row_or_makes_no_sense_is_none(line):
    assert parse_row(line, 0) is None


def test_shares_may_be_no_numbers():
    """They are divided by a sum that can be 0."""
    row = parse_row("\t ADD\t 0.000\t 0.000\t -nan%\t -nan%\t 0.000\t 1\t[x]:0", 3)
    assert row is not None
    assert (row.kind, row.mean_ms, row.position) == ("ADD", 0.0, 3)


def test_a_start_column_is_no_part_of_the_type():
    start = parse_row("\trelu 1\t 7.500\t 0.300\t 0.250\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0", 0)
    none = parse_row("\trelu 1\t 0.300\t 0.250\t 5.0%\t 5.0%\t 0.000\t 1\t[x]:0", 0)
    assert start is not None
    assert start == none
    assert start.kind == "relu 1"


def test_numbers_may_fill_their_columns():
    row = parse_row("\t ADD\t12345.678\t12345.679\t100.000%\t100.000%\t62364.000\t 12\t[a]:1", 0)
    assert row is not None
    assert (row.mean_ms, row.calls) == (12345.679, 12)


TYPES = st.sampled_from(
    [
        "CONV_2D",
        CONV,
        "Fully Connected (NC, PF32) GEMM",
        "convolution_2d 0 -> relu 1",
        "depth_to_space 5",
        "TfLiteGpuDelegateV2",
    ]
)


@st.composite
def operator_rows(draw: st.DrawFn) -> list[OperatorRow]:
    """Rows of one table; a table has no two of one name."""
    kinds = draw(st.lists(TYPES, min_size=1, max_size=12))
    delegated = draw(st.booleans())
    return [
        OperatorRow(
            kind=kind,
            name=f"Delegate/{kind}:{i}" if delegated else f"[net/a {i}, b]:{i}",
            position=i,
            is_delegated=delegated,
            mean_ms=draw(st.integers(0, 10**7)) / 1000,
            calls=float(draw(st.integers(1, 40))) if i else 1.0,
        )
        for i, kind in enumerate(kinds)
    ]


@given(st.sampled_from(FAMILIES), operator_rows())
def test_rows_survive_writing_and_reading(family, rows):
    assert list(read_tables(table(family, rows).split("\n")).rows) == rows


@given(st.sampled_from(FAMILIES), operator_rows(), operator_rows())
def test_only_the_regular_runs_order_is_read(family, initial, rows):
    text = (
        "Profiling Info for Benchmark Initialization:\n"
        + table(family, initial)
        + "Number of nodes executed: 99\n"
        + "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
        + table(family, rows)
        + table(family, rows[::-1], "Top by Computation Time")
        + f"Number of nodes executed: {len(rows)}\n"
        + table(family, initial)
    )
    tables = read_tables(text.split("\n"))
    assert list(tables.rows) == rows
    assert tables.row_count == len(rows)


@given(st.sampled_from(["v0", "v1", "v3", "v4"]), operator_rows())
def test_tabs_expanded_by_a_terminal_change_nothing(family, rows):
    assert list(read_tables(table(family, rows).expandtabs().split("\n")).rows) == rows


@given(operator_rows(), st.booleans(), st.sampled_from([",", ", "]))
def test_rows_survive_csv(rows, start, mark):
    assert list(parse_csv(csv_table(rows, start=start, mark=mark))) == [
        OperatorRow(**{**vars(row), "mean_ms": float(f"{row.mean_ms:.6g}")}) for row in rows
    ]


def test_csv_of_a_build_with_a_start_column():
    rows = parse_csv((GOLDEN / "profile_2022.csv").read_text())
    assert [(row.kind, row.name, row.mean_ms, row.calls) for row in rows] == [
        ("TfLiteXNNPackDelegate", "[a, b]:9", 1.30625, 1),
        ("SOFTMAX", "[out]:8", 0.0035, 1),
    ]


def test_csv_keeps_the_commas_of_types_and_names():
    rows = parse_csv((GOLDEN / "profile_2024.csv").read_text())
    assert len(rows) == 6
    assert rows[0] == OperatorRow(
        kind=CONV,
        name=f"Delegate/{CONV}:0",
        position=1,
        is_delegated=True,
        mean_ms=0.81225,
        calls=1.0,
    )
    assert [row.kind for row in rows[1:3]] == ["Convolution (NHWC, F32) DWConv", "Clamp (NC)"]


def test_csv_may_lack_everything_before_the_head():
    text = (GOLDEN / "profile_2024.csv").read_text()
    regular = text[text.index("Regular Benchmark Runs") :]
    fragment = regular[regular.index("node type") : regular.index("=====", 200)]
    assert parse_csv(fragment) == parse_csv(text)


def test_csv_may_lack_its_banners():
    text = (GOLDEN / "profile_2024.csv").read_text()
    lines = [line for line in text.split("\n") if not line.startswith("==")]
    assert [row.name for row in parse_csv("\n".join(lines))] == [
        row.name for row in parse_csv(text)
    ]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "Killed", "\x1b[2J,\n"])
def test_no_csv_of_the_tool_is_refused(text):
    with pytest.raises(OutputUnreadable, match="no profile of benchmark_model as CSV") as caught:
        parse_csv(text)
    assert str(caught.value).isprintable()


def test_a_protobuf_gives_exact_means_in_order():
    """Its average is cut to microseconds, its rows are in any order."""
    assert parse_profile_proto(proto()) == (
        OperatorRow(
            kind=CONV,
            name=f"Delegate/{CONV}:0",
            position=1,
            is_delegated=True,
            mean_ms=0.4025,
            calls=1.0,
        ),
        OperatorRow(
            kind="Clamp (NC)",
            name="Delegate/Clamp (NC):1",
            position=2,
            is_delegated=True,
            mean_ms=0.00075,
            calls=1.0,
        ),
        OperatorRow(
            kind="SOFTMAX",
            name="[out]:2",
            position=3,
            is_delegated=False,
            mean_ms=0.01125,
            calls=1.0,
        ),
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xff", b"Inference timings in us", proto("model_name: 'x'"), proto()[:-3]],
)
def test_no_protobuf_of_the_tool_is_refused(data):
    with pytest.raises(OutputUnreadable, match="no profile of benchmark_model as protobuf"):
        parse_profile_proto(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sum: 1610", "sum: -1610"),
        ("sum: 1610", "sum: 2000000000000000"),
        ("sum: 45 count: 4", "sum: 45"),
        ('name: "[out]:2"', ""),
        ('node_type: "SOFTMAX"', 'node_type: " "'),
    ],
)
def test_a_protobuf_with_a_row_that_makes_no_sense_is_refused(old, new):
    """To leave it out would shift the times of all rows after it."""
    text = (GOLDEN / "profile.txtpb").read_text()
    assert old in text
    with pytest.raises(OutputUnreadable, match=r"the row '.*' makes no sense"):
        parse_profile_proto(proto(text.replace(old, new)))


def test_a_protobuf_of_other_bytes_than_text_is_refused():
    data = proto().replace(b"Delegate/Clamp", b"Delegate/\xd6lamp")
    with pytest.raises(OutputUnreadable, match="makes no sense"):
        parse_profile_proto(data)


def test_totals_of_a_called_graph_are_not_those_of_the_graph():
    lines = ["Subgraph (index: 1) profile:", "Number of nodes executed: 9"]
    assert read_tables(lines).row_count is None
    assert read_tables(["Primary graph profile:", *lines[1:]]).row_count == 9
