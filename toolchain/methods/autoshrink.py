"""AutoShrink: start from the complete DAG and drop the edge that is missed least, again and again.

Source: AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020,
arXiv 1911.09251, figure 2 and the authors' released code. Each step draws K of the cell's edges,
trains the K networks that lack one of them, and goes on from the best. A step is unconditional;
the answer is chosen from the whole walk afterwards.

Two modes:

* ``paper``: the score is accuracy - 0.1 (log10 MACs - 6), the answer the network of the walk with
  the highest score. The paper's code validates on 1,000 images of the test set; here validation
  images come from the training set, and the test set stays unseen.
* ``budget``: the same walk with latency in the score, accuracy - 0.1 log10(ms / limit), so that
  ten-fold latency costs 0.1 accuracy as ten-fold MACs does in the paper. The answer is the most
  accurate network trained that is within the budget; one that is not is never returned.

The paper's last step would train a cell without edges; here the walk ends at one edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.result import SearchResult, TrajectoryStep
from toolchain.spaces.shrinkcnn import Cell, ShrinkCnnSpace, parse_cell

MODES = ("paper", "budget")
COST_WEIGHT = 0.1
"""Accuracy that a ten-fold cost is worth."""


@dataclass(frozen=True, kw_only=True)
class AutoShrinkSettings:
    """How to walk.

    Attributes:
        mode: ``paper`` or ``budget``.
        candidates_per_step: K, edges compared at each step; 10 in the paper.
        keep_fraction: the walk ends when so few of the edges are left, in [0, 1); 0.01 in the
            paper, which walks to the end.
    """

    mode: str = "budget"
    candidates_per_step: int = 10
    keep_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"AutoShrink's mode is one of {', '.join(MODES)}, got {self.mode!r}")
        if self.candidates_per_step < 1:
            raise ValueError(f"K must be at least 1, got {self.candidates_per_step}")
        if not 0 <= self.keep_fraction < 1:
            raise ValueError(f"keep_fraction lies in [0, 1), got {self.keep_fraction}")


def autoshrink(
    appraiser: Appraiser,
    evaluate: Evaluate,
    settings: AutoShrinkSettings,
    rng: np.random.Generator,
) -> SearchResult:
    """Walk from the complete DAG to the smallest cell and pick the best network of the walk.

    Raises:
        ValueError: the space is not ShrinkCNN's, budget mode was asked for without a budget, or
            no edge may be dropped.
        BudgetUnreachable: no network of the walk is within the budget; names the fastest.
    """
    space = appraiser.space
    if not isinstance(space, ShrinkCnnSpace):
        raise ValueError(f"AutoShrink walks the ShrinkCNN space, not {space.name}")
    if settings.mode == "budget" and appraiser.budget is None:
        raise ValueError("AutoShrink in budget mode needs a budget in ms")
    cell = parse_cell(space.complete(space.shuffled_operators(rng)))
    last_edges = max(1, round(len(cell.edges) * settings.keep_fraction))
    if len(cell.edges) <= last_edges:
        raise ValueError(
            f"AutoShrink has no edge to drop: the complete cell has {len(cell.edges)}, and "
            f"keep_fraction={settings.keep_fraction} keeps {last_edges}; use more nodes or "
            "keep fewer"
        )
    trained: dict[str, Candidate] = {}
    steps: list[TrajectoryStep] = []
    while len(cell.edges) > last_edges:  # ends: every step drops at least one edge
        step = _step(cell, appraiser, evaluate, settings, rng, trained)
        steps.append(step)
        cell = parse_cell(step.chosen.genotype)
    return SearchResult(
        best=_answer(steps, trained, appraiser, settings),
        evaluated=tuple(trained.values()),
        trajectory=tuple(steps),
    )


def _step(
    cell: Cell,
    appraiser: Appraiser,
    evaluate: Evaluate,
    settings: AutoShrinkSettings,
    rng: np.random.Generator,
    trained: dict[str, Candidate],
) -> TrajectoryStep:
    """Compare K one-edge removals and take the best."""
    order = rng.permutation(len(cell.edges))
    shrunk = [cell.without(cell.edges[index]) for index in order]
    genotypes = [one.genotype for one in shrunk if one.leaves][: settings.candidates_per_step]
    unique = list(dict.fromkeys(genotypes))
    candidates = evaluate(unique)
    trained.update((one.genotype, one) for one in candidates)
    scores = [_score(candidate, appraiser, settings) for candidate in candidates]
    best = int(np.argmax(scores))
    return TrajectoryStep(
        chosen=candidates[best],
        score=scores[best],
        mean_score=float(np.mean(scores)),
        candidates=len(candidates),
        trained=len(trained),
        edges=len(parse_cell(candidates[best].genotype).edges),
        within_budget=appraiser.admits(candidates[best]),
    )


def _score(candidate: Candidate, appraiser: Appraiser, settings: AutoShrinkSettings) -> float:
    if settings.mode == "paper":
        return candidate.accuracy - COST_WEIGHT * (math.log10(candidate.macs) - 6)
    assert appraiser.budget is not None, "checked before the walk"
    return candidate.accuracy - COST_WEIGHT * math.log10(
        candidate.p50_ms / appraiser.budget.limit_ms
    )


def _answer(
    steps: list[TrajectoryStep],
    trained: dict[str, Candidate],
    appraiser: Appraiser,
    settings: AutoShrinkSettings,
) -> Candidate:
    if settings.mode == "budget":
        return appraiser.best(tuple(trained.values()))
    within = [step for step in steps if step.within_budget]
    if not within:
        return appraiser.best([step.chosen for step in steps])  # raises, naming the fastest
    return max(within, key=lambda step: (step.score, -step.edges)).chosen
