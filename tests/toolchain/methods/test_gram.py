from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from judge import Judge
from swiftnets import NOISE, SPACE, appraiser_of, drawn_from, noisy_worth, search, worth_of

from latency_tables.budget import Budget, Latency
from toolchain.errors import BudgetUnreachable
from toolchain.executors import ProcessExecutor
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.methods.gram import LOOK_BACK, WARM_UP_TRIES, gram
from toolchain.methods.gram_settings import GramSettings
from toolchain.methods.limits import Limits
from toolchain.methods.random_search import RandomSearchSettings, random_search
from toolchain.methods.result import SearchResult
from toolchain.methods.trend import Trend
from toolchain.spaces.dag import join, parse_dags
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

WIDE = replace(
    SPACE, nodes=(8, 10, 12), widths=(8, 16, 32), outputs=(8, 24, 32), input_shape=(3, 32, 32)
)
SMALL = GramSettings(evaluations=40, warm_up=10)


def plain(result: SearchResult) -> dict[str, Any]:
    """Everything that a search found."""
    assert result.meta_graph is not None
    return {
        "best": result.best.to_json(),
        "evaluated": [one.to_json() for one in result.evaluated],
        "trajectory": [step.to_json() for step in result.trajectory],
        "meta_graph": result.meta_graph.to_json(),
    }


@pytest.mark.parametrize("evaluations", [10, 11, 40, 63])
def test_as_many_networks_are_trained_as_asked_for_each_once(evaluations: int) -> None:
    result, asked = search(replace(SMALL, evaluations=evaluations))
    genotypes = [genotype for round_ in asked for genotype in round_]
    assert len(genotypes) == len(set(genotypes)) == evaluations
    assert [one.genotype for one in result.evaluated] == genotypes
    assert len(asked[0]) == SMALL.warm_up
    assert max(map(len, asked[1:]), default=0) <= SMALL.chains


@pytest.mark.parametrize("share", [0.9, 1.0, 1.3])
def test_what_the_budget_excludes_is_never_evaluated(share: float) -> None:
    appraiser = appraiser_of(share=share)
    assert appraiser.budget is not None
    result, asked = search(SMALL, appraiser)
    for genotype in itertools.chain(*asked):
        latency = appraiser.appraise(genotype).latency
        assert latency is not None
        assert latency.p95_ms <= appraiser.budget.limit_ms * (1 + 1e-12)
    assert appraiser.admits(result.best)


def test_what_turns_out_to_exceed_the_budget_is_not_the_answer() -> None:
    """A table that learns while it is searched with may put a network it admitted over."""
    appraiser = appraiser_of()
    assert appraiser.budget is not None
    over_ms = 2 * appraiser.budget.limit_ms
    over = Latency(p50_ms=over_ms, p95_ms=over_ms)

    def evaluate(genotypes: Sequence[str]) -> list[Candidate]:
        candidates = []
        for genotype in genotypes:
            candidate, is_over = appraiser.appraise(genotype), crc32(genotype.encode()) % 2 == 0
            accuracy = worth_of(genotype) + (1 if is_over else 0)
            candidates.append(
                evaluated(replace(candidate, latency=over) if is_over else candidate, accuracy, {})
            )
        return candidates

    result = gram(appraiser, evaluate, SMALL, np.random.default_rng(0))
    assert any(one.latency == over for one in result.evaluated)
    assert appraiser.admits(result.best)
    with pytest.raises(BudgetUnreachable):
        gram(
            appraiser,
            lambda all_: [evaluated(replace(appraiser.appraise(one), latency=over), 0.5, {})
                          for one in all_],
            SMALL,
            np.random.default_rng(0),
        )  # fmt: skip


def test_what_leaves_the_budget_unused_is_never_evaluated() -> None:
    appraiser = appraiser_of()
    assert appraiser.budget is not None
    limit_ms = appraiser.budget.limit_ms
    filled = replace(appraiser, budget=Budget(limit_ms=limit_ms, fill=0.8))
    _, asked = search(SMALL, filled)
    for genotype in itertools.chain(*asked):
        latency = appraiser.appraise(genotype).latency
        assert latency is not None
        assert 0.8 * limit_ms * (1 - 1e-12) <= latency.p95_ms <= limit_ms * (1 + 1e-12)


