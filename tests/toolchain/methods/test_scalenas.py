from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from judge import Judge
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.errors import BudgetUnreachable
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.pareto import cost_of, front, peeled
from toolchain.methods.random_search import RandomSearchSettings, random_search
from toolchain.methods.result import SearchResult
from toolchain.methods.scalenas import (
    ScaleNasSettings,
    crossed,
    mutated,
    scalenas,
    select,
)
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ScaleNetSpace(input_shape=(3, 32, 32), modules=(1, 2), max_depth=4, stem_channels=8)
SMALL = ScaleNasSettings(evaluations=60, population=20, parents=8)


def worth_of(genotype: str) -> float:
    """Accuracy: fusions are worth more late, blocks more early."""
    worth = 0.3
    for place, module in enumerate(SPACE.parse(genotype)):
        worth += 0.010 * (place + 1) * np.sqrt(module.fusions)
        worth += 0.012 * (3 - place) * np.sqrt(sum(module.depths))
    return float(worth)


@pytest.fixture(scope="module")
def appraiser() -> Appraiser:
    budget = Budget(limit_ms=middle_ms(SPACE))
    return Appraiser(space=SPACE, model=model_of(SPACE), budget=budget)


def search(
    appraiser: Appraiser,
    settings: ScaleNasSettings = SMALL,
    seed: int = 0,
    accuracy: Callable[[str], float] = worth_of,
) -> tuple[SearchResult, list[list[str]]]:
    judge = Judge(appraiser, accuracy)
    return scalenas(appraiser, judge, settings, np.random.default_rng(seed)), judge.asked


def plain(result: SearchResult) -> dict[str, Any]:
    return {"best": result.best.to_json(), "all": [one.to_json() for one in result.evaluated]}


