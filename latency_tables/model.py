"""The latency model: from a network's kernels to its latency, p50 and p95."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from latency_tables.budget import Latency
from latency_tables.calibrate import Calibration
from latency_tables.kernel import Kernel
from latency_tables.population import Latencies, Population
from latency_tables.posterior import Posterior
from latency_tables.table import LatencyTable

Array = npt.NDArray[np.float64]

DOUBTFUL = 1.5
"""A network is doubtful if its doubt is so many times what is usual among those measured."""

LEAST_MS = 1e-6
"""No network is predicted to take less."""

_BLOCK = 2048
"""Networks predicted at once: their parts make a matrix."""


class LatencyModel:
    """Predicts latencies from one calibrated table.

    A prediction is one look-up a kernel and a sum: some ten microseconds a network, far fewer for
    many networks at once.

    Attributes:
        table: the table it predicts from.
        calibration: its fitted coefficients.
    """

    def __init__(self, table: LatencyTable) -> None:
        """Prepare the look-up.

        Raises:
            ValueError: the table has not been calibrated.
        """
        if table.calibration is None:
            raise ValueError(f"the table of {table.target} holds kernels only, no calibration")
        self.table = table
        self.calibration: Calibration = table.calibration
        self._posterior = Posterior(table)
        self._run_ms, *each_ms = map(float, self._posterior.mean_K)
        self._kernel_ms = dict(zip(self._posterior.kernels, each_ms, strict=True))

    def require(self, kernels: Iterable[Kernel]) -> None:
        """Check that every kernel has a row.

        Raises:
            KernelMissing: names the first without one, and the nearest rows.
        """
        self.table.require(kernels)

    def predict(self, kernels: Sequence[Kernel]) -> Latency:
        """Latency of a network that runs these kernels.

        Raises:
            KernelMissing: a kernel has no row.
        """
        rows = self._kernel_ms
        try:
            each_ms = tuple([rows[kernel] for kernel in kernels])
        except KeyError:
            self.table.require(kernels)
            raise
        p50_ms = max(LEAST_MS, self._run_ms + sum(each_ms))
        (counts_K,) = self._posterior.counts([kernels])
        variance = counts_K @ self._posterior.covariance_KK @ counts_K
        doubt_1 = np.sqrt(np.maximum([variance], 0)) / p50_ms
        (ratio,) = self._posterior.p95_over_p50(doubt_1)
        return Latency(
            p50_ms=p50_ms,
            p95_ms=p50_ms * float(ratio),
            by_kernel_ms=each_ms,
            doubt=float(doubt_1[0]),
        )

    def predict_network(self, subject: str, kernels: Sequence[Kernel]) -> Latency:
        """Latency of a network that can be told by name.

        Here the name does not matter; a ``LearningModel`` has doubtful networks measured.

        Args:
            subject: its genotype.
            kernels: what it runs.

        Raises:
            KernelMissing: a kernel has no row.
        """
        return self.predict(kernels)

    def predict_many(self, population: Population) -> Latencies:
        """Latencies of many networks, equal to what ``predict`` gives for each.

        Raises:
            KernelMissing: a kernel of some network has no row.
        """
        medians, variances = [np.zeros(0)], [np.zeros(0)]
        for parts, counts_NP in population.blocks(_BLOCK):
            self.require(kernel for part in parts for kernel in part)
            run_and_parts_PK = self._posterior.counts([(), *parts])
            run_and_parts_PK[1:, 0] = 0
            mean_P = run_and_parts_PK @ self._posterior.mean_K
            covariance_PP = run_and_parts_PK @ self._posterior.covariance_KK @ run_and_parts_PK.T
            counts_NP = np.hstack([np.ones((len(counts_NP), 1)), counts_NP])
            medians.append(counts_NP @ mean_P)
            variances.append(((counts_NP @ covariance_PP) * counts_NP).sum(axis=1))
        p50_ms = np.maximum(np.concatenate(medians), LEAST_MS)
        doubt = np.sqrt(np.maximum(np.concatenate(variances), 0)) / p50_ms
        return Latencies(
            p50_ms=p50_ms, p95_ms=p50_ms * self._posterior.p95_over_p50(doubt), doubt=doubt
        )

    def is_doubtful(self, latency: Latency) -> bool:
        """Whether a prediction of this model is much less certain than is usual.

        A table without evidence does not know.
        """
        evidence = self.table.evidence
        return evidence is not None and latency.doubt > DOUBTFUL * evidence.usual_doubt
