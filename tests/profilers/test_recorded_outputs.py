"""Outputs of other people's machines give the figures that a person reads in them.

The recordings are not part of the project: POCKETNAS_DATA names the folder beside theirs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from profilers.benchmark_output import parse_csv, parse_output, require_single_partition
from profilers.errors import OperatorsDiffer

DATA = os.environ.get("POCKETNAS_DATA")
FOLDER = Path(DATA or ".").parent / "benchmark_outputs"

pytestmark = pytest.mark.skipif(
    DATA is None or not FOLDER.is_dir(),
    reason="POCKETNAS_DATA is not set, or has no benchmark_outputs beside it",
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a person reads.

    Attributes:
        init_us: Initialization.
        warmup: Count and mean in us of the warm-up.
        timed: The same of the runs that count.
        median_us: Of the timed runs.
        wanted: Timed runs that were asked for.
        operators: How many, and sum over them in ms.
        overheads: Rows that are none.
        first, last: Kind, average in ms and calls of these operators.
        delegations: Nodes, of nodes, partitions.
        kernels: "w/ .. delegate kernels".
        memory_mb: At initialization and overall.
        errors: Lines that tell of a failure; the last one.
        refused: Why rows cannot be assigned; None where they can.
    """

    family: str
    init_us: float | None = None
    warmup: tuple[int, float] | None = None
    timed: tuple[int, float] | None = None
    median_us: float | None = None
    wanted: int | None = None
    operators: tuple[int, float] = (0, 0.0)
    overheads: int = 0
    first: tuple[str, float, float] | None = None
    last: tuple[str, float, float] | None = None
    delegations: tuple[tuple[int, int, int], ...] = ()
    kernels: int | None = None
    gpu_api: str | None = None
    memory_mb: tuple[float | None, float | None] = (None, None)
    errors: tuple[int, str] = (0, "")
    refused: str | None = "no times of operators"


RECORDED = {
    "01": Seen(
        family="v0",
        init_us=38467,
        warmup=(0, 83235),
        timed=(50, 79760.9),
        # Its averages are those of the first run alone: they add up to "first=79449" below them.
        operators=(31, 79.449),
        first=("CONV_2D", 4.269, 1),
        last=("SOFTMAX", 0.029, 1),
        refused=None,
    ),
    "02": Seen(
        family="v3",
        init_us=224228,
        warmup=(5, 113841),
        timed=(50, 104012),
        wanted=50,
        kernels=13,
    ),
    "03": Seen(
        family="v2",
        init_us=5086595,
        warmup=(1, 1010898),
        timed=(50, 436080),
        wanted=50,
        kernels=1,
    ),
    "04": Seen(
        family="v1",
        operators=(14, 164.61),
        first=("STRIDED_SLICE", 2.086, 1),
        last=("TRANSPOSE", 0.146, 1),
        refused="TfLiteNnapiDelegate tells one time",
    ),
    "05": Seen(family="v1", errors=(4, "Benchmarking failed.")),
    "06": Seen(
        family="v1",
        init_us=1451507,
        warmup=(56, 8779.68),
        timed=(110, 8680.33),
        wanted=50,
        operators=(1, 8.671),
        first=("TfLiteGpuDelegateV2", 8.671, 1),
        last=("TfLiteGpuDelegateV2", 8.671, 1),
        kernels=1,
        memory_mb=(63.4883, 63.4883),
        refused="TfLiteGpuDelegateV2 tells one time",
    ),
    "07": Seen(
        family="v3",
        init_us=119515,
        warmup=(9, 58147.4),
        timed=(1000, 63743.2),
        median_us=51891,
        wanted=1000,
        delegations=((2168, 2168, 1),),
        memory_mb=(55.4961, 55.4961),
    ),
    "08": Seen(family="v3", delegations=((2136, 2168, 65),), errors=(4, "Benchmarking failed.")),
    "09": Seen(
        family="v3",
        init_us=5579,
        warmup=(1, 1357602),
        timed=(50, 1.24027e6),
        median_us=1239807,
        wanted=50,
        memory_mb=(6.36328, 109.832),
    ),
    "10": Seen(
        family="v4",
        init_us=4478,
        warmup=(1055, 465.319),
        timed=(2112, 464.545),
        median_us=462,
        wanted=1000,
        operators=(2, 0.385),
        overheads=3,
        first=("Static Reshape (NC)", 0.003, 1),
        last=("Fully Connected (NC, PF32) GEMM", 0.382, 1),
        delegations=((1, 1, 1),),
        memory_mb=(8.94, 11.51),
        refused=None,
    ),
    "11": Seen(
        family="v3",
        init_us=32163,
        warmup=(32, 15997.4),
        timed=(64, 15517.6),
        wanted=50,
        # 0.203 + 0.407 + 13 * 0.051 + 13 * 0.023 + 0.473 + 0.320, then the recording ends.
        operators=(6, 2.365),
        first=("QUANTIZE", 0.203, 1),
        last=("Convolution (NHWC, QC8) DWConv", 0.320, 1),
        memory_mb=(22.0273, 34.8281),
        refused="DWConv ran 13 times in an inference, not once",
    ),
    "12": Seen(
        family="v2",
        init_us=271722,
        warmup=(1, 10460473),
        timed=(15, 1.0293e7),
        wanted=50,
        memory_mb=(2.36328, 7.38281),
    ),
    "13": Seen(
        family="v1",
        operators=(8, 52.063),
        first=("TfLiteNnapiDelegate", 11.422, 1),
        last=("ARG_MAX", 15.326, 1),
        refused="TfLiteNnapiDelegate tells one time",
    ),
    "14": Seen(
        family="v3",
        init_us=355447,
        warmup=(50, 9580.26),
        timed=(108, 8708.66),
        median_us=8705,
        operators=(4, 1.723),
        first=("convolution_2d 0 -> relu 1", 0.272, 1),
        last=("depth_to_space 5", 0.631, 1),
        delegations=((4, 4, 1),),
        gpu_api="OpenCL",
        refused=None,
    ),
    "15": Seen(
        family="v3",
        init_us=92318,
        warmup=(3, 211669),
        timed=(25, 145528),
        median_us=141253,
        delegations=((539, 548, 19),),
        memory_mb=(54.2852, 73.4102),
    ),
    # Five lines, of which two pairs are equal.
    "16": Seen(family="v1", errors=(3, "<E> CDSP crashed")),
    "17": Seen(
        family="v3",
        init_us=188735,
        warmup=(0, 7857.5),
        timed=(0, 6928.99),
        delegations=((4, 4, 1),),
        gpu_api="OpenGL",
        errors=(2, "Falling back to OpenGL"),
    ),
    "19": Seen(
        family="v5",
        # 0.183 + 0.556 + 0.374 + 0.106, each called 50 times in 50 runs.
        operators=(4, 1.219),
        first=("Convolution (NHWC, F32) IGEMM", 0.183, 1),
        last=("Sigmoid (NC)", 0.106, 1),
        refused=None,
    ),
}


