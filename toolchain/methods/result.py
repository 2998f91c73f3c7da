"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolchain.methods.candidate import Candidate
from toolchain.methods.meta_graph import MetaGraph


@dataclass(frozen=True, kw_only=True)
class TrajectoryStep:
    """One step of a method that walks from network to network.

    Attributes:
        chosen: where the step led.
        score: of the chosen candidate.
        mean_score: over the step's candidates.
        candidates: how many were compared.
        trained: networks trained by then, since the search began.
        edges: edges of the chosen network's cell, or of all its stages.
        within_budget: whether the chosen network is.
    """

    chosen: Candidate
    score: float
    mean_score: float
    candidates: int
    trained: int
    edges: int
    within_budget: bool

    def to_json(self) -> dict[str, Any]:
        """One flat record."""
        return {
            "genotype": self.chosen.genotype,
            "metric": self.chosen.metric,
            "p50_ms": self.chosen.latency.p50_ms if self.chosen.latency else None,
            "macs": self.chosen.macs,
            "score": self.score,
            "mean_score": self.mean_score,
            "candidates": self.candidates,
            "trained": self.trained,
            "edges": self.edges,
            "within_budget": self.within_budget,
        }


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The network found and how.

    Attributes:
        best: the answer; within the budget, whatever the method.
        evaluated: every candidate trained, in the order asked for.
        trajectory: the walk, for methods that walk.
        meta_graph: what was learned about edges, for methods that learn that; other budgets'
            networks are pruned from it.
    """

    best: Candidate
    evaluated: tuple[Candidate, ...]
    trajectory: tuple[TrajectoryStep, ...] = ()
    meta_graph: MetaGraph | None = None
