"""The one pattern that most edits share: an operation and the only one that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from toolchain.export.lowering.network import Constant, Network, Operation


class Merged(NamedTuple):
    """What becomes of a pair.

    Attributes:
        operation: computes what the pair computed; its output is the second one's.
        constants: new ones that it reads.
    """

    operation: Operation
    constants: Mapping[str, Constant] = {}


Rule = Callable[[Network, Operation, Operation], Merged | None]
"""Given the network and a pair, what it becomes; None when the rule is not for it."""


def merge_pairs(network: Network, rule: Rule) -> Network:
    """The network with every pair merged that the rule is for.

    A merged operation stands where the first of its pair stood and may be merged again.
    """
    constants = dict(network.constants)
    current = replace(network, constants=constants)
    operations: list[Operation] = []
    places: dict[str, int] = {}
    for operation in network.operations:
        for source in operation.inputs:
            if source in places and network.readers[source] == 1:
                merged = rule(current, operations[places[source]], operation)
                if merged is not None:
                    constants.update(merged.constants)
                    places[operation.output] = places.pop(source)
                    operations[places[operation.output]] = merged.operation
                    break
        else:
            places[operation.output] = len(operations)
            operations.append(operation)
    return current.with_operations(operations)
