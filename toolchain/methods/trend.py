"""How accuracy goes with a SwiftNet's make-up, over all networks that a search has trained.

A short training's noise is as large as the differences between networks of one latency. Networks
of the same make-up share what they are worth, so the mean over many of them is far less noisy
than any one accuracy. Ours, not the paper's. How much better it ranks networks than their own
short trainings do: `benchmarks/trend.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from toolchain.spaces.dag import OPERATORS, Dag, parse_dags

Array = npt.NDArray[np.float64]

RIDGE = 40.0
"""Networks that the belief in no trend at all counts for."""


@dataclass(frozen=True, eq=False)
class Trend:
    """Accuracy, linear in a network's make-up.

    Attributes:
        slopes: gain for each trait; [traits].
        mean_traits: of the networks it was fitted to; [traits].
        mean: their mean accuracy.
    """

    slopes: Array
    mean_traits: Array
    mean: float

    @classmethod
    def fit(cls, genotypes: Sequence[str], accuracies: Sequence[float]) -> Trend:
        """Ridge regression over the traits, each in units of its spread.

        Args:
            genotypes: at least one network.
            accuracies: of each, in [0, 1].
        """
        traits = np.array([make_up(genotype) for genotype in genotypes])
        centre, spread = traits.mean(axis=0), traits.std(axis=0)
        spread[spread == 0] = 1.0  # a trait that all share has no slope
        scaled = (traits - centre) / spread
        mean = float(np.mean(accuracies))
        precision = scaled.T @ scaled + RIDGE * np.eye(len(centre))
        slopes = np.linalg.solve(precision, scaled.T @ (np.asarray(accuracies) - mean))
        return cls(slopes=slopes / spread, mean_traits=centre, mean=mean)

    def accuracy(self, genotype: str) -> float:
        """What networks of this make-up reach."""
        return self.mean + float(self.slopes @ (make_up(genotype) - self.mean_traits))


@lru_cache(maxsize=4096)
def make_up(genotype: str) -> Array:
    """Traits of a network, six for each stage; see ``_stage_traits``."""
    traits = np.array([value for dag in parse_dags(genotype) for value in _stage_traits(dag)])
    traits.setflags(write=False)
    return traits


def _stage_traits(dag: Dag) -> list[float]:
    """Nodes and inputs of each operator, nodes and separable convolutions on the longest path."""
    traits: list[float] = []
    for letter in OPERATORS:
        inputs = [len(node.sources) for node in dag.nodes if node.operator == letter]
        traits += [len(inputs), sum(inputs)]
    depth, separable = {0: 0}, {0: 0}
    for number, operator, sources in dag.nodes:
        depth[number] = 1 + max(depth[source] for source in sources)
        separable[number] = (operator == "s") + max(separable[source] for source in sources)
    return [*traits, max(depth.values()), max(separable.values())]
