"""What is read from the text of a whole run. Golden files: invented figures, real formats."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from benchmark_text import statistics_line
from hypothesis import given
from hypothesis import strategies as st

from profilers.benchmark_output import (
    BenchmarkOutput,
    Delegation,
    RunStatistics,
    parse_output,
)
from profilers.errors import OutputUnreadable

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


def delegation(nodes: int, of_nodes: int, partitions: int) -> Delegation:
    return Delegation(
        delegate="TfLiteXNNPackDelegate",
        nodes=nodes,
        of_nodes=of_nodes,
        partitions=partitions,
        subgraph=0,
    )


PERCENTILES = RunStatistics(
    count=75,
    mean_ms=1.40525,
    first_ms=1.402,
    min_ms=1.381,
    max_ms=1.620,
    std_ms=0.033,
    median_ms=1.399,
    p5_ms=1.384,
    p95_ms=1.451,
)
LITERT = RunStatistics(
    count=40,
    mean_ms=0.28825,
    first_ms=0.289,
    min_ms=0.279,
    max_ms=0.334,
    std_ms=0.008,
    median_ms=0.287,
    p5_ms=0.280,
    p95_ms=0.299,
)


@pytest.mark.parametrize(
    ("name", "family", "init_ms", "warmup", "timed", "typical_ms"),
    [
        ("v0_quantized", "v0", 12.408, (1, 7.12), (40, 6.61185), 6.61185),
        ("v1_gpu_opaque", "v1", 811.523, (81, 6.0115), (180, 5.50125), 5.50125),
        ("v2_truncated", "v2", 1021.75, (1, 12800.45), (12, 11602.1), 11602.1),
        ("v3_xnnpack", "v3", 9.75, (350, 1.4215), (75, 1.40525), 1.399),
        ("v3_cpu_fallback", "v3", 3.5, (4, 140.0), (50, 139.42), 139.1),
        ("v3_logcat", "v3", 31.5, (2, 51.0), (55, 48.7505), 48.3),
        ("v4_litert", "v4", 2.125, (20, 0.30125), (40, 0.28825), 0.287),
        ("v4_block_only", "v4", 2.125, (20, 0.3), (40, 0.29), 0.29),
        ("v5_litert", "v5", 2.125, (20, 0.30125), (40, 0.28825), 0.287),
    ],
)
def test_every_family_tells_its_runs(name, family, init_ms, warmup, timed, typical_ms):
    output = parse_output(golden(name))
    assert output.family == family
    assert output.init_ms == pytest.approx(init_ms, rel=1e-12)
    assert output.warmup is not None
    assert (output.warmup.count, output.warmup.mean_ms) == pytest.approx(warmup, rel=1e-12)
    assert output.timed is not None
    assert (output.timed.count, output.timed.mean_ms) == pytest.approx(timed, rel=1e-12)
    assert output.timed.typical_ms == pytest.approx(typical_ms, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "timed"), [("v3_xnnpack", PERCENTILES), ("v4_litert", LITERT), ("v5_litert", LITERT)]
)
def test_all_figures_of_a_line_are_read(name, timed):
    assert parse_output(golden(name)).timed == timed


@pytest.mark.parametrize(
    ("name", "memory_mb"),
    [
        ("v0_quantized", (None, None)),
        ("v1_gpu_opaque", (41.25, 43.5)),
        ("v2_truncated", (3.125, 20.75)),
        ("v3_xnnpack", (4.5, 6.125)),
        ("v4_litert", (5.25, 6.5)),
    ],
)
def test_memory_is_read_in_every_wording(name, memory_mb):
    output = parse_output(golden(name))
    assert (output.init_mb, output.overall_mb) == memory_mb


@pytest.mark.parametrize(
    ("name", "delegations", "kernels"),
    [
        ("v2_truncated", (), 2),
        ("v3_xnnpack", (delegation(6, 6, 1),), None),
        ("v3_two_partitions", (delegation(11, 13, 5),), None),
        ("v3_logcat", (delegation(30, 33, 7),), None),
        ("v4_litert", (delegation(2, 2, 1),), None),
    ],
)
def test_delegation_is_told(name, delegations, kernels):
    output = parse_output(golden(name))
    assert (output.delegations, output.delegate_kernels) == (delegations, kernels)


def test_an_old_build_tells_not_of_how_many_nodes():
    (found,) = parse_output(golden("v1_gpu_opaque")).delegations
    assert (found.delegate, found.nodes, found.of_nodes, found.partitions) == (
        "TfLiteGpuDelegateV2",
        17,
        0,
        3,
    )


def test_the_last_graphics_interface_counts():
    both = "Initialized OpenCL-based API.\n" + golden("v3_gpu_kernels")
    assert parse_output(both).gpu_api == "OpenGL"
    assert parse_output(golden("v1_gpu_opaque")).gpu_api == "OpenCL"
    assert parse_output(golden("v3_xnnpack")).gpu_api is None


def test_too_few_runs_are_truncated():
    output = parse_output(golden("v2_truncated"))
    assert output.is_truncated
    assert output.wanted_runs == 50
    assert not parse_output(golden("v3_xnnpack")).is_truncated
    assert not parse_output(golden("v4_block_only")).is_truncated  # nothing tells what was wanted


def test_a_mean_without_a_count_is_not_truncated():
    text = golden("v3_xnnpack").replace("count=75 first", "count=?? first")
    output = parse_output(text[: text.index("INFO: Profiling Info")])
    assert output.timed == RunStatistics(count=0, mean_ms=1.40525)
    assert output.wanted_runs == 75
    assert not output.is_truncated


def test_only_a_delegate_that_took_nothing_is_a_fallback():
    assert parse_output(golden("v3_cpu_fallback")).is_cpu_fallback
    assert not parse_output(golden("v2_truncated")).is_cpu_fallback


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        (
            "v1_failed_delegate",
            (
                "NN API returned error ANEURALNETWORKS_OUT_OF_MEMORY at line 90 while allocating.",
                "Failed to apply NNAPI delegate.",
                "Benchmarking failed.",
            ),
        ),
        (
            "v3_failed_prepare",
            (
                "kernels/conv.cc:345 input_channel % filter_input_channel != 0 (3 != 0)",
                "Node number 4 (CONV_2D) failed to prepare.",
                "Failed to allocate tensors!",
                "Benchmarking failed.",
            ),
        ),
        ("v3_logcat", ("session lost", "Node number 31 (TfLiteNnapiDelegate) failed to invoke.")),
        ("v3_cpu_fallback", ()),  # its warnings are none
        ("v3_xnnpack", ()),
    ],
)
def test_errors_are_told_in_order(name, errors):
    output = parse_output(golden(name))
    assert output.errors == errors
    if "failed" in name:
        assert output.timed is None


def test_only_what_no_logger_calls_harmless_is_a_failure():
    text = golden("v2_truncated")
    assert parse_output(text).errors == ()
    assert parse_output(text + "Failed to get the input model file size.\n").errors == ()
    assert parse_output(text + "INFO: Failed to find a cache\n").errors == ()
    assert parse_output(text + "Failed to invoke!\n").errors == ("Failed to invoke!",)


def test_a_table_alone_or_one_message_tells_the_family():
    table = golden("v3_xnnpack")
    table = table[table.index("===== Run Order") - 25 :].replace("INFO: ", "")
    assert parse_output(table).family == "v3"
    memory = "Memory footprint delta from the start of the tool (MB): init=1 overall=2\n"
    assert parse_output("STARTING!\n" + memory).family == "v2"
    assert parse_output("STARTING!\n").family == "v1"


def test_a_flood_of_errors_is_bounded():
    flood = "".join(f"ERROR: {i} {'x' * 5000}\n" for i in range(5000))
    output = parse_output(golden("v3_xnnpack") + flood)
    assert len(output.errors) == 100
    assert max(map(len, output.errors)) == 500


# What is not in the way of reading.


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("v*.txt")))
def test_line_ends_and_nulls_change_nothing(name):
    text = golden(name)
    expected = parse_output(text)
    assert parse_output(text.replace("\n", "\r\n")) == expected
    assert parse_output(text.replace("\n", "\r\r\n")) == expected
    assert parse_output(text.replace("\n", "\0\n")) == expected


@pytest.mark.parametrize(
    "prefix", ["07-14 13:14:52.097 22838 22838 I tflite  : ", "I/tflite(9): "]
)
@pytest.mark.parametrize("name", ["v0_quantized", "v1_gpu_opaque", "v3_xnnpack"])
def test_a_phones_log_is_read_like_the_output(name, prefix):
    text = golden(name)
    logged = "".join(f"{prefix}{line}\n" for line in text.split("\n"))
    assert parse_output(logged) == parse_output(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("v*.txt")))
def test_messages_of_others_between_all_lines_change_nothing(name):
    text = golden(name)
    noisy = text.replace(
        "\n", "\nINFO: Created 3 things, 50% of 7 at 12:00\n  \nW/Other (1): hm\n"
    )
    assert parse_output(noisy) == parse_output(text)


def test_a_broken_off_warm_up_is_not_the_timed_run():
    text = golden("v3_xnnpack")
    cut = text[: text.index("INFO: Running benchmark for at least 75")]
    output = parse_output(cut)
    assert output.warmup is not None
    assert output.timed is None
    started = parse_output(cut + "INFO: Running benchmark for at least 75 iterations and")
    assert (started.timed, started.wanted_runs) == (None, 75)


def test_a_missing_announcement_does_not_shift_the_runs():
    text = golden("v3_xnnpack").replace("Running benchmark", "Rxnning benchmark", 1)
    assert parse_output(text).timed == PERCENTILES


def test_no_warm_up_runs_are_not_mistaken_for_timed_ones():
    text = golden("v3_xnnpack")
    start = text.index("count=350")
    output = parse_output(text[:start] + "count=0\n" + text[text.index("\n", start) + 1 :])
    assert output.timed == PERCENTILES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "sh: ./benchmark_model: not found",
        'CANNOT LINK EXECUTABLE "./benchmark_model": library "libfoo.so" not found',
        "\x1b[31mhello",
        "Killed",
    ],
)
def test_what_has_nothing_of_the_tool_is_refused(text):
    with pytest.raises(OutputUnreadable, match="this is no output of benchmark_model") as caught:
        parse_output(text)
    assert str(caught.value).isprintable()


@st.composite
def statistics(draw: st.DrawFn) -> RunStatistics:
    """Any that a build can print: whole microseconds, percentiles together or not at all."""
    times = sorted(draw(st.lists(st.integers(0, 10**8), min_size=6, max_size=6)))
    least, p5, median, mean, p95, most = (us / 1000 for us in times)
    has_percentiles = draw(st.booleans())
    percentiles = {"p5_ms": p5, "median_ms": median, "p95_ms": p95} if has_percentiles else {}
    if draw(st.integers(0, 4)) == 0:
        percentiles = dict.fromkeys(percentiles, mean)
        ends = {"first_ms": mean, "min_ms": mean, "max_ms": mean, "std_ms": 0.0}
        return RunStatistics(count=1, mean_ms=mean, **ends, **percentiles)
    return RunStatistics(
        count=draw(st.integers(2, 10**6)),
        mean_ms=mean,
        first_ms=draw(st.sampled_from([least, most])),
        min_ms=least,
        max_ms=most,
        std_ms=draw(st.integers(0, 10**6)) / 1000,
        **percentiles,
    )


def same(found: RunStatistics | None, written: RunStatistics) -> bool:
    """Whether they are equal but for the six digits of the mean."""
    return found is not None and all(
        a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-9)
        for a, b in zip(vars(found).values(), vars(written).values(), strict=True)
    )


@given(statistics(), statistics(), st.sampled_from(["", "INFO: ", "I/tflite (7): "]))
def test_statistics_survive_writing_and_reading(warmup, timed, prefix):
    steps = (
        "Running benchmark for at least 1 iterations and at least 0.5 seconds",
        statistics_line(warmup),
        "",
        "Running benchmark for at least 9 iterations and at least 1 seconds",
        statistics_line(timed),
    )
    output = parse_output("".join(f"{prefix}{step}\n" for step in steps))
    assert output.warmup is not None
    assert same(output.warmup, warmup)
    assert same(output.timed, timed)
    assert output.is_truncated == (timed.count < 9)


@given(st.text(), st.integers(0, 5000))
def test_any_text_at_any_place_is_read_or_refused(text, place):
    whole_text = golden("v3_xnnpack")
    assert isinstance(
        parse_output(whole_text[:place] + text + whole_text[place:]), BenchmarkOutput
    )
