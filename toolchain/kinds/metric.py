"""How good networks of a kind of task are: the figure's name, its direction, how it is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The figure that a kind of task reports.

    Two numbers are told apart: the *value*, which people read and the journals of trainings and
    tests hold, and the *score* of a candidate, of which more is always better.

    Attributes:
        key: Name of the value in files: ``test.json`` has it, ``training.jsonl`` with
            ``validation_`` before it.
        name: What people call it.
        is_share: Whether the value lies in [0, 1] and is written in percent.
        is_lower_better: Whether a small value is good; the score is then the negative value.
    """

    key: str
    name: str
    is_share: bool = True
    is_lower_better: bool = False

    @property
    def unit(self) -> str:
        """What follows a drawn value."""
        return "%" if self.is_share else ""

    @property
    def title(self) -> str:
        """The name at the beginning of a line; ``mIoU`` stays as it is."""
        return self.name.capitalize() if self.name.islower() else self.name

    @property
    def label(self) -> str:
        """The name with its unit, for axes that say more before it."""
        return self._with_unit(self.name)

    @property
    def axis(self) -> str:
        """The name with its unit, for axes."""
        return self._with_unit(self.title)

    def _with_unit(self, name: str) -> str:
        return f"{name}, {self.unit}" if self.unit else name

    def value(self, score: float) -> float:
        """The value of a candidate's score."""
        return -score if self.is_lower_better else score

    def drawn(self, value: float) -> float:
        """The number that stands on an axis."""
        return 100 * value if self.is_share else value

    def text(self, value: float, digits: int = 2) -> str:
        """A value as people read it: ``87.35%``, or ``112.4`` where it is no share."""
        return f"{value:.{digits}%}" if self.is_share else f"{value:,.{digits}f}"
