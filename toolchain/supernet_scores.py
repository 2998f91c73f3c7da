"""Judge the networks of a ScaleNet space by the weights that they share: nothing is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from toolchain.evaluation import Judgement
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.train.objective import Objective
from toolchain.train.supernet import Supernet
from toolchain.train.supernet_training import score


@dataclass(frozen=True, kw_only=True, eq=False)
class SupernetScores:
    """Work: see ``evaluation.py``.

    Attributes:
        space: of the networks.
        weights: state of the trained supernet.
        objective: its images for the statistics of batch norms, and to score on.
    """

    space: ScaleNetSpace
    weights: dict[str, Tensor]
    objective: Objective

    def judge(self, genotype: str) -> Judgement:
        """See Work."""
        start_s = time.process_time()
        metric = score(self._supernet, genotype, self.objective)
        return Judgement(metric=metric, cost={"cpu_s": round(time.process_time() - start_s, 3)})

    @cached_property
    def _supernet(self) -> Supernet:
        supernet = Supernet(self.space)
        supernet.load_state_dict(self.weights)
        return supernet
