"""Pieces of a network that together run each of its kernels, in context, but none all of them.

Kernels are measured in pieces of the file: long enough that a kernel runs between the neighbours
that it has in the whole, and that weights leave the caches from run to run as they do there.
Pieces overlap by half, so that most kernels occur in two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from latency_tables.kernel import Kernel
from latency_tables.tflite.cut import cut
from latency_tables.tflite.decompose import Decomposition, RunKernel, decompose
from latency_tables.tflite.network import Network, parse_network

SHARE = 0.5
"""Kernels of a piece, as a share of the network's."""

LEAST_KERNELS = 6
"""A piece is no shorter, if the network is not."""


class Piece(NamedTuple):
    """A file to measure.

    Attributes:
        name: what it is of the whole.
        kernels: what it runs, in execution order.
        build: makes the content of the file.
    """

    name: str
    kernels: tuple[Kernel, ...]
    build: Callable[[], bytes]


def pieces(network: Network, whole: Decomposition) -> Iterator[Piece]:
    """Cut a network into overlapping pieces, by its kernels in execution order.

    No piece has more than one partition of XNNPACK: a phone's profile adds up the operators of
    several. An operator that LiteRT does not know, a custom one, is in no piece.
    """
    for first, run in _known_runs(network, whole):
        length = max(LEAST_KERNELS, round(SHARE * len(run)))
        step = max(1, length // 2)
        for reach in range(length, max(length, len(run)) + step, step):
            stop = min(reach, len(run))
            start = max(0, stop - length)
            operators = frozenset(index for one in run[start:stop] for index in one.operators)
            kernels = decompose(parse_network(cut(network, operators))).kernels
            name = f"kernels {first + start} to {first + stop - 1}"
            yield Piece(name, kernels, partial(cut, network, operators))


def _known_runs(
    network: Network, whole: Decomposition
) -> Iterator[tuple[int, tuple[RunKernel, ...]]]:
    """Stretches of kernels that can be measured together, with the number of the first."""
    run: list[RunKernel] = []
    number = 0
    for part in whole.parts:
        has_one = part[0].is_delegated and any(one.is_delegated for one in run)
        if has_one and not _is_sized_at_run_time(network, run[-1]):
            yield number - len(run), tuple(run)
            run = []
        for one in part:
            number += 1
            if not _is_unknown(network, one):
                run.append(one)
                continue
            if run:
                yield number - 1 - len(run), tuple(run)
            run = []
    if run:
        yield number - len(run), tuple(run)


def _is_sized_at_run_time(network: Network, one: RunKernel) -> bool:
    """Whether a kernel reads the size of its output: LiteRT gives no such output to a caller."""
    inputs = {read for index in one.operators for read in network.operators[index].inputs}
    return not network.sizes.isdisjoint(inputs)


def _is_unknown(network: Network, one: RunKernel) -> bool:
    """Whether a kernel is a custom operator that LiteRT does not know."""
    operators = [network.operators[index] for index in one.operators]
    return not one.is_delegated and any(operator.is_custom for operator in operators)
