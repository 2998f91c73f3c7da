from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latency_tables.budget import Budget, Latency
from latency_tables.errors import KernelMissing
from latency_tables.model import LatencyModel
from toolchain.count import count
from toolchain.errors import BudgetUnreachable, GenotypeInvalid
from toolchain.kernels import plan
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.methods.limits import Limits
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

MakeJudge = Callable[..., Any]


def candidate(genotype: str, metric: float, ms: float, macs: int = 1) -> Candidate:
    latency = Latency(p50_ms=ms, p95_ms=ms)
    return Candidate(
        genotype=genotype, latency=latency, macs=macs, params=1, memory_bytes=1, metric=metric
    )


def test_a_candidate_costs_what_its_graph_and_the_table_say(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()
    found = appraiser.appraise("s0.c01")
    graph = appraiser.space.decode("s0.c01")
    assert found.latency == appraiser.model.predict(plan(graph).kernels)
    counts = count(graph)
    assert (found.macs, found.params) == (counts.macs, counts.params)
    assert found.memory_bytes == counts.peak_memory_bytes
    assert found.metric is None
    record = evaluated(found, 0.75, {"cpu_s": 2.5, "epochs": 1}).to_json()
    assert record == {
        "genotype": "s0.c01",
        "metric": 0.75,
        "p50_ms": found.latency.p50_ms,
        "p95_ms": found.latency.p95_ms,
        "doubt": found.latency.doubt,
        "macs": found.macs,
        "params": found.params,
        "memory_bytes": found.memory_bytes,
        "cpu_s": 2.5,
        "epochs": 1,
    }


def test_without_a_table_there_is_no_latency() -> None:
    appraiser = Appraiser(space=ShrinkCnnSpace())
    found = appraiser.appraise("s0")
    assert found.latency is None
    assert found.to_json()["p50_ms"] is None
    assert appraiser.admits(found)
    appraiser.require_reachable()


def test_a_budget_needs_a_table() -> None:
    with pytest.raises(ValueError, match="needs a latency table"):
        Appraiser(space=ShrinkCnnSpace(), budget=Budget(limit_ms=1))


def test_what_cannot_be_appraised_is_refused(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()
    with pytest.raises(GenotypeInvalid):
        appraiser.appraise("s9")
    wider = Appraiser(space=ShrinkCnnSpace(base_width=64), model=appraiser.model)
    with pytest.raises(KernelMissing):
        wider.appraise("s0")


def test_the_best_is_the_most_accurate_within_the_budget(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge(limit_ms=2.0)
    slow = candidate("s0.s0", 0.9, ms=2.1)
    good, cheap = candidate("c0", 0.8, ms=2.0, macs=5), candidate("s0", 0.8, ms=1.0, macs=4)
    poor = candidate("c0.c0", 0.7, ms=0.1)
    assert appraiser.best([poor, slow, good]) is good
    assert appraiser.best([poor, slow, good, cheap]) is cheap
    with pytest.raises(BudgetUnreachable, match=r"within 2 ms .* fastest of 1 .* s0\.s0 with 2.1"):
        appraiser.best([slow])


def test_an_impossible_budget_is_noticed_before_training(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge(limit_ms=1e-6)
    witnesses = [appraiser.appraise(one) for one in appraiser.space.witnesses()]
    fastest = min(witnesses, key=lambda one: one.latency.p95_ms)
    with pytest.raises(BudgetUnreachable) as caught:
        appraiser.require_reachable()
    assert f"is {fastest.genotype} with {fastest.latency.p95_ms:.4g} ms" in str(caught.value)
    assert "Raise the budget" in str(caught.value)
    at_least, _ = make_judge(limit_ms=fastest.latency.p95_ms * (1 + 1e-9))
    at_least.require_reachable()


def test_no_random_network_is_faster_than_the_fastest_witness(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()
    rng = np.random.default_rng(0)
    drawn = [appraiser.appraise(appraiser.space.sample(rng)).p50_ms for _ in range(1000)]
    assert min(appraiser.appraise(one).p50_ms for one in appraiser.space.witnesses()) <= min(drawn)


def test_samples_keep_the_budget_or_the_search_gives_up(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    appraiser, _ = make_judge(limit_ms=limit_ms)
    rng = np.random.default_rng(0)
    drawn = [appraiser.sample_within(rng, tries=200) for _ in range(100)]
    assert all(one.latency.p95_ms <= limit_ms for one in drawn)
    assert len({one.genotype for one in drawn}) > 80
    impossible, _ = make_judge(limit_ms=1e-6)
    with pytest.raises(BudgetUnreachable, match="the fastest of 30 seen"):
        impossible.sample_within(rng, tries=30)


def test_a_search_trains_nothing_that_leaves_its_budget_unused(
    make_judge: MakeJudge, limit_ms: float
) -> None:
    budget = Budget(limit_ms=limit_ms, fill=0.8)
    appraiser = replace(make_judge()[0], budget=budget)
    rng = np.random.default_rng(0)
    drawn = [appraiser.sample_within(rng, tries=2000) for _ in range(30)]
    assert all(0.8 * limit_ms <= one.latency.p95_ms <= limit_ms for one in drawn)
    idle = replace(appraiser, budget=Budget(limit_ms=1e6, fill=0.8))
    with pytest.raises(BudgetUnreachable, match=r"uses 80% of 1e\+06 ms .* Lower --fill"):
        idle.sample_within(rng, tries=30)


def test_the_confidence_decides_what_is_admitted(make_judge: MakeJudge) -> None:
    appraiser, _ = make_judge()
    found = appraiser.appraise("s0.c01")
    between_ms = (found.latency.p50_ms + found.latency.p95_ms) / 2
    admits = [
        Appraiser(
            space=appraiser.space,
            model=LatencyModel(appraiser.model.table),
            budget=Budget(limit_ms=between_ms, confidence=confidence),
        ).admits(found)
        for confidence in (0.5, 0.95)
    ]
    assert admits == [True, False]


@pytest.mark.parametrize(
    ("name", "cost"),
    [("max_macs", "macs"), ("max_params", "params"), ("max_memory_bytes", "memory_bytes")],
)
def test_each_limit_is_kept_beside_the_budget(
    make_judge: MakeJudge, limit_ms: float, name: str, cost: str
) -> None:
    appraiser, _ = make_judge(limit_ms=limit_ms)
    rng = np.random.default_rng(0)
    drawn = [appraiser.sample_within(rng, tries=200) for _ in range(40)]
    middle = sorted(getattr(one, cost) for one in drawn)[10]
    limited = replace(appraiser, limits=Limits(**{name: middle}))
    admitted = [one for one in drawn if limited.admits(one)]
    assert admitted == [one for one in drawn if getattr(one, cost) <= middle]
    found = limited.sample_within(rng, tries=2000)
    assert getattr(found, cost) <= middle
    assert found.latency is not None
    assert found.latency.p95_ms <= limit_ms
    evaluations = [evaluated(one, place / 100, {}) for place, one in enumerate(drawn)]
    assert getattr(limited.best(evaluations), cost) <= middle


def test_limits_need_no_table() -> None:
    smallest = Appraiser(space=ShrinkCnnSpace()).appraise("s0")
    appraiser = Appraiser(space=ShrinkCnnSpace(), limits=Limits(max_macs=smallest.macs))
    assert appraiser.admits(smallest)
    assert not appraiser.admits(appraiser.appraise("s0.s01"))
