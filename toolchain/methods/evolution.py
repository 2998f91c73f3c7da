"""Regularized evolution: mutate the best of a few, and let the oldest die.

Source: Regularized Evolution for Image Classifier Architecture Search, AAAI 2019,
arXiv 1802.01548, algorithm 1 (aging evolution). Here the children of a round are bred from the
same population, so that they can be trained in parallel, and a child is always a network that
was not trained before: each evaluation asked for is one network more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.random_search import draw_within
from toolchain.methods.result import SearchResult

TRIES = 500
"""Mutations for one child that is new and within the budget."""


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """How to breed.

    Attributes:
        evaluations: networks to train, the first population's included.
        population: networks that live at a time; 100 in the paper, which trains 20,000.
        sample: networks that compete for a child, drawn with replacement; 25 in the paper. With
            so few evaluations a larger share of the population found more (made-up objectives).
        children_per_round: children bred before any of them is trained; 1 in the paper.
    """

    evaluations: int = 100
    population: int = 20
    sample: int = 10
    children_per_round: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.population <= self.evaluations:
            raise ValueError(
                "evolution needs 1 <= population <= evaluations, got "
                f"{self.population} and {self.evaluations}"
            )
        if self.sample < 1 or self.children_per_round < 1:
            raise ValueError(
                "sample and children_per_round must be at least 1, got "
                f"{self.sample} and {self.children_per_round}"
            )


def evolution(
    appraiser: Appraiser,
    evaluate: Evaluate,
    settings: EvolutionSettings,
    rng: np.random.Generator,
) -> SearchResult:
    """Evolve a population within the budget; the answer is the best network trained.

    A small space may hold fewer different networks within the budget than asked for; the search
    ends when a round finds no new one.

    Raises:
        BudgetUnreachable: no draw for the first population was within the budget.
    """
    first = evaluate(draw_within(appraiser, settings.population, rng))
    trained = {one.genotype: one for one in first}
    living = deque(first, maxlen=settings.population)
    while len(trained) < settings.evaluations:  # ends: each round trains a new network
        room = settings.evaluations - len(trained)
        count = min(settings.children_per_round, room)
        genotypes = _breed(count, living, trained, appraiser, settings.sample, rng)
        if not genotypes:
            break
        children = evaluate(genotypes)
        trained.update((one.genotype, one) for one in children)
        living.extend(children)
    candidates = tuple(trained.values())
    return SearchResult(best=appraiser.best(candidates), evaluated=candidates)


def _breed(
    count: int,
    living: Sequence[Candidate],
    known: Container[str],
    appraiser: Appraiser,
    sample: int,
    rng: np.random.Generator,
) -> list[str]:
    """At most so many different children of the winners of as many tournaments."""
    children: list[str] = []
    for _ in range(count):
        competitors = [living[index] for index in rng.integers(len(living), size=sample)]
        winner = max(competitors, key=lambda one: (one.accuracy, -one.macs, one.genotype))
        child = _child(winner, known, children, appraiser, rng)
        if child is not None:
            children.append(child)
    return children


def _child(
    parent: Candidate,
    known: Container[str],
    siblings: Container[str],
    appraiser: Appraiser,
    rng: np.random.Generator,
) -> str | None:
    """A mutant within the budget that is new; None when no try led to one.

    Where a mutation leads to a network that is known, the next starts from there.
    """
    genotype = parent.genotype
    for _ in range(TRIES):
        mutant = appraiser.space.mutate(genotype, rng)
        if not appraiser.is_worth_training(appraiser.appraise(mutant)):
            continue
        if mutant not in known and mutant not in siblings:
            return mutant
        genotype = mutant
    return None
