"""Whether a table still holds: a test of new measurements against it, with a stated error rate.

The unit is a network, not a kernel: kernels that ran in one session share what the machine was
like. Of each network that was measured again, a check takes the logarithm r of *its measured
kernels' sum over their rows' sum*, for all kernels together and for each kernel family apart; of
the canary, measured end to end, that of *measured over predicted* for each of its sessions.

A table is allowed to be a little off: rows are medians over a few contexts, other networks give
other contexts. So the hypothesis is not that nothing changed but that |mean of r| is within a
tolerance, and it is rejected when the confidence interval of the mean lies outside as a whole:

    (|mean r| - log(1 + tolerance)) / (s / sqrt(n))  >  t(1 - a / checks, n - 1)

with s the standard deviation of r, and Student's t at the level a = 1% shared among all checks
(Bonferroni). While every check's true shift is within its tolerance, a verification gives a false
alarm in at most 1% of cases if the r are normal; an outlier widens s more than it shifts the mean.

Sources:
    Student's t with a tolerance (the one-sided half of an equivalence test): Schuirmann, J.
    Pharmacokin. Biopharm. 15(6), 1987.
    Sharing a level: Dunn, J. Amer. Stat. Assoc. 56, 1961.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from profilers.benchmark import WORST_SLOWDOWN

FALSE_ALARMS = 0.01
"""Share of verifications, at most, that call a table drifted that is within the tolerances."""

TOLERANCE = 0.05
"""Shift of all kernels together, as a fraction, that a table may have."""

FAMILY_TOLERANCE = 0.10
"""Shift of one kernel family. Few kernels stand behind it, so that the errors of their rows do not
average out."""

MIN_NETWORKS = 6
"""With fewer undisturbed networks, or sessions of the canary, a check says nothing."""

MANY_DISTURBED = 0.2
"""Share of the networks disturbed every time beyond which a slower device may just be busy."""

ALL_KERNELS = "all kernels"
CANARY = "canary"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison of new measurements with the table.

    Attributes:
        name: ``all kernels``, a kind of kernel, or ``canary``.
        count: networks behind it; of the canary, sessions.
        ratio: measured over the table's, geometric mean.
        low: lower end of the ratio's confidence interval, at the level of the whole verification.
        high: upper end.
        tolerance: shift that is allowed, as a fraction.
    """

    name: str
    count: int
    ratio: float
    low: float
    high: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the interval reaches into the tolerance."""
        return self.low <= 1 + self.tolerance and self.high >= 1 / (1 + self.tolerance)

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "DRIFTED"
        return (
            f"{self.name:<20} {self.ratio:.3f} times the table's ({self.low:.3f} to "
            f"{self.high:.3f}, {self.count} measured, {self.tolerance:.0%} allowed)  {verdict}"
        )


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What a verification found.

    Attributes:
        checks: that had enough undisturbed measurements; all kernels first.
        networks: undisturbed networks that the kernels were measured in.
        kernels: different kernels in these.
        disturbed: share of the networks that other load disturbed every time, in [0, 1].
    """

    checks: tuple[Check, ...]
    networks: int
    kernels: int
    disturbed: float

    @property
    def verdict(self) -> str:
        """``holds`` or ``drifted``; ``undecided`` where other load may be all there is to it.

        That is with too few undisturbed networks, and when the device seems slower while many
        networks were disturbed: what disturbs some may have slowed the others a little, too.
        """
        if not self.checks:
            return "undecided"
        failed = [check for check in self.checks if not check.holds]
        if failed and self.disturbed > MANY_DISTURBED:
            failed = [one for one in failed if one.ratio < 1 or one.low > WORST_SLOWDOWN]
            return "drifted" if failed else "undecided"
        return "drifted" if failed else "holds"

    def summary(self) -> str:
        """The checks, the verdict, and what to do about it."""
        lines = [
            f"{self.kernels} kernels measured again in {self.networks} networks",
            *(f"  {check}" for check in self.checks),
            f"verdict: {self.verdict.upper()} (false alarms: at most {FALSE_ALARMS:.0%})",
        ]
        return "\n".join([*lines, *self._advice()])

    def to_json(self) -> dict[str, Any]:
        """All of it, with the verdict and the error rate."""
        return {
            "verdict": self.verdict,
            "false_alarms": FALSE_ALARMS,
            "networks": self.networks,
            "kernels": self.kernels,
            "disturbed": self.disturbed,
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
        }

    def _advice(self) -> list[str]:
        if self.verdict == "holds":
            return []
        if self.verdict == "undecided":
            return [
                f"other load disturbed {self.disturbed:.0%} of the networks; verify again when "
                "it is quieter"
            ]
        return [
            "the device may be hot, saving power or busy: let it rest, close what else runs and",
            "verify again. If it stays so, the table is of the past: make a new one with",
            "pocketnas profile, and give it to the searches to come",
        ]


def judge(
    kernels: Mapping[str, Sequence[float]],
    canary: Sequence[float],
    *,
    canary_tolerance: float = TOLERANCE,
) -> tuple[Check, ...]:
    """The checks that the measurements allow, their level shared among them.

    Args:
        kernels: by name of the check, for each network, measured over the table's sum.
        canary: for each session, measured over predicted latency.
        canary_tolerance: what the prediction of the canary may be off, as a fraction.
    """
    tested = [
        *((name, ratios, _tolerance(name)) for name, ratios in kernels.items()),
        (CANARY, canary, canary_tolerance),
    ]
    enough = [one for one in tested if len(one[1]) >= MIN_NETWORKS]
    if all(name != ALL_KERNELS for name, _, _ in enough):
        return ()
    level = FALSE_ALARMS / len(enough)
    return tuple(_check(name, ratios, tolerance, level) for name, ratios, tolerance in enough)


def _tolerance(name: str) -> float:
    return TOLERANCE if name == ALL_KERNELS else FAMILY_TOLERANCE


def _check(name: str, ratios: Sequence[float], tolerance: float, level: float) -> Check:
    logs = np.log(ratios)
    mean = float(logs.mean())
    half = float(t.ppf(1 - level, logs.size - 1) * logs.std(ddof=1) / math.sqrt(logs.size))
    return Check(
        name=name,
        count=logs.size,
        ratio=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        tolerance=tolerance,
    )
