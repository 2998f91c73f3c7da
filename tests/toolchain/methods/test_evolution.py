from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.errors import BudgetUnreachable
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.methods.evolution import EvolutionSettings, evolution
from toolchain.methods.limits import Limits
from toolchain.methods.random_search import TRIES, RandomSearchSettings, random_search
from toolchain.methods.result import SearchResult
from toolchain.spaces.dag import parse_dags
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space
from toolchain.spaces.swiftnet import SwiftNetSpace

MakeJudge = Callable[..., Any]
SETTINGS = EvolutionSettings(evaluations=40, population=10, sample=3, children_per_round=4)
SWIFTNET = SwiftNetSpace(nodes=(8, 10, 12))
parse_cell = ShrinkCnnSpace().parse


def evolve(
    make_judge: MakeJudge,
    settings: EvolutionSettings = SETTINGS,
    *,
    seed: int = 0,
    **options: Any,
) -> tuple[SearchResult, list[list[str]]]:
    appraiser, judge = make_judge(**options)
    result = evolution(appraiser, judge, settings, np.random.default_rng(seed))
    return result, judge.asked


def is_a_step(space: ShrinkCnnSpace, parent: str, child: str) -> bool:
    """Whether some mutation leads from one to the other; those that miss it 400 times do not."""
    rng = np.random.default_rng(0)
    return any(space.mutate(parent, rng) == child for _ in range(400))


