"""A candidate network: what it costs, known before training, and how well it does, known after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from latency_tables.budget import Budget, Latency
from latency_tables.model import LatencyModel
from latency_tables.precision import network_in
from toolchain.errors import BudgetUnreachable
from toolchain.methods.limits import Limits
from toolchain.spaces.protocol import Space


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network of a search.

    Attributes:
        genotype: which one.
        latency: predicted, of one image or one word; None when the search has no table.
        macs: multiply-accumulates.
        params: parameters, batch norm excluded.
        memory_bytes: peak memory of activations in float32.
        metric: how good it is after proxy training, the more the better, and None before it:
            validation accuracy in [0, 1]; of a language model the negative perplexity.
        cost: what the evaluation took: CPU seconds, epochs.
    """

    genotype: str
    latency: Latency | None
    macs: int
    params: int
    memory_bytes: int
    metric: float | None = None
    cost: Mapping[str, float | int | str] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """The metric, whatever it is, of a candidate that has been evaluated."""
        assert self.metric is not None, f"{self.genotype} has not been evaluated"
        return self.metric

    @property
    def p50_ms(self) -> float:
        """Predicted median latency of a candidate of a search with a table."""
        assert self.latency is not None, f"{self.genotype} has no latency: no table was given"
        return self.latency.p50_ms

    def to_json(self) -> dict[str, Any]:
        """One flat record."""
        return {
            "genotype": self.genotype,
            "metric": self.metric,
            "p50_ms": self.latency.p50_ms if self.latency else None,
            "p95_ms": self.latency.p95_ms if self.latency else None,
            "doubt": round(self.latency.doubt, 4) if self.latency else None,
            "macs": self.macs,
            "params": self.params,
            "memory_bytes": self.memory_bytes,
            **self.cost,
        }


Evaluate = Callable[[Sequence[str]], Sequence[Candidate]]
"""Trains networks on the proxy and returns them with their metric, in the order asked."""


@dataclass(frozen=True, kw_only=True)
class Appraiser:
    """Says what a network costs without training it, and whether that is within the budget.

    Attributes:
        space: where genotypes come from.
        model: predicts latencies; None for a search by MACs alone.
        budget: the hard limit on latency; None for none.
        limits: hard limits on everything else.
    """

    space: Space
    model: LatencyModel | None = None
    budget: Budget | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.budget is not None and self.model is None:
            raise ValueError("a budget in ms needs a latency table")

    def appraise(self, genotype: str) -> Candidate:
        """The candidate of a genotype, not yet evaluated.

        Raises:
            GenotypeInvalid: the text is no genotype of the space.
            KernelMissing: the table lacks a kernel of the network.
        """
        latency = self._predict(self.model, genotype) if self.model else None
        counts = self.space.counts(genotype)
        return Candidate(
            genotype=genotype,
            latency=latency,
            macs=counts.macs,
            params=counts.params,
            memory_bytes=counts.peak_memory_bytes,
        )

    def admits(self, candidate: Candidate) -> bool:
        """Whether the candidate is within budget and limits; always, when there are none."""
        if not self._keeps_limits(candidate):
            return False
        if self.budget is None:
            return True
        assert candidate.latency is not None, "a budget comes with a model"
        return self.budget.admits(candidate.latency)

    def is_worth_training(self, candidate: Candidate) -> bool:
        """Whether the candidate is within budget and limits, and uses its share of the budget."""
        if not self.admits(candidate):
            return False
        if self.budget is None:
            return True
        assert candidate.latency is not None, "a budget comes with a model"
        return self.budget.is_filled(candidate.latency)

    def require_reachable(self) -> None:
        """Check, before anything is trained, that some network of the space is within the budget.

        Raises:
            BudgetUnreachable: not even the fastest of the space's witnesses is.
        """
        if self.budget is None and self.limits == Limits():
            return
        seen = [self.appraise(genotype) for genotype in self.space.witnesses()]
        if not any(self.admits(candidate) for candidate in seen):
            raise self.unreachable(seen)

    def sample_within(self, rng: np.random.Generator, tries: int) -> Candidate:
        """A random network within the budget that uses its share of it.

        Raises:
            BudgetUnreachable: none of ``tries`` draws was; names the fastest of them.
        """
        seen = []
        for _ in range(tries):
            candidate = self.appraise(self.space.sample(rng))
            if self.is_worth_training(candidate):
                return candidate
            seen.append(candidate)
        raise self.unreachable(seen)

    def is_doubtful(self, candidate: Candidate) -> bool:
        """Whether the table knows much less of the candidate than of what it was calibrated on."""
        return (
            self.model is not None
            and candidate.latency is not None
            and self.model.is_doubtful(candidate.latency)
        )

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """The most accurate evaluated candidate within the budget; of equals the cheapest.

        Raises:
            BudgetUnreachable: none is within the budget; names the fastest.
        """
        admitted = [candidate for candidate in candidates if self.admits(candidate)]
        if not admitted:
            raise self.unreachable(candidates)
        return max(admitted, key=lambda one: (one.accuracy, -one.macs, one.genotype))

    def unreachable(self, seen: Sequence[Candidate]) -> BudgetUnreachable:
        """The error that says so, naming the nearest of what was seen, at least one."""
        kept = [one for one in seen if self._keeps_limits(one)]
        if not kept:
            smallest = min(seen, key=lambda one: (one.macs, one.params, one.memory_bytes))
            return BudgetUnreachable(
                f"no network of space {self.space.name} was found within {self.limits}; the "
                f"smallest of {len(seen)} seen is {smallest.genotype} with {smallest.macs:,} "
                f"MACs, {smallest.params:,} parameters and {smallest.memory_bytes:,} bytes. "
                "Raise the limits to that, or make the space's networks smaller"
            )
        assert self.budget is not None, "without a budget everything is admitted"
        confidence = self.budget.confidence
        latencies = [(one.latency.at(confidence), one) for one in kept if one.latency is not None]
        within = [ms for ms, _ in latencies if ms <= self.budget.limit_ms]
        if within:
            return BudgetUnreachable(
                f"no network of space {self.space.name} was found that uses "
                f"{self.budget.fill:.0%} of {self.budget}; of {len(kept)} seen the nearest takes "
                f"{max(within):.4g} ms. Lower --fill or the budget, or make the space's networks "
                "larger"
            )
        fastest_ms, fastest = min(latencies, key=lambda pair: pair[0])
        return BudgetUnreachable(
            f"no network of space {self.space.name} was found within {self.budget}; the fastest "
            f"of {len(kept)} seen is {fastest.genotype} with {fastest_ms:.4g} ms. Raise the "
            "budget to that, or make the space's networks smaller"
        )

    def _predict(self, model: LatencyModel, genotype: str) -> Latency:
        precision = model.table.target.precision
        return model.predict_network(genotype, network_in(precision, self.space.kernels(genotype)))

    def _keeps_limits(self, candidate: Candidate) -> bool:
        return self.limits.admits(
            macs=candidate.macs, params=candidate.params, memory_bytes=candidate.memory_bytes
        )


def evaluated(candidate: Candidate, metric: float, cost: Mapping[str, Any]) -> Candidate:
    """The candidate with its metric and what finding it cost."""
    return replace(candidate, metric=metric, cost=cost)
