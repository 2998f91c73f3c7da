"""What a table's rows and the networks measured end to end tell together about kernels.

A row is a kernel's time in a few probes, on a clock that ticks in microseconds: it is off by some
per cent, in the same direction for every network that runs the kernel. Networks measured end to
end know better what their kernels take together, so they correct the rows: a Bayesian linear
regression, with the rows as prior and the networks as evidence.

    ms of a network = ms of a run + sum of its kernels' ms + noise

A priori a kernel takes what the three coefficients of `calibrate.py` make of its row, with an
error of independent parts: one of its own; one in proportion that its kind shares, one that all
kernels share; one that is alike for all. How large a kernel's own error and the noise are, the
networks say themselves (the largest marginal likelihood); the other widths are wide and fixed.

Two things follow besides better medians. Each prediction knows how uncertain it is, and that
uncertainty falls into noise and into what the table does not know: the doubt. It is large for a
network with kernels of few contexts, or of a size beyond those measured; measuring the network
and keeping it as evidence takes it away.

The 95th percentile is the uncertainty times a quantile of the left-out networks' errors over
theirs (normalized conformal prediction), so that errors need not be normal. That covers networks
measured together with the evidence. A device is a little faster or slower an hour later, which one
hour's measurements do not show; ``Evidence.drift`` is added for that.

Sources:
    Regression and marginal likelihood: Rasmussen and Williams, Gaussian Processes for Machine
    Learning, 2006, sections 2.1 and 5.4.1; errors with each network left out: section 5.4.2.
    Normalized conformal prediction: Papadopoulos, Gammerman, Vovk, AIA 2008.

Shape suffixes: N networks, K what is estimated (a run, then every kernel), U wide directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from latency_tables.budget import Z95
from latency_tables.calibrate import Calibration, CalibrationPoint, calibrate, conformal_quantile
from latency_tables.evidence import DRIFT, Evidence, MeasuredNetwork
from latency_tables.kernel import Kernel
from latency_tables.table import KernelLatency, LatencyTable

Array = npt.NDArray[np.float64]

ROW_ERRORS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)
"""Relative errors of rows that the networks choose from."""

NOISES = (0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.03, 0.045, 0.07)
"""Relative noises of networks that they choose from."""

ALL_KERNELS = 0.2
"""Relative error that all kernels share, standard deviation."""

ONE_KIND = 0.1
"""Relative error that the kernels of one kind share."""

EACH_KERNEL_MS = 0.0005
"""Error that is alike for all kernels: of entering them."""

RUN_MS = 0.02
"""Error of the cost of a run."""

TICK_MS = 0.0003
"""Error of each row of its own, from a clock of microseconds."""

SD_OF_IQR = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""


class Prior:
    """What is known of a run and every kernel before any network was measured.

    Attributes:
        kernels: all that have a row, in the order of their texts, so that a table gives the same
            sums to the last digit in whatever order its rows stand.
        mean_K: milliseconds.
    """

    def __init__(self, rows: Mapping[Kernel, KernelLatency], line: Calibration) -> None:
        """What a calibration's coefficients make of a table's rows."""
        rows = {kernel: rows[kernel] for kernel in sorted(rows, key=str)}
        self.kernels = tuple(rows)
        self._places = {kernel: place for place, kernel in enumerate(rows, start=1)}
        each_ms = [line.scale * row.median_ms + line.per_kernel_ms for row in rows.values()]
        self.mean_K = np.array([line.overhead_ms, *each_ms])
        # A row of few contexts is further from what the kernel takes in others.
        self._contexts_K = np.array([1, *(1 + 1 / row.contexts for row in rows.values())])
        kernels_K = np.concatenate([[0.0], np.maximum(each_ms, TICK_MS)])
        self._kernels_K = kernels_K
        is_kernel_K = (kernels_K > 0).astype(np.float64)
        kinds = sorted({kernel.kind for kernel in rows})
        of_kind = [[0, *(kernel.kind == kind for kernel in rows)] for kind in kinds]
        self._wide_KU = np.array(
            [
                RUN_MS * (1 - is_kernel_K),
                ALL_KERNELS * kernels_K,
                EACH_KERNEL_MS * is_kernel_K,
                *(ONE_KIND * kernels_K * np.array(one) for one in of_kind),
            ]
        ).T
        # A carried row's spread is that of its family's ratios between two devices.
        carried_ms = [
            0.0 if row.is_measured else line.scale * row.iqr_ms / SD_OF_IQR
            for row in rows.values()
        ]
        self._fixed_K = TICK_MS**2 * is_kernel_K + np.array([0.0, *carried_ms]) ** 2

    def counts(self, networks: Iterable[Iterable[Kernel]]) -> Array:
        """How often networks run what there is to know, [N, K]; a run once."""
        size = len(self._places) + 1
        places = [[0, *(self._places[kernel] for kernel in one)] for one in networks]
        return np.array(
            [np.bincount(one, minlength=size) for one in places], dtype=np.float64
        ).reshape(len(places), size)

    def own_variances(self, row_error: float) -> Array:
        """Variance of the errors that each kernel has of its own."""
        return np.asarray((row_error * self._kernels_K) ** 2 * self._contexts_K + self._fixed_K)

    def covariance(self, row_error: float) -> Array:
        """Of all errors."""
        return np.asarray(np.diag(self.own_variances(row_error)) + self._wide_KU @ self._wide_KU.T)

    def covariance_in(self, terms_NK: Array, row_error: float) -> Array:
        """Of what all errors come to in networks."""
        wide_NU = terms_NK @ self._wide_KU
        return np.asarray(
            (terms_NK * self.own_variances(row_error)) @ terms_NK.T + wide_NU @ wide_NU.T
        )


class Regression:
    """Networks against a prior, each relative to what the prior expects of it.

    Attributes:
        terms_NK: how often a network runs what there is to know, over its expected ms.
        errors_N: measured over expected, less 1.
    """

    def __init__(self, prior: Prior, networks: Sequence[MeasuredNetwork]) -> None:
        """Compare every network with what is expected of it."""
        counts_NK = prior.counts(network.kernels for network in networks)
        expected_N = counts_NK @ prior.mean_K
        self._prior = prior
        self.terms_NK = counts_NK / expected_N[:, None]
        self.errors_N = np.array([one.measured_ms for one in networks]) / expected_N - 1

    def covariance(self, row_error: float, noise: float) -> Array:
        """Of the errors, noise included."""
        known_NN = self._prior.covariance_in(self.terms_NK, row_error)
        return known_NN + noise**2 * np.eye(len(known_NN))

    def likeliest(self) -> tuple[float, float]:
        """The row error and the noise under which the errors are most likely."""
        likelihoods: dict[tuple[float, float], float] = {}
        for row_error in ROW_ERRORS:
            known_NN = self._prior.covariance_in(self.terms_NK, row_error)
            # Noise adds to the variance in every direction alike.
            variances_N, directions_NN = np.linalg.eigh(known_NN)
            squares_N = (self.errors_N @ directions_NN) ** 2
            for noise in NOISES:
                noisy_N = np.maximum(variances_N, 0) + noise**2
                likelihood = -(squares_N / noisy_N + np.log(noisy_N)).sum() / 2
                likelihoods[row_error, noise] = float(likelihood)
        return max(likelihoods, key=likelihoods.__getitem__)

    def left_out(self, row_error: float, noise: float) -> tuple[Array, Array]:
        """Each network's error if it is predicted from the others, and its standard deviation."""
        inverse_NN = np.linalg.inv(self.covariance(row_error, noise))
        variances_N = 1 / np.diag(inverse_NN)
        return variances_N * (inverse_NN @ self.errors_N), np.sqrt(variances_N)


