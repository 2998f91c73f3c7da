"""Train candidates on the proxy, in parallel, each at most once in a run's life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from toolchain.executors import Executor
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.module import GraphModule
from toolchain.run_dir import RunDirectory
from toolchain.spaces.space import Space
from toolchain.tasks.classification import ImageSet
from toolchain.train.proxy import ProxyResult, ProxySettings, evaluate_proxy

CANDIDATES = "candidates.jsonl"


class ProxyEvaluator:
    """Callable that trains genotypes and returns them as candidates with their metric.

    What a run's journal already holds is not trained again: that is how a run resumes. Methods
    are deterministic, so a resumed one asks for the same networks, gets the same results and ends
    as if it had never been interrupted.

    Attributes:
        trained: networks trained by this process.
    """

    def __init__(
        self,
        appraiser: Appraiser,
        executor: Executor,
        run: RunDirectory,
        on_candidate: Callable[[Candidate], None] | None = None,
    ) -> None:
        """Take what earlier processes have trained from the run's journal.

        Args:
            appraiser: gives a genotype its costs.
            executor: runs ``train_genotype``; its workers were initialized with ``prepare``.
            run: holds the journal.
            on_candidate: called with each candidate as it becomes known.
        """
        self.trained = 0
        self._appraiser = appraiser
        self._executor = executor
        self._run = run
        self._on_candidate = on_candidate or (lambda _: None)
        self._known = {record["genotype"]: record for record in run.records(CANDIDATES)}
        self._told: set[str] = set()

    def __call__(self, genotypes: Sequence[str]) -> Sequence[Candidate]:
        """Candidates in the order of their genotypes."""
        missing = [one for one in dict.fromkeys(genotypes) if one not in self._known]
        for genotype in genotypes:
            if genotype in self._known:
                self._tell(self._candidate(genotype))
        for index, result in self._executor.map(train_genotype, missing):
            candidate = evaluated(
                self._appraiser.appraise(missing[index]), result.accuracy, _cost(result)
            )
            self._known[candidate.genotype] = candidate.to_json()
            self._run.append(CANDIDATES, candidate.to_json())
            self.trained += 1
            self._tell(candidate)
        return [self._candidate(genotype) for genotype in genotypes]

    def _tell(self, candidate: Candidate) -> None:
        """A method may ask for a network again; it became known but once."""
        if candidate.genotype not in self._told:
            self._told.add(candidate.genotype)
            self._on_candidate(candidate)

    def _candidate(self, genotype: str) -> Candidate:
        record: Mapping[str, Any] = self._known[genotype]
        cost = {name: record[name] for name in ("cpu_s", "epochs", "stopped_because")}
        return evaluated(self._appraiser.appraise(genotype), record["metric"], cost)


@dataclass(frozen=True, kw_only=True)
class ProxyTraining:
    """What a worker process needs to train any genotype.

    Attributes:
        space: decodes genotypes.
        training: images to learn from.
        validation: images to measure on, from the training set too.
        settings: how long and how to train.
        seed: shared by all candidates, so that they meet the same images in the same order.
    """

    space: Space
    training: ImageSet
    validation: ImageSet
    settings: ProxySettings
    seed: int


_prepared: ProxyTraining | None = None


def prepare(training: ProxyTraining) -> None:
    """Get this process ready for ``train_genotype``."""
    global _prepared
    torch.set_num_threads(1)
    _prepared = training


def train_genotype(genotype: str) -> ProxyResult:
    """Accuracy of a genotype after proxy training, in a process that was prepared."""
    assert _prepared is not None, "the executor was made without `prepare` as its initializer"
    return evaluate_proxy(
        GraphModule(_prepared.space.decode(genotype)),
        _prepared.training,
        _prepared.validation,
        _prepared.settings,
        seed=_prepared.seed,
    )


def _cost(result: ProxyResult) -> dict[str, float | int | str]:
    return {
        "cpu_s": round(result.cpu_s, 3),
        "epochs": result.epochs,
        "stopped_because": result.stopped_because,
    }
