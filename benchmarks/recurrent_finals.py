"""Language models trained at length and alike: what is compared in the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolchain.run_dir import RunDirectory
from toolchain.spaces.gated_network import GatedNetwork
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.tasks.language import load_language
from toolchain.train.language import evaluate_language, perplexity, train_language
from toolchain.train.language_proxy import excerpt
from toolchain.train.language_recipe import LanguageSettings
from toolchain.train.locked_dropout import LockedDropout
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

TEST_COLUMNS = 10
"""In which the texts are read: the first word of each is not scored."""

EPOCHS = "training.jsonl"
RESULT = "test.json"


class Finalist(NamedTuple):
    """One network to train.

    Attributes:
        folder: its run folder.
        name: what figures call it.
        network: what it computes.
        seed: of its weights, its segments and the excerpt of the text.
    """

    folder: Path
    name: str
    network: RecurrentNetwork | GatedNetwork
    seed: int


@dataclass(frozen=True, kw_only=True)
class FinalTraining:
    """How all of them are trained.

    Attributes:
        data: text; None for the Brown corpus.
        vocabulary: words.
        words: of the training text, taken from all over it.
        epochs: passes over them.
        batch_size: columns.
        dropout: share of embeddings, of the cell's input and of its output; states half of it.
    """

    data: Path | None
    vocabulary: int
    words: int
    epochs: int
    batch_size: int
    dropout: float

    @property
    def recipe(self) -> LanguageSettings:
        """SGD with two decays, and averaging where the validation loss stops falling."""
        decays = {max(1, round(part * self.epochs)) for part in (0.6, 0.85)}
        return LanguageSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            decay_after=tuple(sorted(decays)),
            dropout=LockedDropout(
                embedding=self.dropout,
                input=self.dropout,
                hidden=self.dropout / 2,
                output=self.dropout,
            ),
        )

    def result(self, finalist: Finalist) -> dict[str, Any]:
        """Train, go on training, or read what came out; the test text is read at the end."""
        torch.set_num_threads(1)
        network = finalist.network
        identity = {"network": str(network), "seed": finalist.seed, "training": str(self)}
        run = RunDirectory.create(finalist.folder, identity, resume=True)
        if run.has(RESULT):
            return run.read_json(RESULT)
        data = load_language(self.data, self.vocabulary)
        module = RecurrentModule(network)
        initialize_recurrent(module, seed=finalist.seed)
        start_s = time.process_time()
        for one in train_language(
            module,
            excerpt(data.train, self.words, finalist.seed),
            data.validation,
            self.recipe,
            seed=finalist.seed,
            checkpoint=finalist.folder / "checkpoint.safetensors",
            resume=True,
        ):
            run.append(EPOCHS, {**vars(one), "cpu_s": time.process_time() - start_s})
            start_s = time.process_time()
            print(f"{finalist.folder.name}: epoch {one.epoch} of {one.epochs}, validation "
                  f"perplexity {one.validation_perplexity:.1f}", flush=True)  # fmt: skip
        cell = network.kind if isinstance(network, GatedNetwork) else network.cell.genotype
        result = {
            "seed": finalist.seed,
            "name": finalist.name,
            "cell": cell,
            "hidden": network.hidden,
            "params": network.parameters,
            "macs_per_token": network.macs_per_token,
            "validation_perplexity": _perplexity(module, data.validation),
            "test_perplexity": _perplexity(module, data.test),
            "cpu_s": sum(record["cpu_s"] for record in run.records(EPOCHS)),
        }
        run.write_json(RESULT, result)
        return result


def _perplexity(module: RecurrentModule, text: Tensor) -> float:
    return perplexity(evaluate_language(module, text, batch_size=TEST_COLUMNS))
