"""Searches whose networks are judged by a formula instead of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from judge import Judge
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.methods.candidate import Appraiser
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ShrinkCnnSpace()


def accuracy_of(genotype: str) -> float:
    """In [0.5, 0.9), as good as random and always the same."""
    digest = hashlib.sha256(genotype.encode()).digest()
    return 0.5 + 0.4 * int.from_bytes(digest[:4], "big") / 2**32


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
