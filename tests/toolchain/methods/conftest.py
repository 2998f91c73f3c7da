"""Searches whose networks are judged by a formula instead of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.methods.candidate import Appraiser, Candidate, evaluated
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ShrinkCnnSpace()


def accuracy_of(genotype: str) -> float:
    """In [0.5, 0.9), as good as random and always the same."""
    digest = hashlib.sha256(genotype.encode()).digest()
    return 0.5 + 0.4 * int.from_bytes(digest[:4], "big") / 2**32


class Judge:
    """What searches call to evaluate genotypes.

    Attributes:
        asked: genotypes of each call.
    """

    def __init__(self, appraiser: Appraiser, accuracy: Callable[[str], float]) -> None:
        self.asked: list[list[str]] = []
        self._appraiser = appraiser
        self._accuracy = accuracy

    def __call__(self, genotypes: Sequence[str]) -> list[Candidate]:
        self.asked.append(list(genotypes))
        return [
            evaluated(self._appraiser.appraise(one), self._accuracy(one), {"cpu_s": 1.0})
            for one in genotypes
        ]


MakeJudge = Callable[..., tuple[Appraiser, Judge]]


@pytest.fixture(scope="session")
def limit_ms() -> float:
    return middle_ms(SPACE)


@pytest.fixture(scope="session")
def make_judge() -> MakeJudge:
    model = model_of(SPACE)

    def make(
        limit_ms: float | None = None, accuracy: Callable[[str], float] = accuracy_of
    ) -> tuple[Appraiser, Judge]:
        budget = None if limit_ms is None else Budget(limit_ms=limit_ms)
        appraiser = Appraiser(space=SPACE, model=model, budget=budget)
        return appraiser, Judge(appraiser, accuracy)

    return make
