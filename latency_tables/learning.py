"""A latency model that has networks measured which it doubts, and learns from them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from latency_tables.budget import Budget, Latency
from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel
from latency_tables.model import LatencyModel
from latency_tables.posterior import learn
from latency_tables.table import LatencyTable

MOST = 50
"""Networks that one search has measured at most."""

SURELY = 2.0
"""Standard deviations between what is likely and what is all but sure."""

Measure = Callable[[str, Sequence[Kernel]], float]
"""Measures the network of a subject, which runs these kernels, end to end on the table's target,
and returns milliseconds. Asked again, after a search was resumed, it must answer the same, so that
the search takes the same way: it keeps a journal."""

_log = logging.getLogger(__name__)


class LearningModel(LatencyModel):
    """Predicts as ``LatencyModel`` does until it meets a network that it doubts.

    That network is measured and becomes evidence of the table, so that it and networks like it are
    predicted better from then on. Whether one is measured is decided when it is first met, so that
    asking again changes nothing.

    Attributes:
        learned: the networks that were measured, in order.
    """

    def __init__(
        self,
        table: LatencyTable,
        measure: Measure,
        *,
        budget: Budget | None = None,
        most: int = MOST,
    ) -> None:
        """Prepare to measure.

        Args:
            table: to start from.
            measure: on the table's target.
            budget: of the search; a network that exceeds it by more than what is not known of it
                is not measured, for it is refused either way.
            most: networks to measure; those met later are predicted only.

        Raises:
            ValueError: the table has no evidence, so that the model could not tell what to doubt.
        """
        if table.evidence is None:
            raise ValueError(
                f"the table of {table.target} was made before tables kept what they were "
                "calibrated on, so that no candidate can be called doubtful; profile again"
            )
        super().__init__(table)
        self._measure = measure
        self._limit_ms = budget.limit_ms if budget else math.inf
        self._most = most
        self._met: set[str] = set()
        self.learned: list[MeasuredNetwork] = []

    def predict_network(self, subject: str, kernels: Sequence[Kernel]) -> Latency:
        """See ``LatencyModel.predict_network``; measures a doubtful network when first met.

        Raises:
            KernelMissing: a kernel has no row.
        """
        latency = self.predict(kernels)
        if subject in self._met:
            return latency
        self._met.add(subject)
        least_ms = latency.p50_ms * (1 - SURELY * latency.doubt)
        if (
            not self.is_doubtful(latency)
            or least_ms > self._limit_ms
            or len(self.learned) >= self._most
        ):
            return latency
        measured_ms = self._measure(subject, kernels)
        _log.info(
            "measured %s, which was doubtful (%.1f%%): %.4g ms, predicted %.4g",
            subject, 100 * latency.doubt, measured_ms, latency.p50_ms,
        )  # fmt: skip
        self._learn(
            MeasuredNetwork(subject=subject, kernels=tuple(kernels), measured_ms=measured_ms)
        )
        return self.predict(kernels)

    def _learn(self, network: MeasuredNetwork) -> None:
        evidence = self.table.evidence
        assert evidence is not None, "checked when the model was made"
        known = [one for one in evidence.networks if one.subject != network.subject]
        self.learned.append(network)
        super().__init__(learn(self.table, [*known, network], drift=evidence.drift))
