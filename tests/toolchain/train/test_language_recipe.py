from __future__ import annotations

import pytest

from toolchain.train.language_recipe import LanguageSettings, should_average
from toolchain.train.locked_dropout import LockedDropout


def first_switch(losses: list[float], patience: int) -> int | None:
    """The epoch after which averaging begins, counted from 1."""
    for epoch in range(1, len(losses) + 1):
        if should_average(losses[:epoch], patience):
            return epoch
    return None


def test_averaging_waits_while_the_loss_falls() -> None:
    assert first_switch([5.0 - 0.1 * epoch for epoch in range(30)], 5) is None


def test_averaging_begins_when_the_loss_is_worse_than_the_best_of_long_ago() -> None:
    # The best, 3.0, is of epoch 2; more than 5 epochs before the last it is from epoch 8 on.
    losses = [4.0, 3.0, 3.1, 3.2, 3.1, 3.3, 3.1, 3.2, 3.1]
    assert first_switch(losses, 5) == 8
    # Worse than 4.0 of epoch 1 counts from epoch 7 on.
    assert first_switch([4.0, 4.5, 4.5, 4.5, 4.5, 4.5, 4.5], 5) == 7


def test_recent_bests_do_not_count() -> None:
    losses = [4.0, 3.9, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5]
    assert first_switch(losses, 5) is None  # 3.0 is 5 epochs before the last, not more.
    assert first_switch([*losses, 3.5], 5) == 9
    assert first_switch([*losses, 2.9], 5) is None


def test_an_equal_loss_is_not_worse() -> None:
    assert first_switch([3.0] * 20, 5) is None


def test_shorter_patience_switches_sooner_and_none_never() -> None:
    losses = [4.0, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7]
    assert [first_switch(losses, patience) for patience in (1, 2, 5, 0)] == [3, 4, 7, None]


def test_the_learning_rate_is_divided_after_the_epochs_that_are_named() -> None:
    rates = [LanguageSettings.proxy().learning_rate_in(epoch) for epoch in range(1, 11)]
    assert rates == pytest.approx([20.0] * 7 + [2.0] * 2 + [0.2])
    assert LanguageSettings.paper().learning_rate_in(3000) == 20.0


def test_the_paper_s_settings_are_those_of_the_released_code() -> None:
    paper, proxy = LanguageSettings.paper(), LanguageSettings.proxy()
    assert (paper.batch_size, paper.segments.mean, paper.clip_norm) == (64, 35, 0.25)
    assert (paper.segments.deviation, paper.segments.least, paper.segments.most) == (5, 5, 55)
    assert (paper.weight_decay, paper.slowness, paper.patience_epochs) == (8e-7, 1e-3, 5)
    assert (proxy.batch_size, proxy.evaluation_batch_size, proxy.epochs) == (128, 256, 10)
    assert proxy.dropout == LockedDropout()
    assert proxy.segments.deviation == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("evaluation_batch_size", 0),
        ("learning_rate", 0.0),
        ("clip_norm", 0.0),
        ("weight_decay", -1.0),
        ("activation_decay", -1.0),
        ("slowness", -1.0),
        ("patience_epochs", -1),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} {value} is out of range"):
        LanguageSettings(**{"epochs": 1, name: value})
