"""What a search varies in a ScaleNet: depths and fusions of its modules, as values and as text.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, section 3.2, and the masks of the released
code. Branches and steps count from 0, as in the code.

A genotype names its modules in order, slashes between them; a module its branches, dots between
them; a branch its steps, one hexadecimal digit each, so that the number of digits is the branch's
depth. A digit is the sum over the branches that are fused into this one after that step: 1 for
branch 0, 2 for branch 1, 4 for branch 2, 8 for branch 3; 0 for none. In ``202.0101`` branch 0 has
three blocks and takes in branch 1 after the first and the third, branch 1 has four blocks and
takes in branch 0 after the second and the fourth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from toolchain.errors import GenotypeInvalid

MAX_BRANCHES = 4
"""A digit has four bits."""

_DIGITS = "0123456789abcdef"

Steps = tuple[tuple[int, ...], ...]
"""For each step of a branch the branches that are fused into it, ascending."""


class ScaleModule(NamedTuple):
    """One searchable module.

    Attributes:
        branches: steps of each branch, of the highest resolution first; as many as its depth.
    """

    branches: tuple[Steps, ...]

    @property
    def depths(self) -> tuple[int, ...]:
        """Residual blocks of each branch."""
        return tuple(map(len, self.branches))

    @property
    def fusions(self) -> int:
        """Edges between branches."""
        return sum(len(sources) for steps in self.branches for sources in steps)

    @property
    def text(self) -> str:
        """The module as a genotype has it."""
        return ".".join(
            "".join(_DIGITS[sum(1 << source for source in sources)] for sources in steps)
            for steps in self.branches
        )

    def with_steps(self, branch: int, steps: Steps) -> ScaleModule:
        """The module with other steps in one branch."""
        return ScaleModule((*self.branches[:branch], steps, *self.branches[branch + 1 :]))


def others(branch: int, branches: int) -> tuple[int, ...]:
    """Every branch that can be fused into one: all but itself."""
    return tuple(other for other in range(branches) if other != branch)


def join_modules(modules: Iterable[ScaleModule]) -> str:
    """The genotype of these modules."""
    return "/".join(module.text for module in modules)


def parse_modules(genotype: str) -> tuple[ScaleModule, ...]:
    """The modules that a genotype stands for.

    Raises:
        GenotypeInvalid: a branch is empty or there are too many, a digit is none, or a branch is
            fused with itself or with one that its module lacks.
    """
    return tuple(
        ScaleModule(tuple(_parse_module(genotype, f"module {index}", text.split("."))))
        for index, text in enumerate(genotype.split("/"))
    )


def _parse_module(genotype: str, place: str, words: list[str]) -> Iterable[Steps]:
    if not 2 <= len(words) <= MAX_BRANCHES:
        raise GenotypeInvalid(
            genotype,
            f"{place} has {len(words)} branches; a module has 2 to {MAX_BRANCHES}, with dots "
            "between them, like 202.0101",
        )
    for branch, word in enumerate(words):
        if not word:
            raise GenotypeInvalid(
                genotype, f"{place}, branch {branch} has no steps; the shallowest is 0"
            )
        known = others(branch, len(words))
        steps = []
        for step, digit in enumerate(word):
            mask = _DIGITS.find(digit)
            sources = tuple(source for source in known if mask >> source & 1)
            if mask < 0 or mask != sum(1 << source for source in sources):
                raise GenotypeInvalid(
                    genotype,
                    f"{place}, branch {branch}, step {step}: {digit!r} is no sum of "
                    f"{', '.join(f'{1 << source} (branch {source})' for source in known)}, the "
                    "branches that can be fused into this one",
                )
            steps.append(sources)
        yield tuple(steps)
