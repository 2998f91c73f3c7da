"""What the parts of the benchmark of recurrent cells share: text, proxy, searches."""

from __future__ import annotations

import argparse
import math
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from run_folders import host_table
from torch import Tensor

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from toolchain.evaluation import JournaledEvaluator, prepare
from toolchain.executors import ProcessExecutor
from toolchain.language_training import LanguageTraining
from toolchain.methods.autoshrink import AutoShrinkSettings, autoshrink
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.random_search import RandomSearchSettings, random_search
from toolchain.methods.result import SearchResult
from toolchain.run_dir import RunDirectory
from toolchain.settings import override
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.tasks.language import LanguageData, load_language
from toolchain.train.checkpoint import load_weights, save_weights
from toolchain.train.language_proxy import LanguageProxySettings, evaluate_language_proxy
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

KEEP_FRACTION = 0.25
"""Of the edges, at which the paper's walk of a recurrent cell ends."""


class Bench:
    """Text, space and proxy of all parts, and how candidates are judged.

    Attributes:
        options: of the command line.
        data: the text.
        space: of the cells.
        proxy: training of candidates.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.data: LanguageData = load_language(options.data, options.vocabulary)
        self.space = ShrinkRnnSpace(hidden=options.hidden, vocabulary=len(self.data.vocabulary))
        decay = (options.epochs - 1,) if options.epochs > 1 else ()
        self.proxy = override(
            LanguageProxySettings.quick(),
            {
                "train_words": options.train_words,
                "validation_words": options.validation_words,
                "training.epochs": options.epochs,
                "training.batch_size": options.batch_size,
                "training.evaluation_batch_size": options.batch_size,
                "training.decay_after": decay,
            },
        )

    @cached_property
    def appraiser(self) -> Appraiser:
        """Counts; with this machine's table where there is a budget."""
        if self.options.budget_ms is None:
            return Appraiser(space=self.space)
        table = host_table(self.space, self.options.folder / "host.table")
        budget = Budget(limit_ms=self.options.budget_ms)
        return Appraiser(space=self.space, model=LatencyModel(table), budget=budget)

    @property
    def mode(self) -> str:
        """AutoShrink's."""
        return "paper" if self.options.budget_ms is None else "budget"

    def operators(self, seed: int) -> str:
        """Activations that all walks of a seed keep."""
        return self.space.random_operators(np.random.default_rng(seed))

    def complete(self, seed: int) -> str:
        """Where all walks of a seed begin."""
        return self.space.complete(self.operators(seed))

    def work(
        self, seed: int, *, inherits: bool, training_seed: int | None = None
    ) -> LanguageTraining:
        """How candidates of a seed are judged; the texts are the seed's."""
        training, validation = self.proxy.draw(self.data, seed=seed)
        return LanguageTraining(
            space=self.space,
            training=training,
            validation=validation,
            settings=self.proxy,
            seed=seed if training_seed is None else training_seed,
            inherited=self._complete_weights(seed, training, validation) if inherits else None,
        )

    def evaluator(self, name: str, work: LanguageTraining, executor: ProcessExecutor) -> Any:
        """Judges candidates, each once for each folder."""
        identity = {
            "vocabulary": self.space.vocabulary,
            "hidden": self.space.hidden,
            "proxy": str(work.settings),
            "seed": work.seed,
        }
        run = RunDirectory.create(self.options.folder / name, identity, resume=True)
        return JournaledEvaluator(self.appraiser, executor, run, partial(_tell, name))

    def executor(self, work: LanguageTraining) -> ProcessExecutor:
        """Processes for it."""
        return ProcessExecutor(self.options.workers, partial(prepare, work))

    def _complete_weights(
        self, seed: int, training: Tensor, validation: Tensor
    ) -> dict[str, Tensor]:
        """The complete cell's, trained as long as a candidate is."""
        path = self.options.folder / f"complete-{seed}.safetensors"
        module = RecurrentModule(self.space.decode(self.complete(seed)))
        if path.exists():
            load_weights(path, module)
        else:
            torch.set_num_threads(1)
            initialize_recurrent(module, seed=seed)
            evaluate_language_proxy(module, training, validation, self.proxy, seed=seed)
            save_weights(path, module, {"genotype": self.complete(seed)})
        return module.state_dict()


def walk(
    bench: Bench, evaluator: JournaledEvaluator, seed: int, choice: str, candidates: int
) -> SearchResult:
    """AutoShrink from the seed's complete cell."""
    settings = AutoShrinkSettings(
        mode=bench.mode,
        candidates_per_step=candidates,
        keep_fraction=KEEP_FRACTION,
        operators=bench.operators(seed),
        choice=choice,
    )
    return autoshrink(bench.appraiser, evaluator, settings, np.random.default_rng(seed))


def draw(bench: Bench, evaluator: JournaledEvaluator, seed: int, evaluations: int) -> SearchResult:
    """Random search: random edges and random activations."""
    settings = RandomSearchSettings(evaluations=evaluations)
    return random_search(bench.appraiser, evaluator, settings, np.random.default_rng(seed))


def score(bench: Bench, candidate: Candidate) -> float:
    """The paper's."""
    decades = math.log10(bench.space.scored_cost(candidate.genotype)) - 6
    return bench.space.score(candidate.accuracy, decades)


def best(bench: Bench, found: SearchResult) -> Candidate:
    """The answer; without a budget the best score of all, whichever way the walk went on."""
    if bench.appraiser.budget is not None:
        return found.best
    return max(found.evaluated, key=partial(score, bench))


def described(bench: Bench, found: SearchResult) -> dict[str, Any]:
    """The best network of a search and what finding it cost."""
    one = best(bench, found)
    return {
        "genotype": one.genotype,
        "edges": len(bench.space.parse(one.genotype).edges),
        "perplexity": -one.accuracy,
        "score": score(bench, one),
        "predicted_ms": one.latency.p50_ms if one.latency else None,
        "evaluations": len(found.evaluated),
        "cpu_s": sum(float(each.cost["cpu_s"]) for each in found.evaluated),
    }


def journal(bench: Bench, seed: int) -> str:
    """Name of the folder of a seed's candidates."""
    return f"heirs-{seed}" if bench.options.inherit else f"candidates-{seed}"


def _tell(name: str, candidate: Candidate) -> None:
    print(f"{name}: {candidate.genotype} {-candidate.accuracy:.1f}", flush=True)