class Posterior:
    """What a run and every kernel take, and how certain that is.

    Attributes:
        mean_K: milliseconds.
        covariance_KK: of their errors.
    """

    def __init__(self, table: LatencyTable) -> None:
        """Correct what a table's calibration makes of its rows by its evidence, if it has some.

        A network with a kernel that has no row any more tells nothing.
        """
        assert table.calibration is not None, "checked by LatencyModel"
        self._calibration, self._evidence = table.calibration, table.evidence
        self._prior = Prior(table.rows, table.calibration)
        self.mean_K = self._prior.mean_K
        self.covariance_KK = np.zeros((len(self.mean_K), len(self.mean_K)))
        if table.evidence is not None:
            self._correct(table.evidence, table.rows)

    def _correct(self, evidence: Evidence, rows: Mapping[Kernel, KernelLatency]) -> None:
        self.covariance_KK = self._prior.covariance(evidence.row_error)
        networks = [one for one in evidence.networks if all(k in rows for k in one.kernels)]
        if networks:
            fit = Regression(self._prior, networks)
            told_NK = fit.terms_NK @ self.covariance_KK
            noisy_NN = fit.covariance(evidence.row_error, evidence.noise)
            gain_NK = np.linalg.solve(noisy_NN, told_NK)
            self.mean_K = self.mean_K + fit.errors_N @ gain_NK
            self.covariance_KK = self.covariance_KK - told_NK.T @ gain_NK

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """See ``Prior``."""
        return self._prior.kernels

    def counts(self, networks: Iterable[Iterable[Kernel]]) -> Array:
        """See ``Prior.counts``."""
        return self._prior.counts(networks)

    def p95_over_p50(self, doubts_N: Array) -> Array:
        """The 95th percentile of networks over their medians; see ``Latency.doubt``."""
        if self._evidence is None:
            return np.full(doubts_N.shape, self._calibration.p95_ratio)
        return _p95_over_p50(self._evidence, doubts_N)


