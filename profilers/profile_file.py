"""Profiles that benchmark_model writes into a file instead of among its messages.

``--op_profiling_output_mode=csv`` gives the tables of `operator_rows` with commas, ``proto`` a
``BenchmarkProfilingData``. The latter has every figure of a row, so that its mean is not rounded.

Source: google-ai-edge/LiteRT, tflite/profiling/proto/profiling_info.proto and
profile_summary_formatter.cc.
"""

from __future__ import annotations

from typing import Any

from device_farm.errors import printable
from profilers.errors import OutputUnreadable
from profilers.operator_rows import OperatorRow, called_at_all, make_row, read_tables
from profilers.output_lines import split_lines

_MAX_FIGURE = 10**15


def parse_csv(text: str) -> tuple[OperatorRow, ...]:
    """Read a profile written as CSV.

    Returns:
        The operators of the regular runs, in the order of the file.

    Raises:
        OutputUnreadable: There is no table in it.
    """
    tables = read_tables(line.text for line in split_lines(text))
    if tables.has_start is None:
        raise OutputUnreadable(
            f"this is no profile of benchmark_model as CSV: {printable(text[:80])!r}; give the "
            "file that --op_profiling_output_file or --profiling_output_csv_file names"
        )
    return tuple(row for row in tables.rows if not row.is_overhead)


def parse_profile_proto(data: bytes) -> tuple[OperatorRow, ...]:
    """Read a profile written as a protobuf.

    Returns:
        The operators of the regular runs of the graph that was run, in order of execution.

    Raises:
        OutputUnreadable: It is no such protobuf, is damaged, or holds no regular runs.
    """
    # Not at the top: most runs of the command line need neither.
    from ai_edge_litert.profiling_info_pb2 import BenchmarkProfilingData
    from google.protobuf.message import DecodeError

    try:
        profile = BenchmarkProfilingData.FromString(data).runtime_profile
    except DecodeError as error:
        raise _no_profile(len(data), str(error)) from error
    if not profile.subgraph_profiles:
        raise _no_profile(len(data), "there are no regular runs in it")
    graph = min(profile.subgraph_profiles, key=lambda graph: abs(graph.subgraph_index))
    rows = []
    for message in graph.per_op_profiles:
        if not _is_sound(message):
            raise _no_profile(len(data), f"the row {message.name!r} makes no sense")
        rows.append(_row(message))
    rows.sort(key=lambda row: row.position)
    return called_at_all([row for row in rows if not row.is_overhead])


def _is_sound(message: Any) -> bool:
    time_us = message.inference_microseconds
    figures = (time_us.sum, time_us.count, message.times_called)
    # Text that is no UTF-8 comes as bytes.
    names = (message.node_type, message.name)
    are_names = all(isinstance(name, str) and name.strip() for name in names)
    return are_names and time_us.count > 0 and all(0 <= n <= _MAX_FIGURE for n in figures)


def _row(message: Any) -> OperatorRow:
    time_us = message.inference_microseconds
    return make_row(
        message.node_type,
        message.name,
        position=message.run_order,
        mean_ms=time_us.sum / time_us.count / 1000,
        calls=message.times_called,
    )


def _no_profile(size_bytes: int, reason: str) -> OutputUnreadable:
    return OutputUnreadable(
        f"{size_bytes} bytes are no profile of benchmark_model as protobuf ({printable(reason)}); "
        "give the file that --op_profiling_output_file names"
    )
