"""Which networks are best for what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.methods.candidate import Candidate


def cost_of(candidate: Candidate) -> float:
    """Predicted median latency in ms; MACs where no table was given."""
    return candidate.latency.p50_ms if candidate.latency else float(candidate.macs)


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those than which no other is both cheaper and as accurate; the cheapest first.

    Args:
        candidates: evaluated; of equal ones the first is kept.
    """
    best: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (cost_of(one), -one.accuracy)):
        if not best or one.accuracy > best[-1].accuracy:
            best.append(one)
    return best


def peeled(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The front, then the front of the rest, and so on, until there are so many.

    Source: ScaleNAS, arXiv 2011.14584, algorithm 1 and the released code.

    Returns:
        At most ``count``; of the last front the cheapest.
    """
    rest = list(candidates)
    chosen: list[Candidate] = []
    while rest and len(chosen) < count:
        layer = front(rest)
        chosen += layer
        taken = {id(one) for one in layer}
        rest = [one for one in rest if id(one) not in taken]
    return chosen[:count]
