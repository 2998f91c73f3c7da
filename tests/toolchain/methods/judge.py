"""What takes the place of training where a formula judges networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from toolchain.methods.candidate import Appraiser, Candidate, evaluated


def accuracy_of(genotype: str) -> float:
    """In [0.5, 0.9), as good as random and always the same."""
    digest = hashlib.sha256(genotype.encode()).digest()
    return 0.5 + 0.4 * int.from_bytes(digest[:4], "big") / 2**32


class Judge:
    """What searches call to evaluate genotypes.

    Attributes:
        asked: genotypes of each call.
    """

    def __init__(self, appraiser: Appraiser, accuracy: Callable[[str], float]) -> None:
        self.asked: list[list[str]] = []
        self._appraiser = appraiser
        self._accuracy = accuracy

    def __call__(self, genotypes: Sequence[str]) -> list[Candidate]:
        self.asked.append(list(genotypes))
        return [
            evaluated(self._appraiser.appraise(one), self._accuracy(one), {"cpu_s": 1.0})
            for one in genotypes
        ]
