"""The tables in which benchmark_model tells the times of single operators.

A table of text has the columns type, start (until 2021 and again in LiteRT 2.3), first, average,
two percentages, KB, times called and name. Columns are separated by tabs, by spaces in LiteRT 2.3
and wherever a terminal expanded the tabs, by commas in CSV. A type or a name may hold each of
these, so that a row is taken apart from its two percentages outwards.

What the columns mean (source of LiteRT read, August 2026):

* The average is that of one call. Times called is per inference, rounded down; builds of 2018
  print 0 for all, and LiteRT 2.3 prints the calls of all inferences together.
* Operators of a delegate are told apart by type and by their number ``:k`` within a part of the
  graph, so that equal ones of several parts are merged into one row that is called more often.
* A table is sorted by order of execution only while no rows were merged.
* Names of operators are ``[outputs]:node`` or ``Delegate/type:k``; events that are not operators,
  such as the allocation of tensors, are called ``type/graph``.

Source: google-ai-edge/LiteRT, tflite/profiling/profile_summarizer.cc and
profile_summary_formatter.cc; openxla/xla, xla/tsl/util/stats_calculator.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from profilers.run_statistics import RunStatistics, figure, parse_statistics, whole

_BANNER = re.compile(r"(={5,})(?: ([\w ]{1,60}) ={5,})?")
# Until LiteRT 2.3 a title stood between two times thirty of them.
_NARROW_BANNER = 30
_GRAPH = re.compile(r"(?:(Primary graph)|Subgraph \(index: [0-9]+).* profile:")
_FIXED = re.compile(r"[0-9]+\.[0-9]{3}")
_HEADER = re.compile(r"\s*(?:\[node type\]|node type,).*\bname\]?", re.IGNORECASE)
_SECTIONS = {
    "Profiling Info for Benchmark Initialization:": False,
    "Operator-wise Profiling Info for Regular Benchmark Runs:": True,
}
_PRIMARY, _CALLED, _DELEGATE = "primary", "called", "delegate"
_OVERHEADS = ("AllocateTensors", "ModifyGraphWithDelegate", "LiteRT::")


@dataclass(frozen=True, kw_only=True)
class OperatorRow:
    """One operator, or one event beside them.

    Attributes:
        kind: As the tool prints it, ``Convolution (NHWC, F32) IGEMM`` or ``CONV_2D``; a leading
            ``Delegate/`` is removed.
        name: The last column.
        position: Place in the order of execution, from 0.
        is_delegated: Whether it is a row from inside of a delegate.
        mean_ms: Mean of one call.
        calls: Calls in one inference.
    """

    kind: str
    name: str
    position: int
    is_delegated: bool
    mean_ms: float
    calls: float

    @property
    def ms(self) -> float:
        """Its share of one inference."""
        return self.mean_ms * self.calls

    @property
    def is_overhead(self) -> bool:
        """Whether it is no operator of the graph."""
        tag, _, graph = self.name.rpartition("/")
        is_event = tag == self.kind and whole(graph) is not None
        return is_event or self.kind.startswith(_OVERHEADS)


@dataclass(frozen=True, kw_only=True)
class OperatorTables:
    """All that a text holds about single operators in its regular runs.

    Attributes:
        rows: Of the graph that was run; a graph that it calls is part of the calling row's time.
        internal: What a delegate with a row in `rows` did during that time.
        timings: Sums over the rows of `rows`, run by run; None where LiteRT 2.3 prints them.
        row_count: How many rows the tool says there are.
        has_called_graphs: Whether there are tables of other graphs, too.
        has_start: Whether the tables have a column for the start; None without tables.
        has_totals: Whether the calls are those of all inferences.
    """

    rows: tuple[OperatorRow, ...] = ()
    internal: tuple[OperatorRow, ...] = ()
    timings: RunStatistics | None = None
    row_count: int | None = None
    has_called_graphs: bool = False
    has_start: bool | None = None
    has_totals: bool = False


def read_tables(lines: Iterable[str], *, runs: int | None = None) -> OperatorTables:
    """Find the tables among other lines, which may stand even between two rows.

    Args:
        lines: Without what a logger puts in front of them.
        runs: Inferences that were profiled at most, if that is known.
    """
    reader = _TableReader()
    for line in lines:
        reader.read(line.rstrip())
    return reader.tables(runs)


def parse_row(line: str, position: int) -> OperatorRow | None:
    """Take one row of text or CSV apart; None if it is none."""
    parts = line.split("%", 2)
    if len(parts) != 3:
        return None
    mark = "," if parts[1].lstrip().startswith(",") else None
    front = parts[0].rsplit(mark, 3)
    back = parts[2].strip().removeprefix(",").split(mark, 2)
    if len(front) != 4 or len(back) != 3:
        return None
    kind, *start = front[0].rsplit(mark, 1)
    # A type may end in a number, "relu 1", but not in one with three decimals.
    if not start or not (figure(start[0]) is not None if mark else _FIXED.fullmatch(start[0])):
        kind = front[0]
    mean_ms, calls = figure(front[2]), whole(back[1])
    # In CSV the tool puts tabs for the commas of a name, though not for those of a type.
    name = back[2].replace("\t", ",") if mark else back[2]
    if not kind.strip() or not name.strip() or mean_ms is None or calls is None:
        return None
    return make_row(kind, name, position=position, mean_ms=mean_ms, calls=calls)


def make_row(kind: str, name: str, *, position: int, mean_ms: float, calls: float) -> OperatorRow:
    """A row from its columns as the tool writes them."""
    kind, name = kind.strip(), name.strip()
    return OperatorRow(
        kind=kind.removeprefix("Delegate/") or kind,
        name=name,
        position=position,
        is_delegated=kind.startswith("Delegate/") or name.startswith("Delegate/"),
        mean_ms=mean_ms,
        calls=float(calls),
    )


def called_at_all(rows: Sequence[OperatorRow]) -> tuple[OperatorRow, ...]:
    """Mend rows of a build of 2018, by which each was called 0 times."""
    if any(row.calls for row in rows):
        return tuple(rows)
    return tuple(replace(row, calls=1.0) for row in rows)


class _TableReader:
    """Goes through an output line by line and remembers in which table it is."""

    def __init__(self) -> None:
        self._rows: dict[str, list[OperatorRow]] = {_PRIMARY: [], _CALLED: [], _DELEGATE: []}
        self._graph = _PRIMARY
        self._is_regular = True
        self._open: list[OperatorRow] | None = None
        self._banners = 0
        self._has_start: bool | None = None
        self._has_totals = False
        self._row_count: int | None = None
        self._timings: RunStatistics | None = None

    def read(self, line: str) -> None:
        if line in _SECTIONS:
            self._is_regular, self._graph, self._open = _SECTIONS[line], _PRIMARY, None
        elif line == "Delegate internal:":
            self._graph, self._open = _DELEGATE, None
        elif graph := _GRAPH.fullmatch(line):
            self._graph, self._open = _PRIMARY if graph[1] else _CALLED, None
        elif banner := _BANNER.fullmatch(line):
            self._read_banner(marks=len(banner[1]), title=banner[2])
        elif _HEADER.match(line):
            self._read_header(line)
        elif self._open is not None and (row := parse_row(line, len(self._open))):
            self._open.append(row)
        elif line.startswith(("Number of nodes executed: ", "Timings (microseconds): ")):
            self._read_total(line)

    def _read_banner(self, *, marks: int, title: str | None) -> None:
        self._banners += 1
        rows = self._rows[self._graph]
        # A second table of the same graph is that of another run of the tool.
        self._open = rows if title == "Run Order" and self._is_regular and not rows else None
        if title == "Run Order":
            self._has_totals = marks > _NARROW_BANNER

    def _read_header(self, line: str) -> None:
        self._has_start = "start" in line
        if not self._banners:  # an extract of a CSV file, of which the first table counts
            rows = self._rows[_PRIMARY]
            self._open = rows if self._is_regular and not rows else None

    def _read_total(self, line: str) -> None:
        self._open = None
        if not self._is_regular or self._graph != _PRIMARY:
            return
        title, _, value = line.partition(": ")
        if title.startswith("Number") and self._row_count is None:
            self._row_count = whole(value)
        elif title.startswith("Timings") and self._timings is None:
            self._timings = parse_statistics(value)

    def tables(self, runs: int | None) -> OperatorTables:
        rows, internal = (
            _per_inference(self._rows[graph], has_totals=self._has_totals, runs=runs)
            for graph in (_PRIMARY, _DELEGATE)
        )
        return OperatorTables(
            rows=rows,
            internal=tuple(map(_internal, internal)),
            timings=None if self._has_totals else self._timings,
            row_count=self._row_count,
            has_called_graphs=bool(self._rows[_CALLED]),
            has_start=self._has_start,
            has_totals=self._has_totals,
        )


def _per_inference(
    rows: Sequence[OperatorRow], *, has_totals: bool, runs: int | None
) -> tuple[OperatorRow, ...]:
    if not has_totals or not rows:
        return called_at_all(rows)
    # No operator runs less often than once in an inference. The profiler may leave out warm-up.
    calls = [row.calls for row in rows if row.calls and not row.is_overhead]
    divisor = min([*calls, *([runs] if runs else [])], default=1.0)
    return tuple(replace(row, calls=row.calls / divisor) for row in rows)


def _internal(row: OperatorRow) -> OperatorRow:
    """Give it the type that a table of a delegate has in its names only."""
    kind, _, number = row.name.removeprefix("Delegate/").rpartition(":")
    is_typed = bool(kind.strip()) and whole(number) is not None
    return replace(row, kind=kind if is_typed else row.kind, is_delegated=True)