@pytest.mark.parametrize(
    ("name", "cost"),
    [("max_macs", "macs"), ("max_params", "params"), ("max_memory_bytes", "memory_bytes")],
)
def test_each_limit_is_kept_by_everything_evaluated(name: str, cost: str) -> None:
    rng = np.random.default_rng(0)
    free = appraiser_of(share=None)
    costs = sorted(getattr(free.appraise(SPACE.sample(rng)), cost) for _ in range(200))
    limit = costs[120]
    assert limit < costs[-1]
    limited, asked = search(SMALL, appraiser_of(share=None, limits=Limits(**{name: limit})))
    assert all(getattr(free.appraise(one), cost) <= limit for one in itertools.chain(*asked))
    assert len(limited.evaluated) == SMALL.evaluations


def test_without_smoothing_the_answer_is_the_most_accurate_network_trained() -> None:
    for seed in range(3):
        settings = replace(SMALL, smoothing=0.0)
        result, _ = search(settings, seed=seed, accuracy=noisy_worth(seed))
        assert result.best.accuracy == max(one.accuracy for one in result.evaluated)


def test_the_answer_leans_on_the_trend_over_all_networks_trained() -> None:
    result, _ = search(SMALL, accuracy=noisy_worth(0))
    accuracies = {one.genotype: one.accuracy for one in result.evaluated}
    trend = Trend.fit(list(accuracies), list(accuracies.values()))
    smoothed = {one: accuracy + trend.accuracy(one) for one, accuracy in accuracies.items()}
    assert result.best.genotype == max(smoothed, key=smoothed.__getitem__)


def test_smoothing_and_foresight_find_better_networks_in_noise() -> None:
    """Three times the noise of the other tests; the same networks, judged without it."""
    worths: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        for plainly in worths:
            settings = replace(SMALL, **({"smoothing": 0.0, "foresight": 1} if plainly else {}))
            result, _ = search(settings, seed=seed, accuracy=noisy_worth(seed, 3 * NOISE))
            worths[plainly].append(worth_of(result.best.genotype))
    assert np.mean(worths[False]) > np.mean(worths[True]) + NOISE


@pytest.mark.parametrize(
    "changes",
    [{}, {"sampler": "random"}, {"credit": "score"}, {"propagation": 0.0}, {"chains": 1}],
    ids=str,
)
def test_the_same_seed_gives_the_same_result(changes: dict[str, Any]) -> None:
    settings = replace(SMALL, **changes)
    first, again, other = (search(settings, seed=seed)[0] for seed in (3, 3, 4))
    assert plain(first) == plain(again) != plain(other)


def test_each_ablation_changes_the_search() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"sampler": "random"}, {"credit": "score"}, {"propagation": 0.0}, {"chains": 1},
    ]  # fmt: skip
    graphs = [
        json.dumps(plain(search(replace(SMALL, **one))[0])["meta_graph"]["weights"])
        for one in changes
    ]
    assert len(set(graphs)) == len(changes)


def test_a_search_that_was_stopped_asks_again_for_what_it_asked_before() -> None:
    """What was known answers at once; the rest, and so the result, is as without the stop."""
    whole, asked = search(SMALL)
    for stop in (0, 9, 10, 25, 39):
        known = list(itertools.chain(*asked))[:stop]
        appraiser = appraiser_of()
        judge = Judge(appraiser, worth_of)
        resumed = gram(appraiser, judge, SMALL, np.random.default_rng(0))
        assert plain(resumed) == plain(whole)
        asked_again = list(itertools.chain(*judge.asked))
        assert asked_again[:stop] == known
        assert asked_again[stop:] == list(itertools.chain(*asked))[stop:]


def test_chains_are_independent_within_a_round() -> None:
    """A round's networks are all chosen before any of them is evaluated: they come at once."""
    _, asked = search(replace(SMALL, evaluations=60, chains=6))
    assert np.mean([len(genotypes) for genotypes in asked[1:]]) > 4


def worth_in_a_worker(genotype: str) -> float:
    return worth_of(genotype) + float(drawn_from(genotype).normal(0, 0.004))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_result_does_not_depend_on_how_many_workers_train(workers: int) -> None:
    settings = replace(SMALL, evaluations=24)
    expected, _ = search(settings, accuracy=worth_in_a_worker)
    appraiser = appraiser_of()
    with ProcessExecutor(workers) as executor:

        def evaluate(genotypes: Any) -> list[Candidate]:
            worth = dict(executor.map(worth_in_a_worker, list(genotypes)))
            return [
                evaluated(appraiser.appraise(genotype), worth[place], {"cpu_s": 1.0})
                for place, genotype in enumerate(genotypes)
            ]

        assert plain(gram(appraiser, evaluate, settings, np.random.default_rng(0))) == plain(
            expected
        )


