"""Which sessions count: the undisturbed ones, if there are any."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from profilers.runner import DISTURBED_SHARE


class HasDisturbance(Protocol):
    """A session that knows how far other load disturbed it."""

    @property
    def disturbed(self) -> float:
        """Share of its samples that was disturbed, in [0, 1]."""


Session = TypeVar("Session", bound=HasDisturbance)


class SessionValue(NamedTuple):
    """One session in one number.

    Attributes:
        ms: its midmean or median.
        disturbed: share of its samples that was disturbed, in [0, 1].
    """

    ms: float
    disturbed: float


def is_disturbed(session: HasDisturbance) -> bool:
    """Whether a session should be measured again."""
    return session.disturbed > DISTURBED_SHARE


def that_count(
    sessions: Sequence[Session], ms: Callable[[Session], float], least: int = 1
) -> list[Session]:
    """The undisturbed sessions; where too few were, the least slowed quarter of all.

    A disturbance only adds time, so the least slowed are nearest to the machine's own speed.

    Args:
        sessions: at least one.
        ms: how long a session's runs took.
        least: how many must count.
    """
    steady = [session for session in sessions if not is_disturbed(session)]
    if len(steady) >= least:
        return steady
    return sorted(sessions, key=ms)[: max(least, math.ceil(len(sessions) / 4))]


def median_ms(values: Sequence[SessionValue]) -> float:
    """Median of the sessions that count."""
    return float(np.median([value.ms for value in that_count(values, lambda one: one.ms)]))
