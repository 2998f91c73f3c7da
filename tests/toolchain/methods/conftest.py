"""Searches whose networks are judged by a formula instead of a training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from judge import Judge, accuracy_of
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.methods.candidate import Appraiser
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

SPACE = ShrinkCnnSpace()


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
