from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from toolchain.errors import BudgetUnreachable, NameUnknown
from toolchain.methods.autoshrink import AutoShrinkSettings
from toolchain.methods.method import METHODS, make_settings
from toolchain.methods.random_search import RandomSearchSettings

MakeJudge = Callable[..., Any]
OWN_SPACE = ("gram", "scalenas")  # which search one space each: test_gram.py, test_scalenas.py
ANY_SPACE = [name for name in METHODS if name not in OWN_SPACE]


@pytest.mark.parametrize("name", ANY_SPACE)
def test_every_method_returns_a_network_that_it_trained_within_the_budget(
    make_judge: MakeJudge, limit_ms: float, name: str
) -> None:
    method = METHODS[name]
    results = []
    for _ in range(2):
        appraiser, judge = make_judge(limit_ms=limit_ms)
        rng = np.random.default_rng(0)
        results.append(method.search(appraiser, judge, method.settings(), rng))
        assert appraiser.admits(results[-1].best)
        asked = dict.fromkeys(genotype for genotypes in judge.asked for genotype in genotypes)
        assert [one.genotype for one in results[-1].evaluated] == list(asked)
    assert results[0].best in results[0].evaluated
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ANY_SPACE)
def test_every_method_ends_when_the_budget_is_impossible(make_judge: MakeJudge, name: str) -> None:
    method = METHODS[name]
    with pytest.raises(BudgetUnreachable, match="the fastest of"):
        method.search(*make_judge(limit_ms=1e-6), method.settings(), np.random.default_rng(0))


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_has_a_default(name: str) -> None:
    settings = make_settings(name, {})
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    assert make_settings(name, values) == settings


def test_settings_are_made_by_name() -> None:
    assert make_settings("random", {"evaluations": 7}) == RandomSearchSettings(evaluations=7)
    assert make_settings("autoshrink", {"mode": "paper"}) == AutoShrinkSettings(mode="paper")
    with pytest.raises(
        NameUnknown, match="unknown method 'darts'; known are: autoshrink, evolution, gram"
    ):
        make_settings("darts", {})
    with pytest.raises(NameUnknown, match=r"'evaluations'.*candidates_per_step"):
        make_settings("autoshrink", {"evaluations": 3})
    with pytest.raises(ValueError, match="at least 1 evaluation"):
        make_settings("random", {"evaluations": 0})
