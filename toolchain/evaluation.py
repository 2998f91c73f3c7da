"""Judge candidates, in parallel, each at most once in a run's life.

How one is judged is the work that processes are prepared with: a short training of its own here,
the weights of a supernet in `supernet_scores.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from toolchain.executors import Executor
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.module import GraphModule
from toolchain.run_dir import RunDirectory
from toolchain.spaces.image_space import ImageSpace
from toolchain.tasks.classification import ImageSet
from toolchain.train.proxy import ProxySettings, evaluate_proxy

CANDIDATES = "candidates.jsonl"


class Judgement(NamedTuple):
    """What judging a genotype gave.

    Attributes:
        metric: more is better.
        cost: what it took, at least ``cpu_s``.
    """

    metric: float
    cost: Mapping[str, float | int | str]


class Work(Protocol):
    """What a process needs to judge any genotype of a space."""

    def judge(self, genotype: str) -> Judgement:
        """How good the network is and what finding out cost."""


class JournaledEvaluator:
    """Callable that judges genotypes and returns them as candidates with their metric.

    What a run's journal already holds is not judged again: that is how a run resumes. Methods
    are deterministic, so a resumed one asks for the same networks, gets the same results and ends
    as if it had never been interrupted.

    Attributes:
        judged: networks judged by this process.
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
            executor: runs ``judge``; its workers were initialized with ``prepare``.
            run: holds the journal.
            on_candidate: called with each candidate as it becomes known.
        """
        self.judged = 0
        self._appraiser = appraiser
        self._executor = executor
        self._run = run
        self._on_candidate = on_candidate or (lambda _: None)
        self._known = {record["genotype"]: record for record in run.records(CANDIDATES)}
        self._told: set[str] = set()

    def __call__(self, genotypes: Sequence[str]) -> Sequence[Candidate]:
        """Candidates in the order of their genotypes."""
        for genotype in genotypes:  # what a table has measured does not depend on the workers
            self._appraiser.appraise(genotype)
        missing = [one for one in dict.fromkeys(genotypes) if one not in self._known]
        for genotype in genotypes:
            if genotype in self._known:
                self._tell(self._candidate(genotype))
        for index, result in self._executor.map(judge, missing):
            candidate = evaluated(
                self._appraiser.appraise(missing[index]), result.metric, result.cost
            )
            self._known[candidate.genotype] = candidate.to_json()
            self._run.append(CANDIDATES, candidate.to_json())
            self.judged += 1
            self._tell(candidate)
        return [self._candidate(genotype) for genotype in genotypes]

    def _tell(self, candidate: Candidate) -> None:
        """A method may ask for a network again; it became known but once."""
        if candidate.genotype not in self._told:
            self._told.add(candidate.genotype)
            self._on_candidate(candidate)

    def _candidate(self, genotype: str) -> Candidate:
        record: Mapping[str, Any] = self._known[genotype]
        candidate = self._appraiser.appraise(genotype)
        known = candidate.to_json()
        cost = {name: value for name, value in record.items() if name not in known}
        return evaluated(candidate, record["metric"], cost)


@dataclass(frozen=True, kw_only=True)
class ProxyTraining:
    """Work: a short training from fresh weights.

    Attributes:
        space: decodes genotypes.
        training: images to learn from.
        validation: images to measure on, from the training set too.
        settings: how long and how to train.
        seed: shared by all candidates, so that they meet the same images in the same order.
    """

    space: ImageSpace
    training: ImageSet
    validation: ImageSet
    settings: ProxySettings
    seed: int

    def judge(self, genotype: str) -> Judgement:
        """See Work: the best validation accuracy."""
        result = evaluate_proxy(
            GraphModule(self.space.decode(genotype)),
            self.training,
            self.validation,
            self.settings,
            seed=self.seed,
        )
        cost = {
            "cpu_s": round(result.cpu_s, 3),
            "epochs": result.epochs,
            "stopped_because": result.stopped_because,
        }
        return Judgement(metric=result.accuracy, cost=cost)


_work: Work | None = None


def prepare(work: Work) -> None:
    """Get this process ready for ``judge``."""
    global _work
    torch.set_num_threads(1)
    _work = work


def judge(genotype: str) -> Judgement:
    """Judge a genotype in a process that was prepared."""
    assert _work is not None, "the executor was made without `prepare` as its initializer"
    return _work.judge(genotype)
