from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.errors import CheckpointUnusable, DataUnusable, TrainingDiverged
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.text_segments import SegmentLengths, columns
from toolchain.tasks.vocabulary import Vocabulary, frequent_words
from toolchain.train import language as module_under_test
from toolchain.train.language import (
    LanguageReport,
    LanguageStep,
    evaluate_language,
    perplexity,
    train_language,
)
from toolchain.train.language_recipe import LanguageSettings, should_average
from toolchain.train.locked_dropout import LockedDropout
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

RELEASED = "i0.s0.s01.t0123.i0123"
SHORT = SegmentLengths(mean=10, deviation=1.0, least=5, most=20)
QUICK = LanguageSettings(epochs=4, batch_size=16, segments=SHORT)


def grammar(sentences: int, seed: int) -> list[str]:
    """Sentences whose first noun, one of eight, decides every other word."""
    words = []
    for noun in np.random.default_rng(seed).integers(8, size=sentences):
        words += ["the", f"n{noun}", f"v{noun % 4}", "a", f"n{(3 * noun + 1) % 8}", f"z{noun}"]
        words.append("<eos>")
    return words


VOCABULARY = frequent_words(grammar(100, 0))
TRAINING = VOCABULARY.encode(grammar(1300, 1))
VALIDATION = VOCABULARY.encode(grammar(200, 2))
NOISE = torch.randint(1, 24, (600,), generator=torch.Generator().manual_seed(5))
"""Words without any order: whatever is learned of it is wrong of other noise."""
OTHER_NOISE = torch.randint(1, 24, (600,), generator=torch.Generator().manual_seed(6))


def new_module(genotype: str = RELEASED, vocabulary: Vocabulary = VOCABULARY) -> RecurrentModule:
    space = ShrinkRnnSpace(hidden=24, vocabulary=len(vocabulary))
    module = RecurrentModule(space.decode(genotype))
    initialize_recurrent(module, seed=0)
    return module


def trained(
    settings: LanguageSettings, *, seed: int = 0, text: Tensor = TRAINING
) -> tuple[RecurrentModule, list[LanguageReport]]:
    module = new_module("t0.i1")
    return module, list(train_language(module, text, VALIDATION, settings, seed=seed))


def unigram_perplexity(training: Tensor, validation: Tensor) -> float:
    counts = training.bincount(minlength=len(VOCABULARY)).double() + 1
    return math.exp(-(counts / counts.sum()).log()[validation].mean().item())


def test_a_grammar_is_learned_far_beyond_word_frequencies() -> None:
    module = new_module()
    reports = list(train_language(module, TRAINING, VALIDATION, QUICK, seed=0))
    unigram = unigram_perplexity(TRAINING, VALIDATION)
    assert unigram > 15
    # All that cannot be known is one noun of eight in every seven words.
    least = 8 ** (1 / 7)
    assert least < reports[-1].validation_perplexity < 1.7
    perplexities = [report.validation_perplexity for report in reports]
    assert perplexities == sorted(perplexities, reverse=True)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].tokens_per_second > 0


def test_untrained_the_perplexity_is_the_number_of_words() -> None:
    loss = evaluate_language(new_module(), VALIDATION)
    assert perplexity(loss) == pytest.approx(len(VOCABULARY), rel=0.01)
    assert perplexity(1e6) == math.inf


def test_a_text_s_loss_is_the_mean_over_its_targets_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, _ = trained(replace(QUICK, epochs=1))
    text = VALIDATION[:200]
    state, losses = module.initial_state(1), []
    for number in range(199):
        logits, state = module.step(text[number : number + 1], state)
        losses.append(F.cross_entropy(logits, text[number + 1 : number + 2]).item())
    loss = evaluate_language(module, text)
    assert loss == pytest.approx(float(np.mean(losses)), rel=1e-5)
    monkeypatch.setattr(module_under_test, "EVALUATION_ROWS", 7)
    assert evaluate_language(module, text) == pytest.approx(loss, rel=1e-6)


def test_a_text_in_columns_is_scored_column_by_column() -> None:
    module, _ = trained(replace(QUICK, epochs=1))
    alone = [evaluate_language(module, column) for column in columns(VALIDATION, 4).unbind(1)]
    assert evaluate_language(module, VALIDATION, batch_size=4) == pytest.approx(
        float(np.mean(alone)), rel=1e-5
    )


