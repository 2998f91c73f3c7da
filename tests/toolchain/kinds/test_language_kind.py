from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.config import make_proxy
from toolchain.errors import DataUnusable
from toolchain.export.artifact import load_card
from toolchain.kinds.language import Language, write_words
from toolchain.kinds.table import make_task_settings, open_task
from toolchain.settings import override
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.language import LanguageData
from toolchain.tasks.vocabulary import Vocabulary
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.recurrent import RecurrentModule

WORDS = 9
SPACE = ShrinkRnnSpace(nodes=3, hidden=6, vocabulary=WORDS)
GENOTYPE = "t0.r01"
RECIPE = override(Language.training(2, is_inherited=False), {"batch_size": 8})


def numbers(words: int, seed: int) -> torch.Tensor:
    """Each word is the one before plus one or two."""
    steps = np.random.default_rng(seed).integers(1, 3, words)
    return torch.from_numpy(steps.cumsum() % WORDS)


@pytest.fixture(scope="module")
def task() -> Language:
    vocabulary = Vocabulary(words=("<unk>", "<eos>", "é", *"abcdef"))
    parts = {"train": (4000, 0), "validation": (500, 1), "test": (600, 2)}
    texts = {part: numbers(*drawn) for part, drawn in parts.items()}
    return Language(LanguageData(name="steps", vocabulary=vocabulary, **texts))


def fresh(task: Language) -> RecurrentModule:
    module = task.network(SPACE, GENOTYPE)
    task.initialize(module, 3)
    return module


@pytest.fixture(scope="module")
def trained(task: Language, tmp_path_factory: pytest.TempPathFactory) -> RecurrentModule:
    module = fresh(task)
    state = tmp_path_factory.mktemp("trained") / "state"
    list(task.train(module, RECIPE, seed=3, checkpoint=state))
    return module


def test_the_space_gets_as_many_words_as_the_text_has(task: Language) -> None:
    assert task.fitted(ShrinkRnnSpace()) == {"vocabulary": WORDS}
    with pytest.raises(ValueError, match="space shrinkcnn read images: take --space shrinkrnn"):
        task.fitted(ShrinkCnnSpace())


def test_candidates_are_judged_the_same_twice_and_never_worse_than_knowing_nothing(
    task: Language,
) -> None:
    changes = {"training.epochs": 1, "training.batch_size": 8, "train_words": 2000}
    work = task.candidate_training(SPACE, make_proxy(Language, "quick", changes), seed=1)
    assert len(work.training) == 2000
    first, again = work.judge(GENOTYPE), work.judge(GENOTYPE)
    assert first.metric == again.metric
    assert -WORDS <= first.metric < -1
    assert Language.metric.value(first.metric) == first.cost["perplexity"]


def test_a_text_too_short_for_its_columns_is_told_before_any_worker_starts(
    task: Language,
) -> None:
    for name in ("training.batch_size", "training.evaluation_batch_size"):
        settings = make_proxy(Language, "quick", {name: 2000})
        with pytest.raises(DataUnusable, match="too short for 2000 columns"):
            task.candidate_training(SPACE, settings, seed=0)


def test_a_stopped_training_goes_on_to_the_same_weights(
    task: Language, trained: RecurrentModule, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    module, state = fresh(task), tmp_path / "state"
    stopped = task.train(
        module, RECIPE, seed=3, checkpoint=state,
        on_step=lambda done, steps, loss: told.append((done, steps)),
    )  # fmt: skip
    first = next(iter(stopped))
    assert (first["epoch"], first["epochs"]) == (1, 2)
    assert first["validation_perplexity"] == pytest.approx(np.exp(first["validation_loss"]))
    assert {"train_loss", "learning_rate", "seconds", "words_per_second"} < set(first)
    rows = 4000 // 8 - 1
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] in (rows - 1, rows)  # a last row alone is no segment
    assert {steps for _, steps in told} == {2 * rows}
    resumed = fresh(task)
    (last,) = task.train(resumed, RECIPE, seed=3, checkpoint=state)
    assert last["epoch"] == 2
    for name, value in trained.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_test_scores_every_word_but_the_first(
    task: Language, trained: RecurrentModule
) -> None:
    result = task.test(trained)
    assert result["words"] == 599
    state, surprise = trained.initial_state(1), 0.0
    with torch.no_grad():
        for word, following in pairwise(task.data.test.tolist()):
            scores, state = trained.step(torch.tensor([word]), state)
            surprise -= float(scores.log_softmax(dim=1)[0, following])
    assert result["perplexity"] == pytest.approx(np.exp(surprise / 599), rel=1e-5)
    assert task.figure(trained) is None