def test_the_score_takes_off_what_latency_or_macs_cost() -> None:
    appraiser = appraiser_of(share=1.0)
    assert appraiser.budget is not None
    result, _ = search(replace(SMALL, cost_weight=0.2, smoothing=0.0), appraiser)
    for step in result.trajectory:
        ms = step.chosen.p50_ms
        expected = step.chosen.accuracy - 0.2 * math.log10(ms / appraiser.budget.limit_ms)
        assert step.score == pytest.approx(expected)
    result, _ = search(replace(SMALL, cost_weight=0.1, smoothing=0.0), appraiser_of(share=None))
    for step in result.trajectory:
        expected = step.chosen.accuracy - 0.1 * math.log10(step.chosen.macs / 1e6)
        assert step.score == pytest.approx(expected)


def test_a_step_of_the_walk_is_the_best_chain_after_a_round() -> None:
    result, asked = search(SMALL)
    trained = list(itertools.accumulate(map(len, asked)))
    assert [step.trained for step in result.trajectory] == trained[1:]
    for step in result.trajectory:
        assert step.chosen in result.evaluated[: step.trained]
        assert step.edges == sum(len(dag.edges) for dag in parse_dags(step.chosen.genotype))
        assert step.within_budget
        assert 1 <= step.candidates <= SMALL.chains
    chosen = {step.chosen.genotype for step in result.trajectory}
    assert len(chosen) > 1


def test_at_a_low_temperature_the_best_chain_only_climbs() -> None:
    cold = replace(SMALL, temperature_first=1e-9, temperature_last=1e-9)
    scores = [step.score for step in search(cold)[0].trajectory]
    assert scores == sorted(scores)
    hot = replace(SMALL, temperature_first=10.0, temperature_last=10.0)
    scores = [step.score for step in search(hot)[0].trajectory]
    assert scores != sorted(scores)


def test_the_temperature_falls_from_first_to_last() -> None:
    settings = GramSettings(temperature_first=0.02, temperature_last=0.002)
    temperatures = [settings.temperature(progress) for progress in (0, 0.5, 1)]
    assert temperatures == pytest.approx([0.02, math.sqrt(0.02 * 0.002), 0.002])


def test_the_meta_graph_names_the_answer_at_its_own_nodes() -> None:
    result, _ = search(SMALL)
    graph = result.meta_graph
    assert graph is not None
    assert join([dag.renumbered() for dag in graph.answer]) == result.best.genotype
    for dag, operators in zip(graph.answer, graph.operators, strict=True):
        assert all(operators[node.number - 1] == node.operator for node in dag.nodes)
    assert any(dag != dag.renumbered() for dag in graph.answer)


def test_edges_into_useful_operators_gain_weight() -> None:
    """Separable convolutions are all that counts here: whatever feeds them is learned."""

    def share_of_separable(genotype: str) -> float:
        nodes = [node for dag in parse_dags(genotype) for node in dag.nodes]
        return sum(node.operator == "s" for node in nodes) / len(nodes)

    means: dict[str, list[float]] = {"c": [], "s": []}
    for seed in range(4):
        settings = GramSettings(evaluations=120, warm_up=20, cost_weight=0.0)
        result, _ = search(settings, seed=seed, accuracy=share_of_separable)
        assert result.meta_graph is not None
        for operators, weights in zip(
            result.meta_graph.operators, result.meta_graph.weights, strict=True
        ):
            for number, operator in enumerate(operators, start=1):
                means[operator].append(float(weights[0, number]))
    assert np.mean(means["s"]) > np.mean(means["c"]) + 0.2


