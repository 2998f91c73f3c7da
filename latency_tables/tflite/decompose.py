"""From a TFLite file to the kernels that the runtime will run, partition by partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass

from latency_tables.kernel import Kernel
from latency_tables.tflite.draft import Draft, Value
from latency_tables.tflite.fusion import fuse
from latency_tables.tflite.kernels import drafts_of
from latency_tables.tflite.network import Network, about
from latency_tables.tflite.partition import Part, partition


@dataclass(frozen=True, kw_only=True)
class RunKernel:
    """A kernel in its place.

    Attributes:
        kernel: what runs.
        operators: indices of the file's operators that it does the work of.
        is_delegated: whether XNNPACK runs it.
    """

    kernel: Kernel
    operators: tuple[int, ...]
    is_delegated: bool


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """What runs of a network.

    Attributes:
        parts: kernels in order of execution, by partition; XNNPACK's and TFLite's by turns.
        reasons: why XNNPACK leaves an operator, by its index in the file.
    """

    parts: tuple[tuple[RunKernel, ...], ...]
    reasons: Mapping[int, str]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel, in order of execution."""
        return tuple(one.kernel for one in self.run)

    @property
    def run(self) -> tuple[RunKernel, ...]:
        """Every kernel in its place, in order of execution."""
        return tuple(one for part in self.parts for one in part)

    @property
    def delegated_parts(self) -> int:
        """How many partitions XNNPACK runs."""
        return sum(part[0].is_delegated for part in self.parts)


def decompose(network: Network) -> Decomposition:
    """The kernels of a network.

    Raises:
        NetworkUnreadable: an operator lacks what its kind has.
    """
    cut = partition(network)
    readers = _parts_that_read(network, cut.parts)
    parts = []
    for number, part in enumerate(cut.parts):
        drafts: list[Draft] = []
        for operator in part.operators:
            with about(operator):
                drafts += drafts_of(network, operator, is_delegated=part.is_delegated)
        if part.is_delegated:
            leaving = {value for value, numbers in readers.items() if numbers - {number}}
            drafts = fuse(_needed(drafts, leaving), leaving)
        if drafts:
            parts.append(tuple(_placed(draft) for draft in drafts))
    return Decomposition(parts=tuple(parts), reasons=cut.reasons)


def _parts_that_read(network: Network, parts: tuple[Part, ...]) -> dict[Value, set[int]]:
    """Numbers of the partitions that read a value; -1 for the caller of the network."""
    readers: dict[Value, set[int]] = defaultdict(set)
    for number, part in enumerate(parts):
        for operator in part.operators:
            for index in operator.inputs:
                readers[index].add(number)
    for index in network.outputs:
        readers[index].add(-1)
    return readers


def _needed(drafts: list[Draft], leaving: Set[Value]) -> list[Draft]:
    """XNNPACK leaves out what nothing reads."""
    wanted = set(leaving)
    kept = []
    for draft in reversed(drafts):
        if wanted.intersection(draft.writes):
            wanted.update(draft.reads)
            kept.append(draft)
    return kept[::-1]


def _placed(draft: Draft) -> RunKernel:
    return RunKernel(
        kernel=draft.kernel(),
        operators=tuple(dict.fromkeys(draft.operators)),
        is_delegated=draft.is_delegated,
    )