def recorded(number: str) -> str:
    (path,) = FOLDER.glob(f"{number}_*")
    return path.read_text()


def test_every_recording_is_looked_at():
    numbers = {path.name[:2] for path in FOLDER.glob("[0-9][0-9]_*")}
    assert numbers == {*RECORDED, "18"}


@pytest.mark.parametrize("number", RECORDED)
def test_runs_read_as_a_person_reads_them(number):
    seen, output = RECORDED[number], parse_output(recorded(number))
    assert output.family == seen.family
    assert output.wanted_runs == seen.wanted
    assert output.is_truncated == (number == "12")
    assert not output.is_cpu_fallback
    if seen.init_us is None:
        assert output.init_ms is None
    else:
        assert output.init_ms == pytest.approx(seen.init_us / 1000, rel=1e-9)
    for found, expected in ((output.warmup, seen.warmup), (output.timed, seen.timed)):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            count, mean_us = expected
            assert found.count == count
            assert found.mean_ms == pytest.approx(mean_us / 1000, rel=1e-9)
    if seen.timed is not None:
        assert output.timed is not None
        median_ms = None if seen.median_us is None else seen.median_us / 1000
        assert output.timed.median_ms == median_ms
        typical_us = seen.median_us or seen.timed[1]
        assert output.timed.typical_ms == pytest.approx(typical_us / 1000, rel=1e-9)


@pytest.mark.parametrize("number", RECORDED)
def test_operators_read_as_a_person_reads_them(number):
    seen, output = RECORDED[number], parse_output(recorded(number))
    count, total_ms = seen.operators
    assert len(output.operators) == count
    assert sum(row.ms for row in output.operators) == pytest.approx(total_ms, abs=1e-9)
    assert len(output.overheads) == seen.overheads
    for row, expected in zip(
        output.operators[:1] + output.operators[-1:], (seen.first, seen.last), strict=False
    ):
        assert (row.kind, row.mean_ms, row.calls) == expected


@pytest.mark.parametrize("number", RECORDED)
def test_delegates_and_failures_read_as_a_person_reads_them(number):
    seen, output = RECORDED[number], parse_output(recorded(number))
    found = tuple((d.nodes, d.of_nodes, d.partitions) for d in output.delegations)
    assert found == seen.delegations
    assert output.delegate_kernels == seen.kernels
    assert output.gpu_api == seen.gpu_api
    assert (output.init_mb, output.overall_mb) == seen.memory_mb
    assert (len(output.errors), *output.errors[-1:]) == (seen.errors if seen.errors[0] else (0,))
    if seen.refused is None:
        require_single_partition(output)
    else:
        with pytest.raises(OperatorsDiffer) as caught:
            require_single_partition(output)
        assert seen.refused in str(caught.value)


def test_csv_reads_as_a_person_reads_it():
    assert [(row.kind, row.mean_ms, row.calls) for row in parse_csv(recorded("18"))] == [
        ("Convolution (NHWC, F32) IGEMM", 0.1999, 1),
        ("HardSwish (NC)", 0.0656, 1),
        ("Convolution (NHWC, F32) DWConv", 0.0408, 1),
        ("Sum (ND) Reduce", 0.0148, 1),
    ]
