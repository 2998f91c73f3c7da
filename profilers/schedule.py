"""In which order to measure: rounds, every one on its own shuffle, a canary among the networks.

Interleaving spreads whatever changes slowly (clock, temperature, other load) over all networks
instead of loading it on those that came last. A session that was disturbed is measured again in
later rounds. The canary is one network measured again and again: it shows how much the machine
drifted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from profilers.probes import Probe

CANARY_EVERY = 20
"""Measurements between two of the canary."""

ROUNDS_PER_SESSION = 2
"""Rounds for each session asked for: so often is a network tried before disturbed ones serve."""


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
            sessions: undisturbed sessions wanted of each, every one freshly loaded.
            seed: decides the shuffles.
        """
        self._tasks = [("probe", probe) for probe in probes]
        self._tasks += [("network", probe) for probe in networks]
        self._canary = networks[0] if networks else None
        self._sessions = sessions
        self._seed = seed
        self._good: Counter[str] = Counter()
        self.total = sessions * len(self._tasks)

    @property
    def done(self) -> int:
        """Undisturbed sessions so far."""
        return sum(min(count, self._sessions) for count in self._good.values())

    def settle(self, task: Task, *, is_good: bool) -> None:
        """Tell whether a task went undisturbed, before the next is asked for."""
        if task.role != "canary" and is_good:
            self._good[task.subject] += 1

    def __iter__(self) -> Iterator[Task]:
        """Tasks one by one; ends when every network has its sessions, or has had its rounds."""
        rng = np.random.default_rng(self._seed)
        count = canaries = 0
        for turn in range(self._sessions * ROUNDS_PER_SESSION):
            for index in rng.permutation(len(self._tasks)):
                role, probe = self._tasks[index]
                task = Task(role, probe, turn)
                if self._good[task.subject] >= self._sessions:
                    continue
                if self._canary and count % CANARY_EVERY == 0:
                    yield Task("canary", self._canary, canaries)
                    canaries += 1
                count += 1
                yield task
