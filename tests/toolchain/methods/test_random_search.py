from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.errors import BudgetUnreachable
from toolchain.methods.candidate import Appraiser, evaluated
from toolchain.methods.random_search import TRIES, RandomSearchSettings, random_search
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

MakeJudge = Callable[..., Any]


def test_as_many_networks_are_trained_as_asked_for_each_once_and_all_within_the_budget(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    for evaluations in (1, 30, 100):
        appraiser, judge = make_judge(limit_ms=limit_ms)
        settings = RandomSearchSettings(evaluations=evaluations)
        result = random_search(appraiser, judge, settings, np.random.default_rng(0))
        (asked,) = judge.asked
        assert len(asked) == len(set(asked)) == evaluations
        assert [one.genotype for one in result.evaluated] == asked
        assert all(one.latency.p95_ms <= limit_ms for one in result.evaluated)
        assert result.best.accuracy == max(one.accuracy for one in result.evaluated)
        assert result.trajectory == ()


def test_without_a_budget_everything_is_admitted(make_judge: MakeJudge, limit_ms: float) -> None:
    appraiser, judge = make_judge()
    result = random_search(appraiser, judge, RandomSearchSettings(), np.random.default_rng(0))
    slow = [one for one in result.evaluated if one.latency.p95_ms > limit_ms]
    assert len(result.evaluated) == 100
    assert 25 < len(slow) < 75


def test_the_same_seed_gives_the_same_result(make_judge: MakeJudge, limit_ms: float) -> None:
    results = [
        random_search(
            *make_judge(limit_ms=limit_ms),
            RandomSearchSettings(evaluations=20),
            np.random.default_rng(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert results[0] == results[1] != results[2]


def test_an_impossible_budget_is_given_up_after_a_bounded_number_of_draws(
    make_judge: MakeJudge,
) -> None:
    appraiser, judge = make_judge(limit_ms=1e-6)
    with pytest.raises(BudgetUnreachable, match=f"the fastest of {TRIES} seen is"):
        random_search(appraiser, judge, RandomSearchSettings(), np.random.default_rng(0))
    assert judge.asked == []


def test_a_small_space_is_searched_as_far_as_it_goes() -> None:
    space = ShrinkCnnSpace(nodes=3)
    budget = Budget(limit_ms=middle_ms(space))
    appraiser = Appraiser(space=space, model=model_of(space), budget=budget)
    result = random_search(
        appraiser,
        lambda genotypes: [evaluated(appraiser.appraise(one), 0.5, {}) for one in genotypes],
        RandomSearchSettings(evaluations=50),
        np.random.default_rng(0),
    )
    genotypes = {one.genotype for one in result.evaluated}
    assert 1 < len(genotypes) == len(result.evaluated) < 50


def test_at_least_one_evaluation_is_needed() -> None:
    with pytest.raises(ValueError, match="at least 1 evaluation, got 0"):
        RandomSearchSettings(evaluations=0)
