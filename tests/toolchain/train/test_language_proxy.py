from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from toolchain.errors import DataUnusable
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.language import LanguageData
from toolchain.tasks.text_segments import SegmentLengths
from toolchain.tasks.vocabulary import frequent_words
from toolchain.train.language import evaluate_language, train_language
from toolchain.train.language_proxy import (
    BLOCK_WORDS,
    LanguageProxyResult,
    LanguageProxySettings,
    evaluate_language_proxy,
    excerpt,
)
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

WORDS = 40
NOISE = torch.randint(1, WORDS, (700,), generator=torch.Generator().manual_seed(0))
OTHER = torch.randint(1, WORDS, (700,), generator=torch.Generator().manual_seed(1))
"""What is learned of noise by heart is wrong of other noise."""
RECIPE = LanguageSettings(
    epochs=3, batch_size=4, segments=SegmentLengths(mean=10, least=5, most=20), patience_epochs=0
)
PROXY = LanguageProxySettings(training=RECIPE, train_words=700, validation_words=700)


def new_module() -> RecurrentModule:
    module = RecurrentModule(ShrinkRnnSpace(hidden=16, vocabulary=WORDS).decode("t0.i1"))
    initialize_recurrent(module, seed=0)
    return module


def judged(proxy: LanguageProxySettings) -> LanguageProxyResult:
    return evaluate_language_proxy(new_module(), NOISE, OTHER, proxy, seed=0)


def test_the_least_loss_of_all_epochs_counts() -> None:
    reports = list(train_language(new_module(), NOISE, OTHER, RECIPE, seed=0))
    result = judged(PROXY)
    assert result.loss == min(report.validation_loss for report in reports)
    assert (result.epochs, result.stopped_because) == (3, "all epochs")
    assert result.cpu_s > 0


def test_a_training_without_progress_is_stopped() -> None:
    patient = replace(PROXY, training=replace(RECIPE, epochs=40), patience_epochs=3)
    result = judged(patient)
    assert result.stopped_because == "no progress"
    reports = list(train_language(new_module(), NOISE, OTHER, patient.training, seed=0))
    best = min(reports, key=lambda report: report.validation_loss).epoch
    losses = [report.validation_loss for report in reports[: result.epochs]]
    assert losses.index(min(losses)) + 1 == result.epochs - 3
    assert best <= result.epochs or min(losses) == result.loss


def test_one_that_learns_by_heart_is_stopped() -> None:
    eager = replace(
        PROXY, training=replace(RECIPE, epochs=60), patience_epochs=60, overfit_ratio=1.2
    )
    result = judged(eager)
    assert result.stopped_because == "overfitted"
    assert 1 < result.epochs < 60


def test_one_that_diverges_has_an_infinite_loss() -> None:
    result = judged(replace(PROXY, training=replace(RECIPE, learning_rate=1e38)))
    assert (result.loss, result.epochs, result.stopped_because) == (math.inf, 1, "diverged")


def test_an_excerpt_has_passages_from_all_over_the_text_in_its_order() -> None:
    text = torch.arange(100 * BLOCK_WORDS + 7)
    found = excerpt(text, 20 * BLOCK_WORDS - 3, seed=1)
    assert len(found) == 20 * BLOCK_WORDS
    passages = found.view(20, BLOCK_WORDS)
    starts = passages[:, 0]
    assert torch.equal(passages - starts[:, None], torch.arange(BLOCK_WORDS).expand(20, -1))
    assert not (starts % BLOCK_WORDS).any()
    assert (starts.diff() > 0).all()
    assert starts.min() < 20 * BLOCK_WORDS
    assert starts.max() > 80 * BLOCK_WORDS
    assert torch.equal(found, excerpt(text, 20 * BLOCK_WORDS, seed=1))
    assert not torch.equal(found, excerpt(text, 20 * BLOCK_WORDS, seed=2))


def test_a_short_text_is_its_own_excerpt() -> None:
    text = torch.arange(3 * BLOCK_WORDS + 7)
    assert torch.equal(excerpt(text, 10**6, seed=0), text)
    with pytest.raises(DataUnusable, match="without words"):
        excerpt(text[:0], 5, seed=0)


def test_proxy_texts_come_from_training_and_validation_text_alone() -> None:
    vocabulary = frequent_words(["a", "b", "c"])
    parts = [torch.full((3000,), number) for number in range(3)]
    data = LanguageData(
        name="x", vocabulary=vocabulary, train=parts[0], validation=parts[1], test=parts[2]
    )
    training, validation = replace(PROXY, train_words=1000, validation_words=500).draw(
        data, seed=0
    )
    assert (len(training), len(validation)) == (1000, 500)
    assert training.unique().tolist() == [0]
    assert validation.unique().tolist() == [1]


def test_the_papers_proxy_is_the_released_one() -> None:
    paper = LanguageProxySettings.paper()
    assert (paper.train_words, paper.validation_words) == (88_832, 7_060)
    assert (paper.patience_epochs, paper.overfit_ratio) == (4, 3.0)
    assert paper.training == LanguageSettings.proxy()
    quick = LanguageProxySettings.quick()
    assert quick.training.epochs * quick.train_words < 0.2 * 10 * paper.train_words


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train_words": 0}, "train_words must be at least 1, got 0"),
        ({"validation_words": 0}, "validation_words must be at least 1, got 0"),
        ({"patience_epochs": 0}, "patience_epochs must be at least 1, got 0"),
        ({"overfit_ratio": 1.0}, "overfit_ratio must be more than 1, got 1.0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(PROXY, **changes)


def test_the_random_state_of_the_process_does_not_matter() -> None:
    before = judged(PROXY).loss
    torch.manual_seed(99)
    evaluate_language(new_module(), OTHER)
    assert judged(PROXY).loss == before
