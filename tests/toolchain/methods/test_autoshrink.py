from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from judge import Judge, accuracy_of
from made_up import model_of

from latency_tables.budget import Budget
from toolchain.errors import BudgetUnreachable, GenotypeInvalid
from toolchain.methods.autoshrink import AutoShrinkSettings, autoshrink
from toolchain.methods.candidate import Appraiser
from toolchain.methods.limits import Limits
from toolchain.methods.method import METHODS, make_settings
from toolchain.methods.result import SearchResult
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.swiftnet import SwiftNetSpace

MakeJudge = Callable[..., Any]
PAPER = AutoShrinkSettings(mode="paper")
BUDGET = AutoShrinkSettings(mode="budget")
parse_cell = ShrinkCnnSpace().parse


def walk(
    make_judge: MakeJudge,
    settings: AutoShrinkSettings = PAPER,
    *,
    seed: int = 0,
    **options: Any,
) -> tuple[SearchResult, list[list[str]]]:
    appraiser, judge = make_judge(**options)
    result = autoshrink(appraiser, judge, settings, np.random.default_rng(seed))
    return result, judge.asked


def test_the_walk_starts_at_the_complete_dag_and_each_step_drops_one_edge(
    make_judge: MakeJudge,
) -> None:
    result, asked = walk(make_judge)
    operators = parse_cell(asked[0][0]).operators
    present = parse_cell(ShrinkCnnSpace().complete(operators))
    assert len(present.edges) == 28
    for genotypes, step in zip(asked, result.trajectory, strict=True):
        smaller = {present.without(edge).genotype for edge in present.edges}
        assert set(genotypes) <= smaller
        assert step.chosen.genotype in genotypes
        assert step.candidates == len(genotypes) == len(set(genotypes))
        assert step.edges == len(parse_cell(step.chosen.genotype).edges)
        present = parse_cell(step.chosen.genotype)
    assert len(present.edges) == 1


def test_k_edges_are_compared_while_there_are_so_many(make_judge: MakeJudge) -> None:
    for edges_compared in (1, 3, 10):
        settings = replace(PAPER, candidates_per_step=edges_compared)
        _, asked = walk(make_judge, settings)
        assert [len(genotypes) for genotypes in asked[:10]] == [edges_compared] * 10
        assert max(map(len, asked)) == edges_compared


def test_the_edges_are_drawn_at_random(make_judge: MakeJudge) -> None:
    # With K = 1 the walk is a random one: over many, each of the 28 edges goes first some time.
    first = set()
    one_step = replace(PAPER, candidates_per_step=1, keep_fraction=0.96)
    for seed in range(250):
        _, asked = walk(make_judge, one_step, seed=seed)
        (genotype,) = asked[0]
        kept = set(parse_cell(genotype).edges)
        first.add(min({(i, j) for j in range(8) for i in range(j)} - kept))
    assert len(first) == 28


def test_at_most_235_networks_are_asked_for(make_judge: MakeJudge) -> None:
    for seed in range(6):
        result, asked = walk(make_judge, seed=seed)
        genotypes = [genotype for step in asked for genotype in step]
        assert len(genotypes) <= 235
        # One that two ways lead to is asked for twice and counts once.
        evaluated = [one.genotype for one in result.evaluated]
        assert evaluated == list(dict.fromkeys(genotypes))


def test_without_orphans_every_edge_but_the_last_takes_a_step(make_judge: MakeJudge) -> None:
    # Networks that keep more edges are judged better: no removal that orphans others is chosen
    # while another is there, so that the walk has its full length.
    def by_edges(genotype: str) -> float:
        return len(parse_cell(genotype).edges) / 28

    settings = replace(PAPER, candidates_per_step=28)
    result, _ = walk(make_judge, settings, accuracy=by_edges)
    assert [step.edges for step in result.trajectory] == list(range(27, 0, -1))


def test_a_removal_that_orphans_nodes_drops_their_edges_too(make_judge: MakeJudge) -> None:
    def by_fewness(genotype: str) -> float:
        return 1 - len(parse_cell(genotype).edges) / 28

    result, _ = walk(make_judge, accuracy=by_fewness)
    edges = [28, *(step.edges for step in result.trajectory)]
    assert any(before - after > 1 for before, after in pairwise(edges))


