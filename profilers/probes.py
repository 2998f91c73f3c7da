"""Which networks to measure so that every kernel of a search space is covered, in context.

A kernel measured alone runs with hot caches and reads low; measured inside networks like those
that will be predicted, it does not. So probes are networks of the space itself. They are chosen
from a pool by greedy multi-cover: next comes the network with most kernels that still lack
contexts, for its length.

Source: greedy set multi-cover, Dobson, Math. Oper. Res. 7(4), 1982.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from latency_tables.kernel import Kernel


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A network to measure.

    Attributes:
        subject: what identifies it: a genotype.
        kernels: what it runs, in execution order.
        build: makes the content of its TFLite file; called only when it is measured.
    """

    subject: str
    kernels: tuple[Kernel, ...]
    build: Callable[[], bytes] = field(compare=False, repr=False)


def choose_probes(pool: Sequence[Probe], contexts: int) -> list[Probe]:
    """Probes in which every kernel of the pool occurs ``contexts`` times, if the pool allows.

    Args:
        pool: networks to choose from; every one of their kernels is covered.
        contexts: how many different probes each kernel should occur in.

    Raises:
        ValueError: no contexts were asked for.
    """
    if contexts < 1:
        raise ValueError(f"each kernel needs at least 1 context, got {contexts}")
    kernel_sets = [frozenset(probe.kernels) for probe in pool]
    available = Counter(kernel for kernels in kernel_sets for kernel in kernels)
    wanted = {kernel: min(contexts, count) for kernel, count in available.items()}
    remaining = set(range(len(pool)))
    chosen: list[Probe] = []
    while wanted:  # ends: every kernel wanted is in enough of the remaining probes
        best = max(
            sorted(remaining),
            key=lambda index: _gain(kernel_sets[index], wanted) / len(pool[index].kernels),
        )
        remaining.remove(best)
        chosen.append(pool[best])
        for kernel in kernel_sets[best] & wanted.keys():
            wanted[kernel] -= 1
            if not wanted[kernel]:
                del wanted[kernel]
    return chosen


def _gain(kernels: frozenset[Kernel], wanted: dict[Kernel, int]) -> int:
    return sum(wanted.get(kernel, 0) for kernel in kernels)
