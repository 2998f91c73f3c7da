"""Lines of the golden files, mutated at random: the parsers read them or refuse, nothing else."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import pytest
from ai_edge_litert.profiling_info_pb2 import BenchmarkProfilingData
from google.protobuf import text_format

from profilers.benchmark_output import (
    BenchmarkOutput,
    OperatorRow,
    RunStatistics,
    parse_csv,
    parse_output,
    parse_profile_proto,
    require_single_partition,
)
from profilers.errors import OperatorsDiffer, OutputUnreadable

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
FILES = {
    path.name: path.read_text().split("\n") for path in sorted(GOLDEN.glob("[vp]*.[ct][sx][vt]"))
}
ALL_LINES = [line for lines in FILES.values() for line in lines]
MILLION = 1_000_000
T = TypeVar("T")
R = TypeVar("R")

NUMBERS = [
    "nan", "-nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "1e308", "0", "-0", "0x10", "1_0",
    "1.2.3", "1e+06", "9" * 25, "9" * 5000, "-7", "٣", "²", ".", "", "+1", "1,5", "1e", "\ud800",
]  # fmt: skip
SPLINTERS = [
    *"\0\r\t ,%=:[]()/-\\\x1b\x85\u2028é",
    "%%", "Delegate/", "[Delegate]:", "count=", "avg=", "Replacing 1 ", " ms", "=====", "%, ",
    "node type,", "INFO: ", "ERROR: ", "I tflite  : ", "Subgraph (index: 1, name: x) profile:",
    "Delegate internal:", "AllocateTensors/0", "Number of nodes executed: ", "\t1\t", "x" * 3000,
]  # fmt: skip


def mutated(line: str, rng: random.Random) -> str:
    """The line after one to three small accidents."""
    for _ in range(rng.randint(1, 3)):
        match rng.randrange(7):
            case 0:
                line = line[: rng.randint(0, len(line))]
            case 1:
                start, end = sorted(rng.randint(0, len(line)) for _ in range(2))
                line = line[:start] + line[end:]
            case 2:
                place = rng.randint(0, len(line))
                line = line[:place] + rng.choice(SPLINTERS) + line[place:]
            case 3:
                words = line.replace("=", " = ").split(" ")
                words[rng.randrange(len(words))] = rng.choice(NUMBERS)
                line = " ".join(words).replace(" = ", "=")
            case 4:
                columns = line.split("\t")
                columns[rng.randrange(len(columns))] = rng.choice(NUMBERS)
                line = "\t".join(columns)
            case 5:
                other = rng.choice(ALL_LINES)
                line = line[: rng.randint(0, len(line))] + other[rng.randint(0, len(other)) :]
            case 6:
                line = rng.choice(("\n", "")).join((line, rng.choice(ALL_LINES)))
    return line


def require_sense(statistics: RunStatistics | None) -> None:
    if statistics is not None:
        for field in fields(statistics):
            value = getattr(statistics, field.name)
            assert value is None or (math.isfinite(value) and value >= 0)


def require_rows(rows: tuple[OperatorRow, ...]) -> None:
    for row in rows:
        assert math.isfinite(row.ms)
        assert row.ms >= 0
        assert row.kind
        assert row.name


def attempt(parse: Callable[[T], R], argument: T) -> R | None:
    """What the parser reads, or None if it refuses; any other exception comes through."""
    refusal = None
    try:
        return parse(argument)
    except (OutputUnreadable, OperatorsDiffer) as error:
        refusal = str(error)
    assert refusal.isprintable()
    return None


def read_everything(name: str, text: str) -> BenchmarkOutput | None:
    """Parse; no figure that comes out may be none."""
    if name.endswith(".csv"):
        require_rows(attempt(parse_csv, text) or ())
    output = attempt(parse_output, text)
    if output is not None:
        for statistics in (output.warmup, output.timed, output.profiled):
            require_sense(statistics)
        require_rows(output.operators + output.overheads + output.delegate_internal)
        attempt(require_single_partition, output)
    return output


def fuzz(seed: int, lines_to_mutate: int) -> None:
    rng = random.Random(seed)
    names = sorted(FILES)
    count = readable = cases = 0
    while count < lines_to_mutate:
        name = rng.choice(names)
        share = rng.choice((0.05, 0.3, 1.0))
        chosen = [rng.random() < share for _ in FILES[name]]
        lines = [
            mutated(line, rng) if is_chosen else line
            for line, is_chosen in zip(FILES[name], chosen, strict=True)
        ]
        if rng.random() < 0.1:
            rng.shuffle(lines)
        count += sum(chosen)
        cases += 1
        readable += read_everything(name, "\n".join(lines)) is not None
    # Else the mutations destroy everything, and the test tries nothing.
    assert readable > cases / 2


def test_mutated_lines_are_read_or_refused() -> None:
    fuzz(0, 40_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_million_mutated_lines_are_read_or_refused(seed: int) -> None:
    fuzz(seed, MILLION // 4)


def test_mutated_protobufs_are_read_or_refused() -> None:
    rng = random.Random(5)
    text = (GOLDEN / "profile.txtpb").read_text()
    data = bytes(text_format.Parse(text, BenchmarkProfilingData()).SerializeToString())
    readable = 0
    for _ in range(5000):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        end = rng.choice((len(data), len(data), rng.randrange(len(data))))
        rows = attempt(parse_profile_proto, bytes(damaged[:end]))
        require_rows(rows or ())
        readable += bool(rows)
    assert readable > 500


@pytest.mark.parametrize(
    "flood",
    [
        "Memory footprint delta " * 40_000,
        "Replacing 1 out of 1 node(s) with delegate (" * 20_000,
        "Explicitly applied x " * 40_000,
        "Node number 1 (" * 60_000,
        "Subgraph (index: 1" + " profile" * 100_000,
        "[node type]" * 80_000,
        "=" * 1_000_000,
        "= " * 500_000,
        "1.000 " * 150_000 + "%%",
        "%" * 1_000_000,
        "\t" * 1_000_000,
        " " * 1_000_000 + "count=1",
        "\n" * 1_000_000,
        "count=1 curr=" * 70_000,
        "Inference timings in us: " + "Init: 1 " * 100_000,
        "07-14 13:14:52.097 " * 50_000,
        "INFO: [" * 120_000,
        "9" * 1_000_000,
    ],
    ids=lambda flood: flood[:12].strip() or "blank",
)
def test_a_megabyte_of_anything_is_read_in_no_time(flood: str) -> None:
    """Else a phone could keep this machine busy for hours."""
    text = "STARTING!\n============================== Run Order =============\n" + flood
    start_s = time.process_time()
    assert read_everything("flood.csv", text) is not None
    assert time.process_time() - start_s < 5