def test_gram_beats_random_search_at_equal_evaluations() -> None:
    """On average over seeds, by what the answers are worth without the noise of evaluation."""
    evaluations, gain = 80, []
    settings = GramSettings(
        evaluations=evaluations, warm_up=20, temperature_first=0.002, temperature_last=0.0002
    )
    for seed in range(24):
        appraiser = appraiser_of(WIDE)
        found, _ = search(settings, appraiser, seed=seed, accuracy=noisy_worth(seed))
        drawn = random_search(
            appraiser,
            Judge(appraiser, noisy_worth(seed)),
            RandomSearchSettings(evaluations=evaluations),
            np.random.default_rng(seed),
        )
        gain.append(worth_of(found.best.genotype) - worth_of(drawn.best.genotype))
    error = np.std(gain, ddof=1) / math.sqrt(len(gain))
    assert np.mean(gain) > 2 * error


def test_a_meta_graph_that_stands_still_ends_the_search() -> None:
    settings = GramSettings(evaluations=5000, warm_up=4, chains=4, learning_rate=1e-6)
    result, asked = search(settings, appraiser_of(share=None))
    assert len(result.trajectory) == LOOK_BACK
    assert sum(map(len, asked)) < 5 + 4 * LOOK_BACK
    settings = replace(settings, evaluations=4 + 4 * (LOOK_BACK + 20), learning_rate=0.3)
    assert len(search(settings, appraiser_of(share=None))[0].trajectory) > LOOK_BACK


def test_a_small_space_is_searched_as_far_as_it_goes() -> None:
    space = replace(SPACE, nodes=(3, 2))
    settings = GramSettings(evaluations=200, warm_up=10)
    result, asked = search(settings, appraiser_of(space, None), accuracy=worth_of)
    genotypes = [genotype for round_ in asked for genotype in round_]
    assert len(genotypes) == len(set(genotypes)) < 20
    assert result.best.accuracy == max(map(worth_of, genotypes))


def test_a_space_of_one_network_is_searched_too() -> None:
    space = replace(SPACE, nodes=(2,), widths=(8,), outputs=(8,))
    result, asked = search(GramSettings(evaluations=5, warm_up=5), appraiser_of(space, None))
    assert [len(genotypes) for genotypes in asked] == [1]
    assert result.trajectory == ()


def test_networks_of_equal_worth_teach_nothing() -> None:
    result, _ = search(replace(SMALL, cost_weight=0.0), accuracy=lambda genotype: 0.5)
    assert result.meta_graph is not None
    assert not any(weights.any() for weights in result.meta_graph.weights)


def test_an_impossible_budget_names_the_fastest_after_a_bounded_number_of_draws() -> None:
    appraiser = appraiser_of(share=1e-3)
    judge = Judge(appraiser, worth_of)
    with pytest.raises(BudgetUnreachable) as caught:
        gram(appraiser, judge, SMALL, np.random.default_rng(0))
    assert f"the fastest of {WARM_UP_TRIES} seen is" in str(caught.value)
    assert judge.asked == []


def test_impossible_limits_name_the_smallest() -> None:
    appraiser = appraiser_of(limits=Limits(max_params=5))
    with pytest.raises(BudgetUnreachable, match=r"max_params 5; the smallest of \d+ seen is"):
        gram(appraiser, Judge(appraiser, worth_of), SMALL, np.random.default_rng(0))


def test_another_space_is_refused() -> None:
    appraiser = Appraiser(space=ShrinkCnnSpace())
    judge = Judge(appraiser, worth_of)
    with pytest.raises(ValueError, match="GRAM searches the SwiftNet space, not shrinkcnn"):
        gram(appraiser, judge, SMALL, np.random.default_rng(0))
    assert judge.asked == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sampler": "greedy"}, "sampler is one of adaptive, random .* got 'greedy'"),
        ({"credit": "rank"}, "credit one of move, score, got 'adaptive' and 'rank'"),
        ({"chains": 0}, "1 <= chains <= warm_up <= evaluations, got 0, 40 and 200"),
        ({"warm_up": 1}, "got 2, 1 and 200"),
        ({"evaluations": 39}, "got 2, 40 and 39"),
        ({"propagation": -0.1}, r"propagation lies in \[0, 1\], got -0.1"),
        ({"propagation": 1.5}, r"propagation lies in \[0, 1\], got 1.5"),
        ({"learning_rate": 0.0}, "must be more than 0"),
        ({"temperature_first": -1.0}, "must be more than 0"),
        ({"temperature_last": 0.0}, "must be more than 0"),
        ({"cost_weight": -0.1}, "cost_weight must be 0 or more, got -0.1"),
        ({"propagation": math.nan}, "propagation lies in"),
        ({"learning_rate": math.nan}, "must be more than 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GramSettings(**changes)