def test_the_words_stand_beside_the_file_and_go_where_it_goes(
    task: Language, trained: RecurrentModule, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    artifact = task.export(trained, SPACE, GENOTYPE, tmp_path / "run")
    assert load_card(artifact.path) == artifact
    assert artifact.genotype == GENOTYPE
    assert str(tmp_path / "run" / "network.words.txt") in artifact.summary()
    int8 = task.quantize(artifact, tmp_path / "run" / "network.int8.tflite", 100, seed=0)
    assert int8.vocabulary == artifact.vocabulary == "network.words.txt"
    report = int8.quantization
    assert report is not None
    assert (report.calibration_images, report.images, report.float_ops) == (100, 599, ())
    assert report.float_accuracy == pytest.approx(task.test(trained)["perplexity"], rel=1e-4)
    (tmp_path / "phone").mkdir()
    copy = int8.copy_to(tmp_path / "phone" / "words.tflite")
    assert load_card(copy.path).vocabulary == "words.words.txt"
    lines = (tmp_path / "phone" / "words.words.txt").read_text(encoding="utf-8")
    assert tuple(lines.splitlines()) == task.data.vocabulary.words


def test_a_calibration_longer_than_the_text_takes_the_whole_text(
    task: Language, trained: RecurrentModule, tmp_path: Path
) -> None:
    artifact = task.export(trained, SPACE, GENOTYPE, tmp_path)
    int8 = task.quantize(artifact, tmp_path / "network.int8.tflite", 10**6, seed=0)
    assert int8.quantization is not None
    assert int8.quantization.calibration_images == 3999


def test_words_are_written_one_in_each_line(tmp_path: Path) -> None:
    write_words(tmp_path / "words.txt", Vocabulary(words=("<unk>", "naïve", "#")))
    assert (tmp_path / "words.txt").read_bytes() == "<unk>\nnaïve\n#\n".encode()


def test_the_rate_decays_within_the_epochs_only() -> None:
    decays = {epochs: Language.training(epochs, is_inherited=False).decay_after
              for epochs in (1, 2, 3, 12)}  # fmt: skip
    assert decays == {1: (), 2: (1,), 3: (2,), 12: (7, 10)}
    with pytest.raises(ValueError, match="epochs 0 is out of range"):
        Language.training(0, is_inherited=False)
    paper = Language.recipes["paper"]
    assert paper() == LanguageSettings.paper()
    assert (paper().epochs, paper(5).epochs) == (3000, 5)


def test_networks_of_words_share_no_weights(task: Language) -> None:
    with pytest.raises(ValueError, match="no supernet: take --weights own"):
        task.objective(0)


@pytest.mark.parametrize("layout", ["{}.txt", "ptb.{}.txt", "wiki.{}.tokens"])
def test_a_folder_of_each_layout_is_a_task(layout: str, tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        (tmp_path / layout.format(part)).write_text("a b a c\nb a\n")
    task = open_task("text-folder", tmp_path)
    assert isinstance(task, Language)
    assert task.name == tmp_path.name
    assert task.data.vocabulary.words == ("<unk>", "a", "<eos>", "b", "c")
    few = open_task(
        "text-folder", tmp_path, None, make_task_settings("text-folder", {"vocabulary": 3})
    )
    assert isinstance(few, Language)
    assert len(few.data.vocabulary) == 3


def test_brown_keeps_ten_thousand_words_unless_told_otherwise() -> None:
    assert asdict(make_task_settings("brown", {})) == {"vocabulary": 10_000}
    assert asdict(make_task_settings("text-folder", {})) == {"vocabulary": 0}
    with pytest.raises(ValueError, match="2 or more, or 0 for all words, got 1"):
        make_task_settings("brown", {"vocabulary": 1})
