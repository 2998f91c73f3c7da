"""In which order to measure: rounds, every one on its own shuffle, in batches between canaries.

Interleaving spreads whatever changes slowly (clock, temperature, other load) over all networks
instead of loading it on those that came last. The canary is one network measured before and after
each batch: it shows how much the machine drifted meanwhile. A session that was disturbed, or in a
batch that drifted, is measured again in later rounds; so is a network whose sessions disagree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from profilers.probes import Probe

BATCH = 20
"""Measurements between two of the canary."""

ROUNDS_PER_SESSION = 2
"""Rounds for each session asked for: so often is a network tried before what it has must serve."""

NARROW = 0.05
"""Range of a network's undisturbed sessions over their median within which it is done."""

DRIFT = 0.05
"""Change of the canary over a batch, as a fraction, beyond which the batch counts as disturbed."""


class Task(NamedTuple):
    """One measurement to take.

    Attributes:
        role: ``probe`` (operators), ``network`` (end to end) or ``canary`` (end to end).
        probe: what to measure.
        session: which repetition of this subject in this role, from 0.
    """

    role: str
    probe: Probe
    session: int

    @property
    def subject(self) -> str:
        """What the journal calls it."""
        return f"{self.role} {self.probe.subject}"


class Batch(NamedTuple):
    """Measurements to take one after the other.

    Attributes:
        number: from 0.
        tasks: at least one.
        before: the canary before them; None where there is none.
        after: the canary after them, which is also the one before the next batch.
    """

    number: int
    tasks: tuple[Task, ...]
    before: Task | None
    after: Task | None


class Schedule:
    """The measurements of a profile in the order to take them.

    Attributes:
        total: how many there are if nothing is disturbed, the canary's not counted.
    """

    def __init__(
        self, probes: Sequence[Probe], networks: Sequence[Probe], *, sessions: int, seed: int
    ) -> None:
        """Plan.

        Args:
            probes: networks measured by operator.
            networks: networks measured end to end; the first, if there is one, is the canary.
            sessions: undisturbed sessions wanted of each at least, every one freshly loaded.
            seed: decides the shuffles.
        """
        self._tasks = [("probe", probe) for probe in probes]
        self._tasks += [("network", probe) for probe in networks]
        self._canary = networks[0] if networks else None
        self._sessions = sessions
        self._seed = seed
        self._good_ms: dict[str, list[float]] = defaultdict(list)
        self.total = sessions * len(self._tasks)

    @property
    def done(self) -> int:
        """Undisturbed sessions so far; the last of each counts when they agree."""
        return sum(
            self._sessions if self._is_done(subject) else min(len(good), self._sessions - 1)
            for subject, good in self._good_ms.items()
        )

    def settle(self, task: Task, ms: float, *, is_good: bool) -> None:
        """Tell how a task of a batch went, before the next batch is asked for."""
        if is_good:
            self._good_ms[task.subject].append(ms)

    def __iter__(self) -> Iterator[Batch]:
        """Batches one by one; ends when every network is done, or has had its rounds."""
        rng = np.random.default_rng(self._seed)
        number = 0
        for turn in range(self._sessions * ROUNDS_PER_SESSION):
            shuffled = [self._tasks[index] for index in rng.permutation(len(self._tasks))]
            tasks = [Task(role, probe, turn) for role, probe in shuffled]
            due = [task for task in tasks if not self._is_done(task.subject)]
            for start in range(0, len(due), BATCH):
                yield Batch(
                    number,
                    tuple(due[start : start + BATCH]),
                    self._canary_task(number),
                    self._canary_task(number + 1),
                )
                number += 1

    def _is_done(self, subject: str) -> bool:
        good_ms = self._good_ms[subject]
        if len(good_ms) < self._sessions:
            return False
        return max(good_ms) - min(good_ms) <= NARROW * float(np.median(good_ms))

    def _canary_task(self, session: int) -> Task | None:
        return Task("canary", self._canary, session) if self._canary else None


def has_drifted(before_ms: float, after_ms: float) -> bool:
    """Whether the canary changed too much over a batch."""
    return max(before_ms, after_ms) > (1 + DRIFT) * min(before_ms, after_ms)
