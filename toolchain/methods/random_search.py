"""Random search: the baseline that every method is reported beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import BudgetUnreachable
from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.result import SearchResult

TRIES = 2000
"""Draws for one network within the budget before the search gives up."""


@dataclass(frozen=True, kw_only=True)
class RandomSearchSettings:
    """How much to search.

    Attributes:
        evaluations: networks to train.
    """

    evaluations: int = 100

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(f"a search needs at least 1 evaluation, got {self.evaluations}")


def random_search(
    appraiser: Appraiser,
    evaluate: Evaluate,
    settings: RandomSearchSettings,
    rng: np.random.Generator,
) -> SearchResult:
    """Train random networks within the budget, keep the best.

    A small space may hold fewer different networks within the budget than asked for; the search
    then trains those it finds.

    Raises:
        BudgetUnreachable: no draw was within the budget.
    """
    drawn: dict[str, Candidate] = {}
    for _ in range(settings.evaluations * 20):
        if len(drawn) == settings.evaluations:
            break
        try:
            candidate = appraiser.sample_within(rng, TRIES)
        except BudgetUnreachable:
            if not drawn:
                raise
            break
        drawn.setdefault(candidate.genotype, candidate)
    candidates = tuple(evaluate(list(drawn)))
    return SearchResult(best=appraiser.best(candidates), evaluated=candidates)