def test_the_asked_number_is_trained_each_network_once_and_all_within_the_budget(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    for evaluations, children in ((10, 4), (11, 4), (37, 4), (40, 1), (60, 7)):
        settings = replace(SETTINGS, evaluations=evaluations, children_per_round=children)
        result, asked = evolve(make_judge, settings, limit_ms=limit_ms)
        genotypes = [genotype for one in asked for genotype in one]
        assert len(genotypes) == len(set(genotypes)) == evaluations
        assert [one.genotype for one in result.evaluated] == genotypes
        assert all(one.latency.p95_ms <= limit_ms for one in result.evaluated)
        assert result.best.accuracy == max(one.accuracy for one in result.evaluated)
        sizes = [len(one) for one in asked]
        assert sizes[0] == settings.population
        assert set(sizes[1:-1]) <= {children}


def test_limits_are_kept_by_every_network_trained() -> None:
    space = SWIFTNET
    rng = np.random.default_rng(1)
    usual = sorted(Appraiser(space=space).appraise(space.sample(rng)).macs for _ in range(51))
    appraiser = Appraiser(space=space, limits=Limits(max_macs=usual[25]))
    result = evolution(appraiser, judge_by(appraiser, len), SETTINGS, np.random.default_rng(0))
    assert len(result.evaluated) == 40
    assert max(one.macs for one in result.evaluated) <= usual[25]


def test_the_first_population_is_that_of_random_search(make_judge: MakeJudge) -> None:
    _, asked = evolve(make_judge, seed=3)
    appraiser, judge = make_judge()
    settings = RandomSearchSettings(evaluations=10)
    random_search(appraiser, judge, settings, np.random.default_rng(3))
    assert judge.asked == asked[:1]


def test_a_child_is_one_mutation_from_a_living_network_of_which_the_oldest_die(
    make_judge: MakeJudge,
) -> None:
    appraiser, _ = make_judge()
    settings = replace(SETTINGS, children_per_round=2, population=6, evaluations=30)
    _, asked = evolve(make_judge, settings)
    order = [genotype for one in asked for genotype in one]
    steps = 0
    for first in range(6, 30, 2):
        living = order[first - 6 : first]
        steps += sum(
            any(is_a_step(appraiser.space, parent, child) for parent in living)
            for child in order[first : first + 2]
        )
    # Where a mutant is known already, the child is further away; in so large a space that is rare.
    assert steps >= 22


def test_a_network_that_is_best_dies_of_age_nonetheless(make_judge: MakeJudge) -> None:
    """When only the first network is any good, all children come from it until it is gone."""
    _, asked = evolve(make_judge, replace(SETTINGS, evaluations=10))
    champion = asked[0][0]
    accuracy = {champion: 0.9}
    appraiser, _ = make_judge()
    settings = replace(SETTINGS, sample=200, children_per_round=1)
    result, asked = evolve(
        make_judge, settings, accuracy=lambda genotype: accuracy.get(genotype, 0.5)
    )
    order = [genotype for one in asked for genotype in one]
    assert order[0] == champion == result.best.genotype
    # A sample of 200 out of 10 holds all of them. The first child takes the champion's place.
    assert is_a_step(appraiser.space, champion, order[10])
    living = [candidate for candidate in result.evaluated if candidate.genotype in order[1:11]]
    assert is_a_step(appraiser.space, appraiser.best(living).genotype, order[11])


def test_the_larger_the_sample_the_fitter_the_parents(make_judge: MakeJudge) -> None:
    def edges(genotype: str) -> float:
        return len(parse_cell(genotype).edges) / 28

    def mean_accuracy(sample: int) -> float:
        settings = replace(SETTINGS, sample=sample)
        results = [evolve(make_judge, settings, seed=seed, accuracy=edges)[0] for seed in range(5)]
        return float(np.mean([one.accuracy for result in results for one in result.evaluated]))

    assert mean_accuracy(1) + 0.05 < mean_accuracy(10)


def test_the_same_seed_gives_the_same_result(make_judge: MakeJudge, limit_ms: float) -> None:
    results = [evolve(make_judge, limit_ms=limit_ms, seed=seed) for seed in (3, 3, 4)]
    assert results[0] == results[1]
    assert results[0][1] != results[2][1]


def test_a_search_that_was_stopped_goes_on_to_the_same_result(make_judge: MakeJudge) -> None:
    whole, _ = evolve(make_judge)
    appraiser, judge = make_judge()
    journal: dict[str, Candidate] = {}

    class Stopped(Exception):
        """The process ends."""

    def evaluate(genotypes: Sequence[str], *, at_most: int) -> list[Candidate]:
        for genotype in genotypes:
            if genotype not in journal:
                if len(journal) == at_most:
                    raise Stopped
                journal.update((one.genotype, one) for one in judge([genotype]))
        return [journal[genotype] for genotype in genotypes]

    for at_most in (7, 23):
        with pytest.raises(Stopped):
            evolution(
                appraiser, lambda one, most=at_most: evaluate(one, at_most=most), SETTINGS,
                np.random.default_rng(0),
            )  # fmt: skip
    resumed = evolution(
        appraiser, lambda one: evaluate(one, at_most=40), SETTINGS, np.random.default_rng(0)
    )
    assert resumed == whole
    assert len(judge.asked) == 40


def test_an_impossible_budget_is_given_up_before_training(make_judge: MakeJudge) -> None:
    appraiser, judge = make_judge(limit_ms=1e-6)
    with pytest.raises(BudgetUnreachable, match=f"the fastest of {TRIES} seen is"):
        evolution(appraiser, judge, SETTINGS, np.random.default_rng(0))
    assert judge.asked == []


def test_a_small_space_is_searched_to_its_end() -> None:
    space = ShrinkCnnSpace(nodes=3)
    budget = Budget(limit_ms=middle_ms(space))
    appraiser = Appraiser(space=space, model=model_of(space), budget=budget)
    result = evolution(appraiser, judge_by(appraiser, len), SETTINGS, np.random.default_rng(0))
    live = {parse_cell(one.genotype).live for one in result.evaluated}
    admitted = {
        parse_cell(candidate.genotype).live
        for candidate in map(appraiser.appraise, ALL_OF_THREE_NODES)
        if appraiser.admits(candidate)
    }
    assert live == admitted
    assert 1 < len(admitted) < 16


ALL_OF_THREE_NODES = [
    f"{first}{one}.{second}{other}"
    for first in "sc"
    for second in "sc"
    for one, other in (("0", ""), ("0", "0"), ("0", "1"), ("0", "01"), ("", "0"))
]


def test_a_space_of_one_network_more_than_the_population_ends_too() -> None:
    space = SwiftNetSpace(nodes=(2,), widths=(8,), outputs=(8,))
    appraiser = Appraiser(space=space)
    settings = replace(SETTINGS, population=1)
    result = evolution(appraiser, judge_by(appraiser, len), settings, np.random.default_rng(0))
    assert {one.genotype for one in result.evaluated} == {"1c0", "1s0"}


def judge_by(
    appraiser: Appraiser, accuracy: Callable[[str], float]
) -> Callable[[Sequence[str]], list[Candidate]]:
    return lambda genotypes: [
        evaluated(appraiser.appraise(one), accuracy(one), {}) for one in genotypes
    ]


def cell_features(genotype: str) -> set[Any]:
    cell = parse_cell(genotype)
    return {*cell.edges, *((number, operator) for number, operator, _ in cell.live)}


def stage_features(genotype: str) -> set[Any]:
    stages = list(enumerate(parse_dags(genotype)))
    return {
        *((stage, edge) for stage, dag in stages for edge in dag.edges),
        *((stage, node.number, node.operator) for stage, dag in stages for node in dag.nodes),
    }


@pytest.mark.parametrize(
    ("space", "features"),
    [(ShrinkCnnSpace(), cell_features), (SWIFTNET, stage_features)],
    ids=["shrinkcnn", "swiftnet"],
)
def test_where_alike_networks_do_alike_it_beats_random_search(
    space: Space, features: Callable[[str], set[Any]]
) -> None:
    """Accuracy is how much of its edges and operators a network shares with a hidden one.

    That is a large one: random search finds small ones as easily.
    """
    budget = Budget(limit_ms=middle_ms(space))
    appraiser = Appraiser(space=space, model=model_of(space), budget=budget)
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        draws = [features(appraiser.sample_within(rng, 99).genotype) for _ in range(20)]
        hidden = max(draws, key=len)

        def likeness(genotype: str, hidden: set[Any] = hidden) -> float:
            found = features(genotype)
            return len(found & hidden) / len(found | hidden)

        judge = judge_by(appraiser, likeness)
        evolved = evolution(
            appraiser, judge, EvolutionSettings(evaluations=150), np.random.default_rng(seed)
        )
        drawn = random_search(
            appraiser, judge, RandomSearchSettings(evaluations=150), np.random.default_rng(seed)
        )
        assert len(evolved.evaluated) == len(drawn.evaluated) == 150
        gains.append(evolved.best.accuracy - drawn.best.accuracy)
    assert np.mean(gains) > 0.1
    assert sum(gain > 0 for gain in gains) >= 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"population": 0}, "1 <= population <= evaluations, got 0 and 40"),
        ({"population": 41}, "1 <= population <= evaluations, got 41 and 40"),
        ({"sample": 0}, "at least 1, got 0 and 4"),
        ({"children_per_round": 0}, "at least 1, got 3 and 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(SETTINGS, **changes)