def test_one_step_is_sgd_on_the_regularized_loss_with_a_clipped_gradient() -> None:
    settings = LanguageSettings(
        epochs=1,
        batch_size=2,
        segments=SegmentLengths(mean=10, deviation=0.0, most=20, halved_share=0.0),
        clip_norm=0.01,
        weight_decay=0.1,
        activation_decay=2.0,
        slowness=3.0,
    )
    text = TRAINING[:22]  # Two columns of eleven words: one segment of ten.
    expected, found = new_module(), new_module()
    text_TN = columns(text, 2)
    unrolled = expected(text_TN[:-1], expected.initial_state(2))
    loss = F.cross_entropy(unrolled.logits.flatten(0, 1), text_TN[1:].flatten())
    change = unrolled.states[1:] - unrolled.states[:-1]
    (loss + 2.0 * unrolled.states.pow(2).mean() + 3.0 * change.pow(2).mean()).backward()
    norm = torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.01)
    assert norm > 0.01
    with torch.no_grad():
        for weight in expected.parameters():
            weight -= 20.0 * (weight.grad + 0.1 * weight)
    steps: list[LanguageStep] = []
    # One epoch whose weights are surely the best: it is the only one.
    for _ in train_language(
        found, text, VALIDATION, settings, seed=0, on_step=lambda _, step: steps.append(step)
    ):
        pass
    assert [(step.rows_done, step.rows, step.tokens) for step in steps] == [(10, 10, 20)]
    assert steps[0].loss == pytest.approx(loss.item())
    for weight, (name, other) in zip(expected.parameters(), found.named_parameters(), strict=True):
        torch.testing.assert_close(weight, other, msg=name)


def test_the_learning_rate_is_in_proportion_to_the_length() -> None:
    steps: list[tuple[int, LanguageStep]] = []
    settings = replace(QUICK, epochs=2, decay_after=(1,))
    for _ in train_language(
        new_module("t0"), TRAINING, VALIDATION, settings, seed=0,
        on_step=lambda epoch, step: steps.append((epoch, step)),
    ):  # fmt: skip
        pass
    assert len({step.tokens for _, step in steps}) > 3
    for epoch, step in steps:
        peak = 20.0 if epoch == 1 else 2.0
        assert step.learning_rate == pytest.approx(peak * step.tokens / 16 / 10)


def test_the_state_is_carried_from_segment_to_segment() -> None:
    module, _ = trained(replace(QUICK, epochs=2))
    frozen = replace(QUICK, epochs=1, learning_rate=1e-9)
    (report,) = train_language(module, TRAINING, VALIDATION, frozen, seed=0)
    loss = evaluate_language(module, TRAINING, batch_size=16)
    assert report.train_loss == pytest.approx(loss, rel=2e-3)


def losses_of(reports: list[LanguageReport]) -> list[tuple[float, float]]:
    return [(report.train_loss, report.validation_loss) for report in reports]


def test_a_training_follows_its_seed() -> None:
    settings = replace(QUICK, epochs=2, dropout=LockedDropout(hidden=0.2, output=0.2))
    before = torch.random.get_rng_state()
    one, again, other = (losses_of(trained(settings, seed=seed)[1]) for seed in (0, 0, 1))
    assert one == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_is_of_training_alone() -> None:
    dropped = LockedDropout(word=0.5, output=0.5)
    _, (plain,) = trained(replace(QUICK, epochs=1, learning_rate=1e-9))
    _, (noisy,) = trained(replace(QUICK, epochs=1, learning_rate=1e-9, dropout=dropped))
    assert noisy.train_loss != plain.train_loss
    assert noisy.validation_loss == pytest.approx(plain.validation_loss, abs=1e-7)


def test_averaging_begins_when_its_trigger_says_and_the_best_weights_are_kept() -> None:
    settings = replace(QUICK, epochs=12, batch_size=4, patience_epochs=2)
    module = new_module("t0.i1")
    taken: list[list[Tensor]] = [[] for _ in range(settings.epochs)]

    def take(epoch: int, step: LanguageStep) -> None:
        taken[epoch - 1].append(torch.cat([one.detach().flatten() for one in module.parameters()]))

    reports: list[LanguageReport] = []
    for report in train_language(module, NOISE, OTHER_NOISE, settings, seed=0, on_step=take):
        if report.is_averaged:
            averaged = [weights for report in reports if report.is_averaged
                        for weights in taken[report.epoch - 1]]  # fmt: skip
            mean = torch.stack(averaged + taken[report.epoch - 1]).mean(dim=0)
            copy = new_module("t0.i1")
            torch.nn.utils.vector_to_parameters(mean, copy.parameters())
            loss = evaluate_language(copy, OTHER_NOISE, batch_size=10)
            assert report.validation_loss == pytest.approx(loss, rel=1e-4)
            # Training itself goes on from its own weights.
            own = torch.cat([one.detach().flatten() for one in module.parameters()])
            assert torch.equal(own, taken[report.epoch - 1][-1])
        reports.append(report)
    losses = [report.validation_loss for report in reports]
    switch = next(
        epoch for epoch in range(1, 13) if should_average(losses[:epoch], patience_epochs=2)
    )
    assert switch < 10
    assert [report.is_averaged for report in reports] == [
        report.epoch > switch for report in reports
    ]
    best = min(losses)
    assert evaluate_language(module, OTHER_NOISE, batch_size=10) == pytest.approx(best)
    running = np.minimum.accumulate([math.inf, *losses])[:-1]
    assert [report.is_best for report in reports] == list(np.array(losses) < running)