def learn(
    table: LatencyTable, networks: Sequence[MeasuredNetwork], *, drift: float = DRIFT
) -> LatencyTable:
    """The table with a calibration and evidence of networks that were measured end to end.

    Args:
        table: has a row for each of their kernels.
        networks: every one once.
        drift: see ``Evidence``.

    Raises:
        CalibrationFailed: too few networks, or their latencies cannot be explained by the rows.
    """
    line = calibrate([_point(table.rows, network) for network in networks])
    fit = Regression(Prior(table.rows, line), networks)
    row_error, noise = fit.likeliest()
    left_out_N, deviations_N = fit.left_out(row_error, noise)
    doubts_N = np.sqrt(np.maximum(deviations_N**2 - noise**2, 0))
    evidence = Evidence(
        networks=tuple(networks),
        row_error=row_error,
        noise=noise,
        quantile=max(0.0, conformal_quantile(left_out_N / deviations_N, 0.95)),
        usual_doubt=conformal_quantile(doubts_N, 0.95),
        drift=drift,
    )
    misses_N = np.abs(left_out_N / (1 + fit.errors_N))
    return replace(
        table,
        calibration=replace(
            line,
            p95_ratio=float(np.median(_p95_over_p50(evidence, doubts_N))),
            median_error=float(np.median(misses_N)),
            worst_error=float(misses_N.max()),
        ),
        evidence=evidence,
    )


def _p95_over_p50(evidence: Evidence, doubts_N: Array) -> Array:
    spreads_N = evidence.quantile * np.hypot(doubts_N, evidence.noise)
    return np.asarray(np.exp(np.hypot(spreads_N, Z95 * evidence.drift)))


def _point(rows: Mapping[Kernel, KernelLatency], network: MeasuredNetwork) -> CalibrationPoint:
    return CalibrationPoint(
        subject=network.subject,
        kernels_ms=sum(rows[kernel].median_ms for kernel in network.kernels),
        kernels=len(network.kernels),
        measured_ms=network.measured_ms,
    )
