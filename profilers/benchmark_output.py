"""What benchmark_model says about a run, whichever version of it ran.

Each fact is looked for in all the ways in which any family says it (`output_family`). A line that
is cut off or makes no sense is passed over, so that the fact in it is missing, not wrong.
The tool prints the timings of runs that failed, too: look at its exit code first.

Source: google-ai-edge/LiteRT, tflite/tools/benchmark and litert/tools, read in August 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from device_farm.errors import printable
from profilers.delegation import Delegation, delegations_in, kernel_count_in, obstacle
from profilers.errors import OperatorsDiffer, OutputUnreadable
from profilers.operator_rows import OperatorRow, read_tables
from profilers.output_family import family_of
from profilers.output_lines import OutputLine, split_lines
from profilers.profile_file import parse_csv, parse_profile_proto
from profilers.run_statistics import RunStatistics, figure
from profilers.timed_runs import find_runs

__all__ = [
    "BenchmarkOutput",
    "Delegation",
    "OperatorRow",
    "RunStatistics",
    "parse_csv",
    "parse_output",
    "parse_profile_proto",
    "require_single_partition",
]

_MAX_ERRORS = 100
_MAX_ERROR_TEXT = 500
_NUMBER = r"([0-9.eE+-]{1,64})"
_MEMORY = re.compile(rf"emory footprint.{{0,60}} \(MB\): init={_NUMBER} overall={_NUMBER}")
_INIT_MEMORY = re.compile(rf"^Init footprint: +{_NUMBER} MB", re.MULTILINE)
_OVERALL_MEMORY = re.compile(rf"^Overall footprint: +{_NUMBER} MB", re.MULTILINE)
_GPU_API = re.compile(r"^Initialized (\w{1,20})-based API", re.MULTILINE)
_FALLBACK = "will not be executed by the delegate"
_FAILURE = re.compile(
    r"Benchmarking failed|Failed to (?!get the input model)|Disallowed CPU fallback"
    r"|Could not open |CANNOT LINK EXECUTABLE|Node number [0-9]+ \(.*\) failed to "
    r"|Select TensorFlow op\(s\)|Segmentation fault|Aborted|Killed|Out of memory"
    r"|terminat(?:e|ing) "
)
_TRACE = re.compile(
    r"^(?:STARTING!|Log parameter values verbosely|Loaded model |Graph: \[|Failed to load model"
    r"|Created TensorFlow Lite |Initialized TensorFlow Lite |The input model file size"
    r"|Benchmarking failed|Node number [0-9]+ \(|Initialized session in |Inference timings in us"
    r"|Average inference timings in us|Running benchmark for |count=|Replacing [0-9]+ "
    r"|Disallowed CPU fallback|=+ (?:Run Order|BENCHMARK RESULTS) =)",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkOutput:
    """What one run of the tool printed.

    Attributes:
        family: "v0" to "v5", see `output_family`; v1 also where nothing tells.
        init_ms: Loading the model and preparing it.
        warmup: Runs that do not count.
        timed: Runs that do; None if the tool did not get to their end.
        profiled: Sums of the times of all operators and overheads of the timed runs.
        wanted_runs: Timed runs that were asked for; more were made if they were short.
        operators: Of the timed runs, in order of execution. A row of a delegate may stand for
            many nodes, and a row of control flow for all that it calls.
        overheads: Events of the same runs that are no operators: allocation, delegation, copies.
        delegate_internal: Times that are part of the time of a delegate's row in `operators`.
        row_count: How many rows the tool says that `operators` and `overheads` have together.
        has_called_graphs: Whether operators of other graphs were profiled, too.
        delegations: In the order of the output.
        delegate_kernels: Separate parts that the delegate runs, as the tool counts them.
        gpu_api: "OpenCL" or "OpenGL", as a rule.
        init_mb: Memory that initialization took; peak memory in builds of 2020.
        overall_mb: Memory at the end.
        is_cpu_fallback: Whether the delegate that was asked for took nothing.
        errors: Texts of errors in order, each once and cut at 500 characters; not safe to print.
    """

    family: str
    init_ms: float | None = None
    warmup: RunStatistics | None = None
    timed: RunStatistics | None = None
    profiled: RunStatistics | None = None
    wanted_runs: int | None = None
    operators: tuple[OperatorRow, ...] = ()
    overheads: tuple[OperatorRow, ...] = ()
    delegate_internal: tuple[OperatorRow, ...] = ()
    row_count: int | None = None
    has_called_graphs: bool = False
    delegations: tuple[Delegation, ...] = ()
    delegate_kernels: int | None = None
    gpu_api: str | None = None
    init_mb: float | None = None
    overall_mb: float | None = None
    is_cpu_fallback: bool = False
    errors: tuple[str, ...] = ()

    @property
    def is_truncated(self) -> bool:
        """Whether the time limit ended the timed runs before there were enough."""
        if self.timed is None or self.wanted_runs is None:
            return False
        return 0 < self.timed.count < self.wanted_runs


def parse_output(text: str) -> BenchmarkOutput:
    """Read what benchmark_model printed, on both outputs or to the log of a phone.

    Args:
        text: Of one run; any bytes that can be decoded somehow, cut off anywhere.

    Raises:
        OutputUnreadable: There is nothing of benchmark_model in it.
    """
    lines = split_lines(text)
    body = "\n".join(line.text for line in lines)
    if not _TRACE.search(body):
        raise OutputUnreadable(
            f"this is no output of benchmark_model: {printable(body.strip()[:200])!r}; give the "
            "text of one run, with what it wrote to standard error"
        )
    runs = find_runs(body)
    tables = read_tables((line.text for line in lines), runs=runs.profiled_at_most)
    memory = _MEMORY.search(body)
    gpu_apis = _GPU_API.findall(body)
    return BenchmarkOutput(
        family=family_of(text, tables),
        init_ms=runs.init_ms,
        warmup=runs.warmup,
        timed=runs.timed_or_mean(tables.timings),
        profiled=tables.timings,
        wanted_runs=runs.wanted,
        operators=tuple(row for row in tables.rows if not row.is_overhead),
        overheads=tuple(row for row in tables.rows if row.is_overhead),
        delegate_internal=tables.internal,
        row_count=tables.row_count,
        has_called_graphs=tables.has_called_graphs,
        delegations=delegations_in(body),
        delegate_kernels=kernel_count_in(body),
        # OpenCL may fail and OpenGL take its place.
        gpu_api=gpu_apis[-1] if gpu_apis else None,
        init_mb=_figure(memory or _INIT_MEMORY.search(body), 1),
        overall_mb=_figure(memory, 2) if memory else _figure(_OVERALL_MEMORY.search(body), 1),
        is_cpu_fallback=_FALLBACK in body,
        errors=_errors(lines),
    )


def require_single_partition(output: BenchmarkOutput) -> None:
    """Check that the rows of operators are the graph's, one each, in order of execution.

    Raises:
        OperatorsDiffer: Operators of several parts of the graph were added up, a delegate tells
            one time for many, or rows are missing; the message says which.
    """
    if not output.operators:
        raise OperatorsDiffer(
            "benchmark_model printed no times of operators; run it with --enable_op_profiling=true"
        )
    reason = obstacle(output.operators, output.delegations, output.delegate_kernels)
    told, found = output.row_count, len(output.operators) + len(output.overheads)
    if not reason and output.has_called_graphs:
        reason = "the graph calls other graphs"
    if not reason and told not in (None, found):
        reason = f"{found} rows can be read, but benchmark_model says that there are {told}"
    if reason:
        raise OperatorsDiffer(
            f"times cannot be assigned to operators: {printable(reason)}; export a model that one "
            "delegate runs as a whole, and measure it with a build of 2023 or later"
        )


def _figure(found: re.Match[str] | None, group: int) -> float | None:
    return None if found is None else figure(found[group])


def _errors(lines: Iterable[OutputLine]) -> tuple[str, ...]:
    """The texts that a logger calls errors, or that tell of a failure without a logger."""
    errors: dict[str, None] = {}
    for line in lines:
        text = line.text.strip()[:_MAX_ERROR_TEXT]
        if text and (line.is_error or (not line.level and _FAILURE.match(text))):
            errors[text] = None
            if len(errors) == _MAX_ERRORS:
                break
    return tuple(errors)
