from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import DataUnusable
from toolchain.tasks.text_segments import (
    SegmentLengths,
    columns,
    regular_segments,
    segments,
)


def test_a_text_runs_down_its_columns() -> None:
    text_TN = columns(torch.arange(11), 3)
    assert text_TN.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert text_TN.is_contiguous()


def test_one_column_is_the_whole_text() -> None:
    assert columns(torch.arange(5), 1).flatten().tolist() == [0, 1, 2, 3, 4]


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataUnusable, match="a text of 8 words is too short for 3 columns"):
        columns(torch.arange(8), 3)
    with pytest.raises(ValueError, match="1 column or more, got 0"):
        columns(torch.arange(8), 0)


@given(st.integers(3, 200), st.integers(1, 60))
def test_regular_segments_have_every_target_once(rows: int, length: int) -> None:
    text_TN = torch.arange(2 * rows).view(rows, 2)
    found = list(regular_segments(text_TN, length))
    assert torch.equal(torch.cat([one.tokens for one in found]), text_TN[:-1])
    assert torch.equal(torch.cat([one.targets for one in found]), text_TN[1:])
    assert all(len(one.tokens) == length for one in found[:-1])


@given(st.integers(3, 400), st.integers(0, 2**32))
def test_drawn_segments_follow_one_another_and_leave_out_one_target_at_most(
    rows: int, seed: int
) -> None:
    text_TN = torch.arange(rows)[:, None]
    found = list(segments(text_TN, SegmentLengths(), np.random.default_rng(seed)))
    tokens = torch.cat([one.tokens for one in found])
    assert torch.equal(tokens, text_TN[: len(tokens)])
    assert len(tokens) in (rows - 1, rows - 2)
    for tokens, targets in found:
        assert torch.equal(targets, tokens + 1)
        assert len(tokens) >= 2
    assert all(5 <= len(one.tokens) <= 55 for one in found[:-1])


def test_a_last_segment_with_a_single_target_is_left_out_and_one_with_two_is_not() -> None:
    regular = SegmentLengths(deviation=0.0, halved_share=0.0)

    def lengths(rows: int) -> list[int]:
        text_TN = torch.arange(rows)[:, None]
        return [len(one.tokens) for one in segments(text_TN, regular, np.random.default_rng(0))]

    assert lengths(35 + 1) == [35]
    assert lengths(35 + 2) == [35]
    assert lengths(35 + 3) == [35, 2]


def test_lengths_are_the_paper_s() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([SegmentLengths().draw(rng) for _ in range(20_000)])
    halved = lengths < 24
    # Below 24 lie 90.3% of the normal distribution around 17.5 and 1.4% of that around 35.
    assert halved.mean() == pytest.approx(0.05 * 0.903 + 0.95 * 0.0139, abs=0.005)
    assert lengths[~halved].mean() == pytest.approx(34.6, abs=0.2)  # rounded down
    assert lengths[~halved].std() == pytest.approx(5, abs=0.3)
    assert lengths.min() >= 5
    assert lengths.max() <= 55


def test_without_deviation_a_length_is_the_mean_or_half_of_it() -> None:
    rng = np.random.default_rng(0)
    drawn = [SegmentLengths(deviation=0.0).draw(rng) for _ in range(2000)]
    assert set(drawn) == {35, 17}
    assert drawn.count(17) == pytest.approx(100, abs=40)
    assert {SegmentLengths(deviation=0.0, halved_share=0.0).draw(rng) for _ in range(50)} == {35}


def test_lengths_follow_the_seed() -> None:
    text_TN = torch.arange(3000)[:, None]

    def drawn(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [len(one.tokens) for one in segments(text_TN, SegmentLengths(), rng)]

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize(
    "settings",
    [
        {"least": 1},
        {"mean": 4},
        {"most": 34},
        {"deviation": -1.0},
        {"halved_share": 1.5},
        {"halved_share": -0.1},
    ],
)
def test_impossible_lengths_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="segments need"):
        SegmentLengths(**settings)
