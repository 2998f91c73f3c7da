from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from small_run import SPACE, make_data, small_config, start

from toolchain.evaluation import CANDIDATES, JournaledEvaluator, ProxyTraining, judge, prepare
from toolchain.executors import SerialExecutor
from toolchain.methods.candidate import Candidate
from toolchain.run_dir import RunDirectory

MakeEvaluator = Callable[..., tuple[JournaledEvaluator, RunDirectory]]
GENOTYPES = ["s0.s.c", "c0.s1.c", "s0.s0.c012"]


def job(seed: int = 5) -> ProxyTraining:
    config = small_config()
    training, validation = config.proxy.draw(make_data(), seed=seed)
    return ProxyTraining(
        space=SPACE, training=training, validation=validation, settings=config.proxy, seed=seed
    )


@pytest.fixture
def make_evaluator(tmp_path: Path) -> MakeEvaluator:
    def make(
        on_candidate: Callable[[Candidate], None] | None = None,
    ) -> tuple[JournaledEvaluator, RunDirectory]:
        run, _, appraiser = start(tmp_path / "run", "random", resume=True)
        executor = SerialExecutor(partial(prepare, job()))
        return JournaledEvaluator(appraiser, executor, run, on_candidate), run

    return make


def test_candidates_come_in_the_order_asked_with_metric_and_costs(
    make_evaluator: MakeEvaluator,
) -> None:
    evaluator, run = make_evaluator()
    asked = [*GENOTYPES, GENOTYPES[0]]
    found = evaluator(asked)
    assert [one.genotype for one in found] == asked
    assert found[0] == found[3]
    assert evaluator.judged == 3
    prepare(job())
    for one in found[:3]:
        assert one.metric == judge(one.genotype).metric
        assert one.latency is not None
        assert one.cost["epochs"] == 1
        assert one.cost["stopped_because"] == "all epochs"
        assert one.cost["cpu_s"] > 0
    records = run.records(CANDIDATES)
    assert [record["genotype"] for record in records] == GENOTYPES
    assert [record["metric"] for record in records] == [one.metric for one in found[:3]]


def test_what_the_journal_holds_is_not_trained_again(make_evaluator: MakeEvaluator) -> None:
    evaluator, run = make_evaluator()
    first = evaluator(GENOTYPES[:2])
    again, _ = make_evaluator()
    found = again(GENOTYPES)
    assert again.judged == 1
    assert list(found[:2]) == list(first)
    assert [record["genotype"] for record in run.records(CANDIDATES)] == GENOTYPES


def test_each_candidate_is_told_of_once_whoever_trained_it(make_evaluator: MakeEvaluator) -> None:
    make_evaluator()[0](GENOTYPES[:1])
    told: list[Candidate] = []
    evaluator, _ = make_evaluator(told.append)
    evaluator(GENOTYPES[:2])
    evaluator(GENOTYPES)
    assert [one.genotype for one in told] == GENOTYPES
    assert all(one.metric is not None for one in told)


def test_another_seed_trains_otherwise() -> None:
    metrics = []
    for seed in (5, 5, 6):
        prepare(job(seed))
        metrics.append([judge(genotype).metric for genotype in GENOTYPES])
    assert metrics[0] == metrics[1] != metrics[2]
