"""How GRAM searches.

The default numbers are ours: of some forty settings tried on made-up objectives with the noise and
spread of short trainings, these did well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SAMPLERS = ("adaptive", "random")
CREDITS = ("move", "score")


@dataclass(frozen=True, kw_only=True)
class GramSettings:
    """How to search.

    Attributes:
        evaluations: networks to train, the warm-up's included.
        warm_up: random networks among them.
        chains: moves proposed in each round; as many networks can be trained at once.
        sampler: ``adaptive`` draws moves by what the meta-graph has learned, ``random`` by what
            it was at first.
        credit: ``move`` counts how much a move changed the score, ``score`` how far the score is
            from the running mean.
        propagation: share of a node's credit that goes to the nodes it reads, in [0, 1].
        learning_rate: of the meta-graph's weights.
        temperature_first: accuracy that a move may lose and still be accepted now and then, at
            the start.
        temperature_last: the same at the end; between them it falls geometrically.
        smoothing: share of the trend in a network's score, in [0, 1]; the rest is its own
            accuracy.
        foresight: moves drawn for each one that is trained, which is the one that the trend
            expects most of. With 1, and no smoothing, each chain is one of Metropolis-Hastings.
        cost_weight: accuracy that a ten-fold cost (latency, or MACs without a budget) is worth. 0:
            whatever is within the budget is as good as its accuracy.
    """

    evaluations: int = 200
    warm_up: int = 40
    chains: int = 2
    sampler: str = "adaptive"
    credit: str = "move"
    propagation: float = 0.5
    learning_rate: float = 0.3
    temperature_first: float = 0.005
    temperature_last: float = 0.0005
    smoothing: float = 0.5
    foresight: int = 4
    cost_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS or self.credit not in CREDITS:
            raise ValueError(
                f"the sampler is one of {', '.join(SAMPLERS)} and the credit one of "
                f"{', '.join(CREDITS)}, got {self.sampler!r} and {self.credit!r}"
            )
        if not 1 <= self.chains <= self.warm_up <= self.evaluations:
            raise ValueError(
                "GRAM needs 1 <= chains <= warm_up <= evaluations, got "
                f"{self.chains}, {self.warm_up} and {self.evaluations}"
            )
        if not 0 <= self.propagation <= 1:
            raise ValueError(f"propagation lies in [0, 1], got {self.propagation}")
        rates = (self.learning_rate, self.temperature_first, self.temperature_last)
        if not all(rate > 0 for rate in rates):
            raise ValueError(
                f"learning_rate and the temperatures must be more than 0, got {rates}"
            )
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"smoothing lies in [0, 1], got {self.smoothing}")
        if self.foresight < 1:
            raise ValueError(f"foresight must be at least 1, got {self.foresight}")
        if not self.cost_weight >= 0:
            raise ValueError(f"cost_weight must be 0 or more, got {self.cost_weight}")

    def temperature(self, progress: float) -> float:
        """The temperature at a share of the way in [0, 1]."""
        first, last = self.temperature_first, self.temperature_last
        return first * math.pow(last / first, progress)
