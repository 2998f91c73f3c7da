"""AutoShrink: start from the complete DAG and drop the edge that is missed least, again and again.

Source: AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020,
arXiv 1911.09251, figure 2 and the authors' released code. Each step draws K of the cell's edges,
trains the K networks that lack one of them, and goes on from the best. A step is unconditional;
the answer is chosen from the whole walk afterwards.

Two modes; what a ten-fold cost is worth is the space's business (``score``): 0.1 of accuracy for
ShrinkCNN, four of perplexity for ShrinkRNN.

* ``paper``: the cost in the score is MACs as the paper counts them, over a million; the answer is
  the network of the walk with the highest score. The paper's code validates on 1,000 images of
  the test set; here validation images come from the training set, and the test set stays unseen.
* ``budget``: the same walk with the latency over the limit as the cost, so that ten-fold latency
  is worth as much as ten-fold MACs. The answer is the best network trained that is within the
  budget; one that is not is never returned.

The paper's last step would train a cell without edges; here the walk ends at one edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.result import SearchResult, TrajectoryStep
from toolchain.spaces.cell import Cell
from toolchain.spaces.protocol import CellSpace

MODES = ("paper", "budget")
CHOICES = ("score", "random", "dearest")


@dataclass(frozen=True, kw_only=True)
class AutoShrinkSettings:
    """How to walk.

    Attributes:
        mode: ``paper`` or ``budget``.
        candidates_per_step: K, edges compared at each step; 10 in the paper.
        keep_fraction: the walk ends when so few of the edges are left, in [0, 1); in the paper
            0.01 for ShrinkCNN, which is walked to the end, and 0.25 for ShrinkRNN.
        operators: letters of the nodes, kept by the whole walk; drawn when empty.
        choice: which of the networks compared the walk goes on from: that with the highest
            ``score``, as in the paper; a ``random`` one or the one without the ``dearest`` edge,
            which is the cheapest, to see what the score is worth.
    """

    mode: str = "budget"
    candidates_per_step: int = 10
    keep_fraction: float = 0.01
    operators: str = ""
    choice: str = "score"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"AutoShrink's mode is one of {', '.join(MODES)}, got {self.mode!r}")
        if self.choice not in CHOICES:
            raise ValueError(
                f"AutoShrink's choice is one of {', '.join(CHOICES)}, got {self.choice!r}"
            )
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
        ValueError: the space has no cells, budget mode was asked for without a budget, or no edge
            may be dropped.
        GenotypeInvalid: the operators asked for are not the space's, or too many.
        BudgetUnreachable: no network of the walk is within the budget; names the fastest.
    """
    space = appraiser.space
    if not isinstance(space, CellSpace):
        raise ValueError(f"AutoShrink walks spaces of one cell, which {space.name} is not")
    if settings.mode == "budget" and appraiser.budget is None:
        raise ValueError(
            "AutoShrink in budget mode needs a budget in ms: give one, or walk with mode=paper"
        )
    walk = _Walk(appraiser, space, evaluate, settings, rng)
    operators = settings.operators or space.random_operators(rng)
    cell = space.parse(space.complete(operators))
    last_edges = max(1, round(len(cell.edges) * settings.keep_fraction))
    if len(cell.edges) <= last_edges:
        raise ValueError(
            f"AutoShrink has no edge to drop: the complete cell has {len(cell.edges)}, and "
            f"keep_fraction={settings.keep_fraction} keeps {last_edges}; use more nodes or "
            "keep fewer"
        )
    while len(cell.edges) > last_edges:  # ends: every step drops at least one edge
        cell = walk.step(cell)
    return SearchResult(
        best=walk.answer(),
        evaluated=tuple(walk.trained.values()),
        trajectory=tuple(walk.steps),
    )


class _Walk:
    """A walk under way.

    Attributes:
        trained: networks trained so far, by genotype.
        steps: where it went.
    """

    def __init__(
        self,
        appraiser: Appraiser,
        space: CellSpace,
        evaluate: Evaluate,
        settings: AutoShrinkSettings,
        rng: np.random.Generator,
    ) -> None:
        self.trained: dict[str, Candidate] = {}
        self.steps: list[TrajectoryStep] = []
        self._appraiser = appraiser
        self._space = space
        self._evaluate = evaluate
        self._settings = settings
        self._rng = rng

    def step(self, cell: Cell) -> Cell:
        """Compare K one-edge removals and go on from one of them."""
        order = self._rng.permutation(len(cell.edges))
        shrunk = [cell.without(cell.edges[index]) for index in order]
        genotypes = [one.genotype for one in shrunk if one.leaves]
        unique = list(dict.fromkeys(genotypes[: self._settings.candidates_per_step]))
        candidates = self._evaluate(unique)
        self.trained.update((one.genotype, one) for one in candidates)
        scores = [self._score(candidate) for candidate in candidates]
        index = self._choose(candidates, scores)
        chosen = self._space.parse(candidates[index].genotype)
        self.steps.append(
            TrajectoryStep(
                chosen=candidates[index],
                score=scores[index],
                mean_score=float(np.mean(scores)),
                candidates=len(candidates),
                trained=len(self.trained),
                edges=len(chosen.edges),
                within_budget=self._appraiser.admits(candidates[index]),
            )
        )
        return chosen

    def answer(self) -> Candidate:
        """The best network of the walk."""
        if self._settings.mode == "budget":
            return self._appraiser.best(tuple(self.trained.values()))
        within = [step for step in self.steps if step.within_budget]
        if not within:  # raises, naming the fastest
            return self._appraiser.best([step.chosen for step in self.steps])
        return max(within, key=lambda step: (step.score, -step.edges)).chosen

    def _choose(self, candidates: Sequence[Candidate], scores: Sequence[float]) -> int:
        if self._settings.choice == "random":
            return 0  # Their order is drawn.
        if self._settings.choice == "dearest":
            return int(np.argmin([self._decades(one) for one in candidates]))
        return int(np.argmax(scores))

    def _score(self, candidate: Candidate) -> float:
        return self._space.score(candidate.accuracy, self._decades(candidate))

    def _decades(self, candidate: Candidate) -> float:
        if self._settings.mode == "paper":
            return math.log10(self._space.scored_cost(candidate.genotype)) - 6
        budget = self._appraiser.budget
        assert budget is not None, "checked before the walk"
        return math.log10(candidate.p50_ms / budget.limit_ms)
