"""Networks that were measured end to end, as a table keeps them: evidence about its rows."""

from __future__ import annotations

from dataclasses import dataclass

from latency_tables.kernel import Kernel

DRIFT = 0.01
"""Standard deviation of a device's speed from one hour to the next, as a fraction, where nothing
else is known: what two profiles of this project's machines some minutes apart differ by."""


@dataclass(frozen=True, kw_only=True)
class MeasuredNetwork:
    """One network that was measured end to end.

    Attributes:
        subject: its genotype.
        kernels: what it runs.
        measured_ms: its latency.
    """

    subject: str
    kernels: tuple[Kernel, ...]
    measured_ms: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Measured networks and what `posterior.py` made of them.

    Attributes:
        networks: the networks.
        row_error: relative standard deviation of a kernel's row from what the kernel takes in
            the networks, in [0, 1], of a row of very many contexts.
        noise: relative standard deviation of a network from the sum of its kernels, in [0, 1].
        quantile: standard deviations that 95% of left-out networks stay under.
        usual_doubt: what 95% of left-out networks' doubt stays under; see ``Latency.doubt``.
        drift: relative standard deviation of the device's speed from one hour to another.
    """

    networks: tuple[MeasuredNetwork, ...]
    row_error: float
    noise: float
    quantile: float
    usual_doubt: float
    drift: float = DRIFT
