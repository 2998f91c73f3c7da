"""SwiftNet searches whose networks are judged by a formula instead of a training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
from judge import Judge
from made_up import middle_ms, model_of

from latency_tables.budget import Budget
from toolchain.methods.candidate import Appraiser
from toolchain.methods.gram import gram
from toolchain.methods.gram_settings import GramSettings
from toolchain.methods.limits import Limits
from toolchain.methods.result import SearchResult
from toolchain.spaces.dag import parse_dags
from toolchain.spaces.swiftnet import SwiftNetSpace

SPACE = SwiftNetSpace(
    nodes=(10, 12), input_shape=(3, 16, 16), stem_channels=4, stem_width=8, widths=(8, 16),
    outputs=(8, 16), max_inputs=3,
)  # fmt: skip
NOISE = 0.004
"""Standard deviation of an accuracy around what the network is worth."""


def worth_of(genotype: str) -> float:
    """Accuracy without noise: grows with nodes and with separable convolutions on a path."""
    worth = 0.6
    for dag in parse_dags(genotype):
        reach = {0: 0}
        for number, operator, sources in dag.nodes:
            reach[number] = (operator == "s") + max(reach[source] for source in sources)
        worth += 0.01 * math.log1p(len(dag.nodes)) + 0.02 * math.log1p(max(reach.values()))
    return worth


def drawn_from(genotype: str, seed: int = 0) -> np.random.Generator:
    """Randomness that is always the same for a genotype."""
    return np.random.default_rng([seed, *hashlib.sha256(genotype.encode()).digest()[:8]])


def noisy_worth(seed: int, noise: float = NOISE) -> Callable[[str], float]:
    return lambda genotype: worth_of(genotype) + drawn_from(genotype, seed).normal(0, noise)


def appraiser_of(
    space: SwiftNetSpace = SPACE, share: float | None = 1.0, limits: Limits | None = None
) -> Appraiser:
    """With a budget that is a share of the middle latency; None for no table and no budget."""
    if share is None:
        return Appraiser(space=space, limits=limits or Limits())
    budget = Budget(limit_ms=share * middle_ms(space))
    return Appraiser(space=space, model=model_of(space), budget=budget, limits=limits or Limits())


def search(
    settings: GramSettings,
    appraiser: Appraiser | None = None,
    *,
    seed: int = 0,
    accuracy: Callable[[str], float] = worth_of,
) -> tuple[SearchResult, list[list[str]]]:
    """The result, and the genotypes of each call to evaluate."""
    appraiser = appraiser or appraiser_of()
    judge = Judge(appraiser, accuracy)
    return gram(appraiser, judge, settings, np.random.default_rng(seed)), judge.asked
