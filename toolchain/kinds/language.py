"""Language modelling, word by word; see `task.py`.

What is exported is a step: it reads one word and the state, and gives scores of the next word and
the next state. Latencies and costs are therefore of one word.

Shapes: D words of a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from toolchain.atomic import atomic_path
from toolchain.export.artifact import Artifact, save_card
from toolchain.export.quantize_text import quantize_text_artifact
from toolchain.export.recurrent import export_recurrent
from toolchain.export.text_readers import Words
from toolchain.kinds.metric import Metric
from toolchain.kinds.task import OnStep, Record, Task
from toolchain.language_training import LanguageTraining
from toolchain.spaces.protocol import Space
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.language import LanguageData
from toolchain.tasks.text_segments import columns
from toolchain.tasks.vocabulary import Vocabulary
from toolchain.train.epoch import place
from toolchain.train.language import LanguageStep, evaluate_language, perplexity, train_language
from toolchain.train.language_proxy import LanguageProxySettings
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.locked_dropout import LockedDropout
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

PARITY_WORDS = 200
"""Test words on which the exported network is compared with the trained one."""

HELD_OUT_WORDS = 10_000
"""Test words on which int8 and float networks are compared."""

DECAYS = (0.6, 0.85)
"""Shares of the epochs after which the learning rate is divided by ten."""

DROPOUT = LockedDropout(embedding=0.2, input=0.2, hidden=0.1, output=0.2)


@dataclass(frozen=True, eq=False)
class Language(Task):
    """See Task.

    Attributes:
        data: A text in three parts.
    """

    metric: ClassVar = Metric(
        key="perplexity", name="perplexity", is_share=False, is_lower_better=True
    )
    examples: ClassVar = "words"
    default_epochs: ClassVar = 12
    shares_weights: ClassVar = False
    proxies: ClassVar = {
        "quick": LanguageProxySettings.quick,
        "paper": LanguageProxySettings.paper,
    }
    recipes: ClassVar = {"paper": LanguageSettings.paper}

    data: LanguageData

    @classmethod
    def training(cls, epochs: int, *, is_inherited: bool) -> LanguageSettings:
        """See Task."""
        decays = {max(1, round(share * epochs)) for share in DECAYS}
        return LanguageSettings(
            epochs=epochs,
            batch_size=32,
            decay_after=tuple(sorted(epoch for epoch in decays if epoch < epochs)),
            dropout=DROPOUT,
        )

    @property
    def name(self) -> str:
        """See Task."""
        return self.data.name

    def fitted(self, space: Space) -> dict[str, Any]:
        """See Task."""
        _require_words(self.name, space)
        return {"vocabulary": len(self.data.vocabulary)}

    def candidate_training(
        self, space: Space, settings: LanguageProxySettings, seed: int
    ) -> LanguageTraining:
        """See Task."""
        training, validation = settings.draw(self.data, seed=seed)
        columns(training, settings.training.batch_size)  # Too short? Better now than in a worker.
        columns(validation, settings.training.evaluation_batch_size)
        return LanguageTraining(
            space=_require_words(self.name, space),
            training=training,
            validation=validation,
            settings=settings,
            seed=seed,
        )

    def objective(self, seed: int) -> Any:
        """See Task."""
        raise ValueError(
            f"task {self.name} reads words, for which there is no supernet: take --weights own"
        )

    def initialize(self, module: nn.Module, seed: int) -> None:
        """See Task."""
        initialize_recurrent(_recurrent(module), seed=seed)

    def network(self, space: Space, genotype: str) -> RecurrentModule:
        """See Task."""
        return RecurrentModule(_require_words(self.name, space).decode(genotype))

    def train(
        self,
        module: nn.Module,
        settings: LanguageSettings,
        *,
        seed: int,
        checkpoint: Path,
        on_step: OnStep | None = None,
    ) -> Iterator[Record]:
        """See Task."""

        def tell(epoch: int, step: LanguageStep) -> None:
            if on_step is not None:
                done = (epoch - 1) * step.rows + step.rows_done
                on_step(done, settings.epochs * step.rows, step.loss)

        for report in train_language(
            _recurrent(module), self.data.train, self.data.validation, settings,
            seed=seed, checkpoint=checkpoint, resume=True, on_step=tell,
        ):  # fmt: skip
            record = vars(report).copy()
            record["words_per_second"] = record.pop("tokens_per_second")
            yield {**record, "validation_perplexity": report.validation_perplexity}

    def test(self, module: nn.Module) -> Record:
        """See Task."""
        place(module, "auto")
        loss = evaluate_language(_recurrent(module), self.data.test)
        return {"perplexity": perplexity(loss), "words": len(self.data.test) - 1}

    def figure(self, module: nn.Module) -> bytes | None:
        """See Task."""
        return None

    def export(self, module: nn.Module, space: Space, genotype: str, directory: Path) -> Artifact:
        """See Task; the words stand beside the file, whose inputs and outputs are numbers."""
        words_D = self.data.test[: PARITY_WORDS + 1].numpy()
        artifact = export_recurrent(_recurrent(module), words_D, directory)
        known = replace(artifact, vocabulary=f"{artifact.path.stem}.words.txt")
        write_words(directory / str(known.vocabulary), self.data.vocabulary)
        save_card(known)
        return known

    def quantize(self, artifact: Artifact, path: Path, calibration: int, seed: int) -> Artifact:
        """See Task; calibration reads so many words in a row, from a place that is drawn."""
        held_out_D = self.data.test[: HELD_OUT_WORDS + 1].numpy()
        return quantize_text_artifact(artifact, path, self._passage(calibration, seed), held_out_D)

    def _passage(self, words: int, seed: int) -> Words:
        places = max(1, len(self.data.train) - words)
        start = int(np.random.default_rng(seed).integers(places))
        passage_D: Words = self.data.train[start : start + words + 1].numpy()
        return passage_D


def write_words(path: Path, vocabulary: Vocabulary) -> None:
    """Write a text file with a word in each line: the first is the word of number 0."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{word}\n" for word in vocabulary.words), encoding="utf-8")


def _require_words(task: str, space: Space) -> ShrinkRnnSpace:
    if not isinstance(space, ShrinkRnnSpace):
        raise ValueError(
            f"task {task} reads words, and the networks of space {space.name} read images: take "
            "--space shrinkrnn"
        )
    return space


def _recurrent(module: nn.Module) -> RecurrentModule:
    assert isinstance(module, RecurrentModule)
    return module