def with_accuracy(appraiser: Appraiser, count: int, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    drawn = dict.fromkeys(appraiser.sample_within(rng, 999).genotype for _ in range(count))
    return Judge(appraiser, worth_of)(list(drawn))


@pytest.mark.parametrize("changes", [{}, {"selection": "front"}], ids=str)
def test_all_that_is_evaluated_is_new_and_within_the_budget(
    appraiser: Appraiser, changes: dict[str, Any]
) -> None:
    result, asked = search(appraiser, replace(SMALL, **changes))
    genotypes = list(itertools.chain(*asked))
    assert len(genotypes) == len(set(genotypes)) == SMALL.evaluations
    assert [one.genotype for one in result.evaluated] == genotypes
    assert all(appraiser.admits(appraiser.appraise(one)) for one in genotypes)
    assert [len(one) for one in asked] == [20, *[8] * 5]
    assert result.best.accuracy == max(one.accuracy for one in result.evaluated)


def test_the_same_seed_gives_the_same_result(appraiser: Appraiser) -> None:
    first, again, other = (plain(search(appraiser, seed=seed)[0]) for seed in (3, 3, 4))
    assert first == again != other


def test_evolution_finds_better_networks_than_as_many_random_ones(appraiser: Appraiser) -> None:
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        settings = RandomSearchSettings(evaluations=SMALL.evaluations)
        at_random = random_search(appraiser, Judge(appraiser, worth_of), settings, rng)
        gains.append(search(appraiser, seed=seed)[0].best.accuracy - at_random.best.accuracy)
    assert min(gains) > 0


def test_the_first_population_has_networks_of_every_group(appraiser: Appraiser) -> None:
    _, asked = search(appraiser)
    modules = [SPACE.parse(genotype) for genotype in asked[0]]
    most = {max(depth for module in one for depth in module.depths) for one in modules}
    assert most >= {2, 3}
    densities = [
        sum(module.fusions for module in one)
        / sum(sum(module.depths) * (len(module.depths) - 1) for module in one)
        for one in modules
    ]
    assert min(densities) < 0.35
    assert max(densities) > 0.6


def test_an_impossible_budget_names_the_fastest_network(appraiser: Appraiser) -> None:
    impossible = replace(appraiser, budget=Budget(limit_ms=1e-6))
    with pytest.raises(BudgetUnreachable, match=r"the fastest of .* seen is"):
        search(impossible)


def test_without_a_table_networks_are_weighed_by_their_macs() -> None:
    result, _ = search(Appraiser(space=SPACE), replace(SMALL, selection="front"))
    assert len(result.evaluated) == SMALL.evaluations
    assert cost_of(result.best) == result.best.macs


def test_parents_by_window_are_the_most_accurate_that_use_the_budget(
    appraiser: Appraiser,
) -> None:
    candidates = with_accuracy(appraiser, 40)
    assert appraiser.budget is not None
    least = 0.8 * appraiser.budget.limit_ms
    inside = [one for one in candidates if cost_of(one) >= least]
    settings = replace(SMALL, window=0.8, parents=len(inside) + 2, population=40)
    chosen = select(candidates, settings, appraiser)
    by_accuracy = sorted(inside, key=lambda one: -one.accuracy)
    assert chosen[: len(inside)] == by_accuracy
    outside = [one for one in candidates if cost_of(one) < least]
    assert chosen[len(inside) :] == sorted(outside, key=cost_of)[:-3:-1]


def test_fronts_are_peeled_from_the_best(appraiser: Appraiser) -> None:
    candidates = with_accuracy(appraiser, 40)
    first = front(candidates)
    for one in candidates:
        better = [
            other
            for other in candidates
            if other is not one
            and cost_of(other) <= cost_of(one)
            and other.accuracy >= one.accuracy
        ]
        assert (one in first) == (not better)
    assert peeled(candidates, len(first)) == first
    assert len(peeled(candidates, 30)) == 30
    everything = peeled(candidates, 99)
    assert sorted(map(id, everything)) == sorted(map(id, candidates))


def test_a_crossed_module_comes_whole_from_the_pool() -> None:
    rng = np.random.default_rng(0)
    own = SPACE.parse(SPACE.smallest())
    pool = [SPACE.parse(SPACE.largest()), SPACE.parse(SPACE.regular(2))]
    taken = 0
    for _ in range(200):
        for place, module in enumerate(crossed(own, pool, 0.3, rng)):
            assert module == own[place] or module in (pool[0][place], pool[1][place])
            taken += module != own[place]
    assert taken / 600 == pytest.approx(0.3, abs=0.06)
    assert own == SPACE.parse(SPACE.smallest())


def test_mutation_changes_as_much_as_it_is_told_and_stays_in_the_space() -> None:
    rng = np.random.default_rng(0)
    module = SPACE.parse(SPACE.regular(3))[1]
    still = replace(SMALL, fusion_flip=0.0, depth_step=0.0)
    assert mutated(module, SPACE, still, rng) == module
    flips = [mutated(module, SPACE, replace(still, fusion_flip=0.1), rng) for _ in range(300)]
    switched = [
        sum(
            len(set(a) ^ set(b))
            for one, other in zip(flip.branches, module.branches, strict=True)
            for a, b in zip(one, other, strict=True)
        )
        for flip in flips
    ]
    assert np.mean(switched) == pytest.approx(0.1 * 18, abs=0.3)
    steps = [mutated(module, SPACE, replace(still, depth_step=1.0), rng) for _ in range(50)]
    assert {depth for one in steps for depth in one.depths} == {2, 4}
    deepest = SPACE.parse(SPACE.largest())[1]
    for _ in range(50):
        deeper = mutated(deepest, SPACE, replace(still, depth_step=1.0), rng)
        assert max(deeper.depths) <= SPACE.max_depth


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parents": 0}, "parents <= population"),
        ({"population": 70}, "60"),
        ({"selection": "best"}, "one of window, front, got 'best'"),
        ({"crossover": 1.2}, r"crossover lies in \[0, 1\], got 1.2"),
        ({"fusion_flip": -0.1}, "fusion_flip"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SMALL, **changes)


def test_it_searches_no_other_space() -> None:
    appraiser = Appraiser(space=ShrinkCnnSpace())
    with pytest.raises(ValueError, match="searches the ScaleNet space, not shrinkcnn"):
        search(appraiser)
