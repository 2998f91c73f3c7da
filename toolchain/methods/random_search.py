"""Random search: the baseline that every method is reported beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import BudgetUnreachable
from toolchain.methods.candidate import Appraiser, Evaluate
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
    candidates = tuple(evaluate(draw_within(appraiser, settings.evaluations, rng)))
    return SearchResult(best=appraiser.best(candidates), evaluated=candidates)


def draw_within(appraiser: Appraiser, count: int, rng: np.random.Generator) -> list[str]:
    """So many different random genotypes within the budget; fewer where no more are found.

    Raises:
        BudgetUnreachable: no draw was within the budget.
    """
    drawn: dict[str, None] = {}
    for _ in range(count * 20):
        if len(drawn) == count:
            break
        try:
            drawn[appraiser.sample_within(rng, TRIES).genotype] = None
        except BudgetUnreachable:
            if not drawn:
                raise
            break
    return list(drawn)
