"""The latency model: from a network's kernels to its latency, p50 and p95."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from latency_tables.budget import Latency
from latency_tables.calibrate import Calibration
from latency_tables.kernel import Kernel
from latency_tables.table import LatencyTable


class LatencyModel:
    """Predicts latencies from one calibrated table.

    A prediction is one dictionary look-up a kernel and a sum: some ten microseconds a network.

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
        self._kernel_ms = {kernel: row.median_ms for kernel, row in table.rows.items()}

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
            each_ms = [rows[kernel] for kernel in kernels]
        except KeyError:
            self.table.require(kernels)
            raise
        fit = self.calibration
        p50_ms = fit.predict_ms(sum(each_ms), len(each_ms))
        shares = tuple(fit.scale * ms + fit.per_kernel_ms for ms in each_ms)
        return Latency(p50_ms=p50_ms, p95_ms=p50_ms * fit.p95_ratio, by_kernel_ms=shares)
