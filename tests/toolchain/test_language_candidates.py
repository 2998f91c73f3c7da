from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.evaluation import CANDIDATES, JournaledEvaluator, prepare
from toolchain.executors import ProcessExecutor, SerialExecutor
from toolchain.language_training import LanguageTraining, inherit
from toolchain.methods.autoshrink import AutoShrinkSettings, autoshrink
from toolchain.methods.candidate import Appraiser
from toolchain.run_dir import RunDirectory
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.text_segments import SegmentLengths
from toolchain.train.language import evaluate_language, perplexity
from toolchain.train.language_proxy import LanguageProxySettings, evaluate_language_proxy
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

SPACE = ShrinkRnnSpace(nodes=4, hidden=12, vocabulary=30)
RECIPE = LanguageSettings(
    epochs=2, batch_size=8, segments=SegmentLengths(mean=10, least=5, most=20), patience_epochs=0
)
PROXY = LanguageProxySettings(training=RECIPE, train_words=6000, validation_words=300)
COMPLETE = SPACE.complete("tsi")


def text(words: int, seed: int) -> torch.Tensor:
    """Each word is the one before plus one, or now and then any other."""
    generator = torch.Generator().manual_seed(seed)
    jumps = torch.where(
        torch.rand(words, generator=generator) < 0.2,
        torch.randint(30, (words,), generator=generator),
        torch.ones(words, dtype=torch.int64),
    )
    return jumps.cumsum(0) % 30


WORK = LanguageTraining(
    space=SPACE, training=text(6000, 0), validation=text(300, 1), settings=PROXY, seed=0
)


def test_the_metric_is_the_negative_perplexity() -> None:
    found = WORK.judge(COMPLETE)
    module = RecurrentModule(SPACE.decode(COMPLETE))
    initialize_recurrent(module, seed=0)
    untrained = perplexity(evaluate_language(module, WORK.validation))
    assert found.metric == -float(found.cost["perplexity"])
    assert 1 < -found.metric < 0.5 * untrained
    assert found.cost["epochs"] == 2
    assert float(found.cost["cpu_s"]) > 0
    assert WORK.judge(COMPLETE).metric == found.metric


def test_one_that_diverges_knows_nothing() -> None:
    hot = replace(PROXY, training=replace(RECIPE, learning_rate=1e38))
    found = replace(WORK, settings=hot).judge(COMPLETE)
    assert found.metric == -30
    assert found.cost["stopped_because"] == "diverged"


def test_what_is_inherited_are_the_edges_that_both_have() -> None:
    parent = RecurrentModule(SPACE.decode("t0.s01.i1"))
    initialize_recurrent(parent, seed=1)
    child = RecurrentModule(SPACE.decode("t0.s0.i12"))
    initialize_recurrent(child, seed=2)
    drawn = child.cell.edge_weights["2_3"].clone()
    inherit(child, parent.state_dict())
    for edge in ("0_1", "0_2", "1_3"):
        assert torch.equal(child.cell.edge_weights[edge], parent.cell.edge_weights[edge])
    assert torch.equal(child.cell.edge_weights["2_3"], drawn)
    assert torch.equal(child.embedding, parent.embedding)
    larger = RecurrentModule(replace(SPACE, hidden=13).decode("t0"))
    with pytest.raises(ValueError, match=r"embedding has the shape \(30, 13\), what is to be"):
        inherit(larger, parent.state_dict())


def test_a_child_with_inherited_weights_is_better_at_once() -> None:
    parent = RecurrentModule(SPACE.decode(COMPLETE))
    initialize_recurrent(parent, seed=0)
    longer = replace(PROXY, training=replace(RECIPE, epochs=6))
    evaluate_language_proxy(parent, WORK.training, WORK.validation, longer, seed=0)
    heir = replace(WORK, inherited=parent.state_dict())
    child = SPACE.parse(COMPLETE).without((1, 3)).genotype
    assert heir.judge(child).metric > WORK.judge(child).metric + 0.5


def test_a_search_is_the_same_in_processes_and_after_a_stop(tmp_path: Path) -> None:
    appraiser = Appraiser(space=SPACE)
    settings = AutoShrinkSettings(mode="paper", candidates_per_step=3)
    run = RunDirectory.create(tmp_path / "run", {}, resume=False)
    with ProcessExecutor(2, partial(prepare, WORK)) as executor:
        evaluator = JournaledEvaluator(appraiser, executor, run)
        found = autoshrink(appraiser, evaluator, settings, np.random.default_rng(0))
    records = run.records(CANDIDATES)
    assert evaluator.judged == len(records) == len(found.evaluated) > 5
    # Half of the journal, as a killed process leaves it, and the rest here.
    half = RunDirectory.create(tmp_path / "half", {}, resume=False)
    for record in records[: len(records) // 2]:
        half.append(CANDIDATES, record)
    resumed = JournaledEvaluator(appraiser, SerialExecutor(partial(prepare, WORK)), half)
    again = autoshrink(appraiser, resumed, settings, np.random.default_rng(0))
    assert resumed.judged == len(records) - len(records) // 2
    assert [one.metric for one in again.evaluated] == [one.metric for one in found.evaluated]
    assert again.best.genotype == found.best.genotype
    assert [one.chosen.genotype for one in again.trajectory] == [
        one.chosen.genotype for one in found.trajectory
    ]
