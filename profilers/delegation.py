"""What a delegate took over of a graph, and whether times of its operators can be assigned.

TFLite cuts a graph into parts that the delegate runs in one piece and parts that it leaves, by
turns. Several delegated parts are profiled as one: their operators are numbered from 0 in each
part, and those of the same type and number are added up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from profilers.operator_rows import OperatorRow
from profilers.run_statistics import whole

_COUNT = r"([0-9]{1,15})"
_REPLACING = re.compile(
    rf"Replacing {_COUNT} (?:out of {_COUNT} )?node\(s\) with delegate \(([\w .:-]{{1,100}})\) "
    rf"node, yielding {_COUNT} partitions(?: for subgraph {_COUNT})?"
)
_APPLIED = re.compile(
    r"(?:Explicitly applied|Applied) ([\w .-]{1,100}) delegate, and the model graph will be "
    rf"(completely executed|partially executed by the delegate w/ {_COUNT} delegate kernels)"
)
_OPAQUE = re.compile(r"TfLite\w*Delegate\w*")
# LiteRT 2.3 tells the calls of all runs, of which the tool may count some less.
_LEAST_CALLS, _MOST_CALLS = 0.5, 1.5
# Their times hold those of the graphs that they call.
_CONTROL_FLOW = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE"})


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """One ``Replacing .. node(s) with delegate`` of an output.

    Attributes:
        delegate: As TFLite calls it, ``TfLiteXNNPackDelegate``.
        nodes: Nodes that it took over.
        of_nodes: Nodes that there were; 0 where the build does not tell (until 2021).
        partitions: Parts of the graph, delegated or not.
        subgraph: Number of the graph.
    """

    delegate: str
    nodes: int
    of_nodes: int
    partitions: int
    subgraph: int

    @property
    def least_parts(self) -> int:
        """How many delegated parts there are at least, for delegated ones and others alternate."""
        is_whole = self.nodes == self.of_nodes
        return self.partitions if is_whole else max(1, self.partitions // 2)


def delegations_in(text: str) -> tuple[Delegation, ...]:
    """All that an output tells of, in its order, each once."""
    found = (
        Delegation(
            delegate=match[3],
            nodes=int(match[1]),
            of_nodes=int(match[2] or 0),
            partitions=int(match[4]),
            subgraph=int(match[5] or 0),
        )
        for match in _REPLACING.finditer(text)
    )
    return tuple(dict.fromkeys(found))


def kernel_count_in(text: str) -> int | None:
    """Delegated parts of the graph as the tool counts them; only of a delegate asked for."""
    match = _APPLIED.search(text)
    return None if match is None else int(match[3] or 1)


def obstacle(
    operators: Sequence[OperatorRow],
    delegations: Iterable[Delegation],
    delegate_kernels: int | None,
) -> str:
    """Why the rows are not the operators in order of execution, one row each; or nothing."""
    return (
        _obstacle_of_kinds({row.kind for row in operators})
        or _obstacle_of_parts(delegations, delegate_kernels)
        or _obstacle_of_calls(operators)
        or _obstacle_of_numbers([row for row in operators if row.is_delegated])
    )


def _obstacle_of_kinds(kinds: Iterable[str]) -> str:
    for kind in sorted(kinds):
        if _OPAQUE.fullmatch(kind):
            return f"{kind} tells one time for all its operators"
        if kind in _CONTROL_FLOW:
            return f"{kind} calls other graphs"
    return ""


def _obstacle_of_parts(delegations: Iterable[Delegation], delegate_kernels: int | None) -> str:
    if delegate_kernels is not None and delegate_kernels > 1:
        return f"the delegate runs the graph in {delegate_kernels} separate parts"
    of_the_graph = [delegation for delegation in delegations if delegation.subgraph == 0]
    if sum(delegation.least_parts for delegation in of_the_graph) <= 1:
        return ""
    return " and ".join(
        f"{delegation.delegate} took {delegation.nodes} of {delegation.of_nodes or 'all'} nodes, "
        f"which makes {delegation.partitions} partitions"
        for delegation in of_the_graph
    )


def _obstacle_of_calls(operators: Sequence[OperatorRow]) -> str:
    for row in operators:
        if not _LEAST_CALLS < row.calls < _MOST_CALLS:
            return f"{row.kind} ran {row.calls:g} times in an inference, not once"
    return ""


def _obstacle_of_numbers(delegated: Sequence[OperatorRow]) -> str:
    numbers = [whole(row.name.rpartition(":")[2]) for row in delegated]
    known = [number for number in numbers if number is not None]
    if len(known) != len(delegated):
        return "a delegated operator has no number"
    if known != sorted(set(known)):
        return "the operators of the delegate are not numbered in order: they are of several parts"
    return ""
