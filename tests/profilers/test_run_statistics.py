"""One line of statistics, and the numbers of it."""

from __future__ import annotations

import pytest

from profilers.run_statistics import RunStatistics, figure, parse_statistics, whole


def test_a_single_run_has_no_average_of_its_own():
    assert parse_statistics("count=1 curr=1250") == RunStatistics(
        count=1, mean_ms=1.25, first_ms=1.25, min_ms=1.25, max_ms=1.25, std_ms=0.0
    )


def test_runs_of_equal_length_have_none_either():
    found = parse_statistics("count=7 curr=1250(all same) p5=1250 median=1250 p95=1250")
    assert found is not None
    assert (found.count, found.mean_ms, found.min_ms, found.median_ms) == (7, 1.25, 1.25, 1.25)


@pytest.mark.parametrize(
    "line",
    [
        "count=0",
        "count=0 p5=0 median=0 p95=0",
        "count=nan curr=5",
        "count=-3 first=1 curr=1 min=1 max=1 avg=1 std=0",
        "count=99999999999999999999 curr=5(all same)",
        "count=2 first=1 curr=3 min=1 max=3 avg=nan std=1",
        "count=2 first=1 curr=3 min=1 max=3 avg=inf std=1",
        "count=2 first=1 curr=3 min=1 max=3 avg=1e400 std=1",
        "count=2 first=1 curr=3 min=1 max=3 avg=-2 std=1",
        "count=2 first=1 curr=3",
        "count=1",
        "count=1 curr=",
        # Cut off or garbled: outside of the runs that it sums up.
        "count=50 first=1040 curr=1046 min=1030 max=1060 avg=10",
        "count=50 first=1040 curr=1046 min=1030 max=1060 avg=1045 std=5 p5=1035 median=10",
        "",
    ],
)
def test_figures_that_make_no_sense_are_none(line):
    assert parse_statistics(line) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.24027e+06", 1240270.0),
        ("0", 0.0),
        (" 12.5 ", 12.5),
        ("-0.1", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("1e16", None),
        ("1_000", None),
        ("٣", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_a_figure_is_a_finite_number_of_sensible_size(text, value):
    assert figure(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), (" 7 ", 7), ("-7", None), ("²", None), ("9" * 5000, None)]
)
def test_a_whole_number_has_ascii_digits_only(text, value):
    assert whole(text) == value