def test_averaging_can_be_left_out() -> None:
    settings = replace(QUICK, epochs=6, batch_size=4, patience_epochs=0)
    reports = train_language(new_module("t0"), NOISE, OTHER_NOISE, settings, seed=0)
    assert not any(report.is_averaged for report in reports)


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy() -> None:
    with pytest.raises(TrainingDiverged, match=r"epoch 1, row \d+.*train with a lower learning"):
        trained(replace(QUICK, learning_rate=1e38))


def test_a_text_that_is_too_short_is_refused_before_training() -> None:
    with pytest.raises(DataUnusable, match="a text of 40 words is too short for 16 columns"):
        trained(QUICK, text=TRAINING[:40])
    reports = train_language(new_module("t0"), TRAINING, VALIDATION[:20], QUICK, seed=0)
    with pytest.raises(DataUnusable, match="a text of 20 words is too short for 10 columns"):
        next(reports)


AVERAGED = replace(
    QUICK,
    epochs=8,
    batch_size=4,
    patience_epochs=2,
    weight_decay=1e-5,
    dropout=LockedDropout(word=0.1, hidden=0.2, output=0.2),
)
"""Of noise: averaging begins after a few epochs."""


def start(module: RecurrentModule, **options: Any) -> Iterator[LanguageReport]:
    return train_language(module, NOISE, OTHER_NOISE, AVERAGED, seed=3, device="cpu", **options)


def is_same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def without_times(reports: list[LanguageReport]) -> list[LanguageReport]:
    return [replace(one, seconds=0.0, tokens_per_second=0.0) for one in reports]


def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    whole = new_module("t0.i1")
    expected = without_times(list(start(whole)))
    switch = [report.is_averaged for report in expected].index(True)
    assert 2 < switch < 7
    for epochs_before in (1, switch - 1, switch, switch + 1, 8):
        path = tmp_path / f"{epochs_before}.safetensors"
        list(islice(start(new_module("t0.i1"), checkpoint=path), epochs_before))
        with pytest.raises(CheckpointUnusable, match="weights of another network"):
            list(start(new_module("s0"), checkpoint=path, resume=True))
        resumed = new_module("t0.i1")
        torch.nn.init.ones_(resumed.embedding)
        torch.manual_seed(123)
        reports = list(start(resumed, checkpoint=path, resume=True))
        assert without_times(reports) == expected[epochs_before:]
        assert is_same(resumed, whole)


KILLED_RUN = """
    import os, signal, sys
    from pathlib import Path
    import torch
    sys.path.insert(0, sys.argv[1])
    from {module} import new_module, start

    torch.set_num_threads(1)

    def die(epoch, step):
        if (epoch, step.rows_done > 60) == ({epoch}, True):
            os.kill(os.getpid(), signal.SIGKILL)

    list(start(new_module("t0.i1"), checkpoint=Path(sys.argv[2]), on_step=die))
"""


@pytest.mark.parametrize("epoch", [2, 7])
def test_a_run_killed_in_mid_epoch_goes_on_from_its_last_whole_epoch(
    tmp_path: Path, epoch: int
) -> None:
    path, here = tmp_path / "state.safetensors", Path(__file__)
    script = textwrap.dedent(KILLED_RUN).format(module=here.stem, epoch=epoch)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(here.parent), str(path)],
        env={**os.environ, "PYTHONPATH": str(here.parents[3])},
        timeout=120,
    )
    assert killed.returncode == -9
    whole, resumed = new_module("t0.i1"), new_module("t0.i1")
    expected = list(start(whole))
    reports = list(start(resumed, checkpoint=path, resume=True))
    assert [report.epoch for report in reports] == list(range(epoch, 9))
    assert without_times(reports) == without_times(expected)[epoch - 1 :]
    assert is_same(whole, resumed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    next(start(new_module("t0.i1"), checkpoint=path))
    others = train_language(
        new_module("t0.i1"), NOISE, OTHER_NOISE, AVERAGED, seed=4, checkpoint=path, resume=True
    )
    with pytest.raises(CheckpointUnusable, match="belongs to a training with"):
        next(others)
    with pytest.raises(ValueError, match="resume needs the checkpoint"):
        next(start(new_module("t0.i1"), resume=True))
    assert len(list(start(new_module("t0.i1"), checkpoint=path))) == 8
