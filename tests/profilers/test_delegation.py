"""Whether the rows of a profile are the operators of the graph, one each and in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from profilers.benchmark_output import parse_output, require_single_partition
from profilers.errors import OperatorsDiffer

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    "name", ["v0_quantized", "v3_xnnpack", "v3_gpu_kernels", "v4_litert", "v5_litert"]
)
def test_rows_of_one_partition_are_operators(name):
    require_single_partition(parse_output(golden(name)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v1_gpu_opaque", "TfLiteGpuDelegateV2 tells one time for all its operators"),
        ("v2_truncated", "TfLiteXNNPackDelegate tells one time for all its operators"),
        ("v3_two_partitions", "took 11 of 13 nodes, which makes 5 partitions"),
        ("v3_control_flow", "WHILE calls other graphs"),
        ("v3_cpu_fallback", "no times of operators; run it with --enable_op_profiling=true"),
    ],
)
def test_other_rows_are_refused_with_the_reason(name, message):
    with pytest.raises(OperatorsDiffer, match=message):
        require_single_partition(parse_output(golden(name)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Without the line that counts partitions: by the rows alone.
        ("VERBOSE: Replacing", "", r"Convolution \(NHWC, QC8\) IGEMM ran 2 times in an inference"),
        ("node(s) with delegate (TfLite", "x", "ran 2 times in an inference, not once"),
    ],
)
def test_merged_rows_are_noticed_without_the_count_of_partitions(old, new, message):
    with pytest.raises(OperatorsDiffer, match=message):
        require_single_partition(parse_output(golden("v3_two_partitions").replace(old, new)))


PARTLY = (
    "INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by "
    "the delegate"
)
REPLACED = (
    "VERBOSE: Replacing 6 out of 6 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 "
    "partitions for subgraph"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Delegate/Clamp (NC):2", "Delegate/Clamp (NC):0", "are not numbered in order"),
        ("Delegate/Clamp (NC):2", "Delegate/Clamp (NC):1", "are not numbered in order"),
        ("Delegate/Clamp (NC):2", "Delegate/Clamp (NC)", "a delegated operator has no number"),
        ("Number of nodes executed: 6", "Number of nodes executed: 7", "6 rows can be read"),
        ("6 out of 6", "6 out of 9", None),
        ("VERBOSE: ", f"{PARTLY} w/ 1 delegate kernels.\nVERBOSE: ", None),
        ("VERBOSE: ", f"{PARTLY} w/ 2 delegate kernels.\nVERBOSE: ", "in 2 separate parts"),
        # The same once more, and that of a graph which is not run here.
        ("VERBOSE: ", f"{REPLACED} 0.\n{REPLACED} 0.\n{REPLACED} 4.\nVERBOSE: ", None),
        ("1 partitions for", "2 partitions for", "took 6 of 6 nodes, which makes 2 partitions"),
        ("1 partitions for", "4 partitions for", "which makes 4 partitions"),
    ],
)
def test_rows_must_be_complete_and_numbered(old, new, message):
    text = golden("v3_xnnpack")
    assert old in text
    output = parse_output(text.replace(old, new))
    if message is None:
        require_single_partition(output)
    else:
        with pytest.raises(OperatorsDiffer, match=message):
            require_single_partition(output)


def test_an_operator_that_is_not_called_each_time_is_refused():
    text = golden("v3_xnnpack")
    row = next(line for line in text.split("\n") if "Delegate/Clamp" in line)
    with pytest.raises(OperatorsDiffer, match=r"Clamp \(NC\) ran 0 times in an inference"):
        require_single_partition(parse_output(text.replace(row, row.replace("  1\t", "  0\t"))))


def test_unknown_control_flow_is_noticed_by_the_tables_of_other_graphs():
    text = golden("v3_control_flow").replace("WHILE", "HURRY")
    with pytest.raises(OperatorsDiffer, match="the graph calls other graphs"):
        require_single_partition(parse_output(text))


def test_nodes_before_and_after_a_single_delegated_part_stay_in_order():
    """Three partitions may be one delegated part between two others."""
    text = golden("v3_xnnpack").replace("6 out of 6", "6 out of 9").replace("1 part", "3 part")
    require_single_partition(parse_output(text))


def test_a_lost_row_is_noticed():
    lines = golden("v3_xnnpack").split("\n")
    row = next(i for i, line in enumerate(lines) if "Delegate/Clamp" in line)
    del lines[row]
    with pytest.raises(OperatorsDiffer, match=r"5 rows can be read, .* there are 6"):
        require_single_partition(parse_output("\n".join(lines)))