def test_the_score_is_the_papers(make_judge: MakeJudge) -> None:
    result, asked = walk(make_judge)
    _, judge = make_judge()
    for genotypes, step in zip(asked, result.trajectory, strict=True):
        scores = {
            one.genotype: one.accuracy - 0.1 * (math.log10(one.macs) - 6)
            for one in judge(genotypes)
        }
        assert step.score == pytest.approx(max(scores.values()))
        assert scores[step.chosen.genotype] == max(scores.values())
        assert step.mean_score == pytest.approx(sum(scores.values()) / len(scores))


def test_ten_fold_macs_cost_a_tenth_of_accuracy(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()
    result, _ = walk(make_judge, accuracy=lambda genotype: 0.5)
    for step in result.trajectory:
        assert step.score == pytest.approx(0.5 - 0.1 * math.log10(step.chosen.macs / 1e6))
    # Where accuracy tells nothing, the walk goes down in MACs as fast as it can.
    macs = [step.chosen.macs for step in result.trajectory]
    assert macs == sorted(macs, reverse=True)
    assert result.best.macs == macs[-1] < appraiser.appraise("s0.s0.s0").macs


def test_the_papers_answer_is_the_best_score_of_the_walk(make_judge: MakeJudge) -> None:
    for seed in range(5):
        result, _ = walk(make_judge, seed=seed)
        best = max(result.trajectory, key=lambda step: step.score)
        assert result.best == best.chosen
        assert result.best in [step.chosen for step in result.trajectory]


def test_of_equal_scores_the_one_with_fewer_edges_is_the_answer(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()

    def levelled(genotype: str) -> float:
        """Accuracy that makes up for the MACs: all scores are equal but for rounding."""
        return round(0.5 + 0.1 * (math.log10(appraiser.appraise(genotype).macs) - 6), 15)

    result, _ = walk(make_judge, accuracy=levelled)
    top = max(step.score for step in result.trajectory)
    equal = [step for step in result.trajectory if step.score == top]
    assert len(equal) > 1
    assert result.best == min(equal, key=lambda step: step.edges).chosen


def test_in_budget_mode_ten_fold_latency_costs_a_tenth_of_accuracy(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    result, _ = walk(make_judge, BUDGET, limit_ms=limit_ms)
    for step in result.trajectory:
        ms = step.chosen.p50_ms
        expected = step.chosen.accuracy - 0.1 * math.log10(ms / limit_ms)
        assert step.score == pytest.approx(expected)
        assert step.within_budget == (step.chosen.latency.p95_ms <= limit_ms)


@pytest.mark.parametrize("settings", [PAPER, BUDGET], ids=["paper", "budget"])
def test_the_answer_is_never_over_the_budget(
    make_judge: MakeJudge, limit_ms: float, settings: AutoShrinkSettings
) -> None:
    appraiser, _ = make_judge()

    def by_size(genotype: str) -> float:
        """The larger, the more accurate: the best networks are all too slow."""
        return 0.1 * math.log10(appraiser.appraise(genotype).macs)

    answers = 0
    for seed in range(3):
        for tight_ms in (0.5 * limit_ms, limit_ms, 1.5 * limit_ms):
            try:
                result, _ = walk(
                    make_judge, settings, seed=seed, limit_ms=tight_ms, accuracy=by_size
                )
            except BudgetUnreachable:
                assert settings == PAPER  # a walk that looks at MACs alone may miss the budget
                continue
            answers += 1
            assert result.best.latency.p95_ms <= tight_ms * (1 + 1e-12)
            assert any(one.latency.p95_ms > tight_ms for one in result.evaluated)
    assert answers >= 6


def test_in_budget_mode_the_answer_is_the_most_accurate_network_trained_within(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    for seed in range(5):
        result, _ = walk(make_judge, BUDGET, limit_ms=limit_ms, seed=seed)
        within = [one for one in result.evaluated if one.latency.p95_ms <= limit_ms]
        assert 0 < len(within) < len(result.evaluated)
        assert result.best.accuracy == max(one.accuracy for one in within)


@pytest.mark.parametrize("settings", [PAPER, BUDGET], ids=["paper", "budget"])
def test_an_impossible_budget_names_the_fastest_network_seen(
    make_judge: MakeJudge, settings: AutoShrinkSettings
) -> None:
    appraiser, judge = make_judge(limit_ms=1e-6)
    with pytest.raises(BudgetUnreachable) as caught:
        autoshrink(appraiser, judge, settings, np.random.default_rng(0))
    trained = [appraiser.appraise(one) for step in judge.asked for one in step]
    fastest = min(trained, key=lambda one: one.latency.p95_ms)
    assert f"{fastest.latency.p95_ms:.4g} ms" in str(caught.value)


def test_budget_mode_needs_a_budget(make_judge: MakeJudge) -> None:
    appraiser, judge = make_judge()
    with pytest.raises(ValueError, match="needs a budget in ms"):
        autoshrink(appraiser, judge, BUDGET, np.random.default_rng(0))
    assert judge.asked == []


@pytest.mark.parametrize(("nodes", "keep_fraction"), [(2, 0.01), (8, 0.99), (3, 0.9)])
def test_a_walk_without_a_step_is_refused(
    make_judge: MakeJudge, nodes: int, keep_fraction: float
) -> None:
    _, judge = make_judge()
    appraiser = Appraiser(space=ShrinkCnnSpace(nodes=nodes))
    settings = replace(PAPER, keep_fraction=keep_fraction)
    with pytest.raises(ValueError, match="no edge to drop"):
        autoshrink(appraiser, judge, settings, np.random.default_rng(0))


def test_the_walk_ends_when_the_kept_fraction_is_reached(make_judge: MakeJudge) -> None:
    result, _ = walk(make_judge, replace(PAPER, keep_fraction=0.25))
    edges = [step.edges for step in result.trajectory]
    assert edges[-1] <= 7 < edges[-2]


def test_the_same_seed_gives_the_same_result(make_judge: MakeJudge, limit_ms: float) -> None:
    results = [walk(make_judge, BUDGET, limit_ms=limit_ms, seed=seed) for seed in (3, 3, 4)]
    assert results[0] == results[1]
    assert results[0][1] != results[2][1]


def test_small_spaces_are_walked_too(make_judge: MakeJudge) -> None:
    space = ShrinkCnnSpace(nodes=3)
    appraiser = Appraiser(space=space)
    judge = type(make_judge()[1])(appraiser, lambda genotype: 0.5)
    result = autoshrink(appraiser, judge, PAPER, np.random.default_rng(0))
    assert len(parse_cell(judge.asked[0][0]).edges) == 2
    assert len(parse_cell(result.trajectory[-1].chosen.genotype).edges) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "fast"}, "one of paper, budget, got 'fast'"),
        ({"choice": "best"}, "choice is one of score, random, dearest, got 'best'"),
        ({"candidates_per_step": 0}, "K must be at least 1, got 0"),
        ({"keep_fraction": 1.0}, r"keep_fraction lies in \[0, 1\), got 1.0"),
        ({"keep_fraction": -0.1}, "keep_fraction lies in"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AutoShrinkSettings(**changes)


def test_the_defaults_are_the_papers_numbers() -> None:
    assert (BUDGET.candidates_per_step, BUDGET.keep_fraction) == (10, 0.01)


RNN = ShrinkRnnSpace(hidden=100, vocabulary=500)
RNN_PAPER = replace(PAPER, keep_fraction=0.25)


def rnn_walk(
    settings: AutoShrinkSettings = RNN_PAPER,
    seed: int = 189,
    perplexity: Callable[[str], float] = lambda genotype: 150 + 20 * accuracy_of(genotype),
) -> tuple[SearchResult, list[list[str]]]:
    appraiser = Appraiser(space=RNN)
    judge = Judge(appraiser, lambda genotype: -perplexity(genotype))
    result = autoshrink(appraiser, judge, settings, np.random.default_rng(seed))
    return result, judge.asked


def test_a_recurrent_cell_is_walked_from_15_edges_to_4() -> None:
    result, asked = rnn_walk()
    present = RNN.parse(RNN.complete(RNN.parse(asked[0][0]).operators))
    assert len(present.edges) == 15
    for genotypes, step in zip(asked, result.trajectory, strict=True):
        assert len(genotypes) <= min(10, len(present.edges))
        assert set(genotypes) <= {present.without(edge).genotype for edge in present.edges}
        present = RNN.parse(step.chosen.genotype)
    assert len(present.edges) <= 4
    assert sum(map(len, asked)) <= 95


def test_the_score_of_a_recurrent_cell_is_the_papers() -> None:
    result, _ = rnn_walk()
    for step in result.trajectory:
        perplexity = -step.chosen.accuracy
        flops = step.edges * 100**2
        assert step.score == pytest.approx(0.25 * (200 - perplexity) - (math.log10(flops) - 6))
    assert result.best == max(result.trajectory, key=lambda step: step.score).chosen


def test_of_two_recurrent_cells_the_one_with_the_lower_perplexity_is_chosen() -> None:
    """Perplexity is what counts when it differs by more than the few edges are worth."""
    result, asked = rnn_walk()
    for genotypes, step in zip(asked, result.trajectory, strict=True):
        perplexities = [150 + 20 * accuracy_of(one) for one in genotypes]
        assert -step.chosen.accuracy <= min(perplexities) + 4 * math.log10(15 / 3)
    top = max(one.accuracy for one in result.evaluated)
    assert result.best.accuracy >= top - 4 * math.log10(15 / 3)


def test_where_perplexity_tells_nothing_the_fewest_edges_are_the_answer() -> None:
    result, _ = rnn_walk(perplexity=lambda genotype: 150.0)
    assert len(RNN.parse(result.best.genotype).edges) == result.trajectory[-1].edges


def test_a_walk_keeps_the_operators_it_is_given() -> None:
    _, asked = rnn_walk(replace(RNN_PAPER, operators="rstit"))
    assert {RNN.parse(one).operators for step in asked for one in step} == {"rstit"}
    _, drawn = rnn_walk()
    assert RNN.parse(drawn[0][0]).operators != "rstit"
    with pytest.raises(GenotypeInvalid, match="'x0123' is not r, s, t or i"):
        rnn_walk(replace(RNN_PAPER, operators="rstxi"))
    with pytest.raises(GenotypeInvalid, match="the space has 6 nodes, the genotype 7"):
        rnn_walk(replace(RNN_PAPER, operators="rstiti"))


def test_the_random_choice_goes_on_from_any_and_the_dearest_from_the_cheapest() -> None:
    chosen: dict[str, list[tuple[int, int]]] = {}
    for choice in ("score", "random", "dearest"):
        places = []
        for seed in range(20):
            result, asked = rnn_walk(replace(RNN_PAPER, choice=choice), seed)
            for genotypes, step in zip(asked, result.trajectory, strict=True):
                edges = [len(RNN.parse(one).edges) for one in genotypes]
                rank = sorted(genotypes, key=accuracy_of).index(step.chosen.genotype)
                places.append((rank, step.edges - min(edges)))
        chosen[choice] = places
    assert {over for _, over in chosen["dearest"]} == {0}
    assert {over for _, over in chosen["random"]} > {0}
    # By perplexity, the first of ten when chosen by score, in the middle when drawn.
    assert np.mean([rank for rank, _ in chosen["score"]]) < 0.5
    assert 2.5 < np.mean([rank for rank, _ in chosen["random"]]) < 5


def test_the_other_methods_search_recurrent_cells_too() -> None:
    appraiser = Appraiser(space=RNN, limits=Limits(max_params=RNN.counts("t0.t0.t0.t0.t0").params))
    for name in ("random", "evolution"):
        judge = Judge(appraiser, lambda genotype: -150 - 20 * accuracy_of(genotype))
        settings = make_settings(name, {"evaluations": 30})
        result = METHODS[name].search(appraiser, judge, settings, np.random.default_rng(0))
        assert len(result.evaluated) == 30
        assert all(len(RNN.parse(one.genotype).edges) <= 5 for one in result.evaluated)
        assert result.best.accuracy == max(one.accuracy for one in result.evaluated)


def test_in_budget_mode_ten_fold_ms_a_word_are_worth_four_of_perplexity() -> None:
    model = model_of(RNN)
    small, full = (RNN.complete("t"), RNN.complete("rstit"))
    ends = [model.predict(RNN.kernels(one)).p95_ms for one in (small, full)]
    limit_ms = sum(ends) / 2
    appraiser = Appraiser(space=RNN, model=model, budget=Budget(limit_ms=limit_ms))
    appraiser.require_reachable()
    judge = Judge(appraiser, lambda genotype: -150 - 20 * accuracy_of(genotype))
    result = autoshrink(appraiser, judge, BUDGET, np.random.default_rng(0))
    for step in result.trajectory:
        decades = math.log10(step.chosen.p50_ms / limit_ms)
        assert step.score == pytest.approx(0.25 * (200 + step.chosen.accuracy) - decades)
    within = [one for one in result.evaluated if one.latency.p95_ms <= limit_ms]
    assert 0 < len(within) < len(result.evaluated)
    assert result.best.accuracy == max(one.accuracy for one in within)


def test_a_space_without_cells_is_refused() -> None:
    appraiser = Appraiser(space=SwiftNetSpace())
    judge = Judge(appraiser, accuracy_of)
    with pytest.raises(ValueError, match="walks spaces of one cell, which swiftnet is not"):
        autoshrink(appraiser, judge, PAPER, np.random.default_rng(0))
    assert judge.asked == []
