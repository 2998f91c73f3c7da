"""Into which parts TFLite cuts a network, and in which order it runs them.

TFLite runs by turns what a delegate takes and what it leaves. A part takes in every operator of
its kind whose inputs are ready, over and over until none is left, so that operators may run in
another order than the file's.

Source: google-ai-edge/LiteRT, tflite/graph_info.cc, PartitionGraphIntoIndependentNodeSubsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latency_tables.tflite.delegate import reason_outside, unpacked_constants
from latency_tables.tflite.network import ABSENT, Network, Operator, about


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Operators that run together.

    Attributes:
        is_delegated: whether XNNPACK runs them.
        operators: in order of execution, without those that only unpack a constant.
    """

    is_delegated: bool
    operators: tuple[Operator, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Partitioning:
    """A network in its parts.

    Attributes:
        parts: in order of execution; one that only unpacks constants is left out.
        reasons: why XNNPACK leaves an operator, by the operator's index.
    """

    parts: tuple[Part, ...]
    reasons: Mapping[int, str]


def partition(network: Network) -> Partitioning:
    """Cut a network as TFLite does with XNNPACK as its delegate.

    Raises:
        NetworkUnreadable: an operator lacks what its kind has.
    """
    reasons: dict[int, str] = {}
    for one in network.operators:
        with about(one):
            reasons[one.index] = reason_outside(network, one)
    outside = {index for index, reason in reasons.items() if reason}
    # A packed constant is judged by what reads it, not as an operator.
    unpacking = _unpacking(network)
    outside -= unpacking
    unpacked = unpacked_constants(network, outside)
    outside |= unpacking - unpacked
    parts = []
    ready = {index for index, one in enumerate(network.tensors) if one.is_constant}
    ready.update(network.inputs, [ABSENT], _variables(network))
    left = list(network.operators)
    while left:
        kind, taken, left = _next_part(left, outside, ready)
        shown = tuple(one for one in taken if one.index not in unpacked)
        if not taken:  # reads what nobody computes; LiteRT would refuse the file
            break
        if shown:
            parts.append(Part(is_delegated=kind, operators=shown))
    told = {
        index: reasons[index] or "constant that an operator outside of XNNPACK reads"
        for index in sorted(outside)
    }
    return Partitioning(parts=tuple(parts), reasons=told)


def _unpacking(network: Network) -> set[int]:
    return set(unpacked_constants(network, ()))


def _variables(network: Network) -> list[int]:
    return [index for index, one in enumerate(network.tensors) if one.is_variable]


def _next_part(
    left: list[Operator], outside: set[int], ready: set[int]
) -> tuple[bool, list[Operator], list[Operator]]:
    """The operators of the next part, and those that are left; ``ready`` takes in its outputs."""
    kind: bool | None = None
    taken: list[Operator] = []
    found = True
    while found:
        found, rest = False, []
        for operator in left:
            is_delegated = operator.index not in outside
            is_ready = ready.issuperset(operator.inputs)
            if is_ready and kind in (None, is_delegated):
                kind = is_delegated
                ready.update(operator.outputs)
                taken.append(operator)
                found = True
            else:
                rest.append(operator)
        left = rest
    return bool(kind), taken, left
