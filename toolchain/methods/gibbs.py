"""Gibbs moves over SwiftNet topologies: the inputs of one node are drawn anew, all else is held.

Source: GRAM, arXiv 1906.08305, which argues its convergence by Gibbs sampling; that a move is
about one node, and how it is accepted, is a reconstruction.

Every draw is a step of the chain. The inputs are drawn from the meta-graph alone, whatever they
are now, so that with the acceptance below this is a Metropolis-Hastings chain whose target is the
meta-graph's distribution, restricted to networks within the budget and weighted by
exp(score / temperature). Most steps need no training: a draw beyond the budget leaves the chain
where it is, and one that changes only what the input does not reach keeps the score and is
accepted. A chain takes such steps until a draw leads to another network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.meta_graph import MetaGraph
from toolchain.spaces.dag import Mask
from toolchain.spaces.swiftnet import SwiftNetSpace

TRIES = 200
"""Steps of a chain in one round, before it stays with its network."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a chain stands.

    Attributes:
        masks: edges of each stage, also those that the input does not reach.
        candidate: the network they make, evaluated.
    """

    masks: tuple[Mask, ...]
    candidate: Candidate


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where a chain may go.

    Attributes:
        stage: from 0.
        node: whose inputs were drawn.
        masks: edges after the move.
        genotype: the network they make, within the budget, not yet evaluated.
    """

    stage: int
    node: int
    masks: tuple[Mask, ...]
    genotype: str


def propose(
    masks: tuple[Mask, ...],
    meta: MetaGraph,
    space: SwiftNetSpace,
    appraiser: Appraiser,
    rng: np.random.Generator,
    *,
    tries: int = TRIES,
) -> tuple[tuple[Mask, ...], Move | None]:
    """Take steps until one leads to another network within the budget.

    Args:
        masks: where the chain stands.
        meta: what moves are drawn from.
        space: names the networks.
        appraiser: says which are within the budget.
        rng: source of randomness.
        tries: most steps to take.

    Returns:
        Where the chain stands now, still with the same network, and the move from there to
        another, to be evaluated and accepted or not; None when no step led to one.
    """
    here = space.genotype(meta.operators, masks)
    for _ in range(tries):
        stage = int(rng.integers(len(masks)))
        node = int(rng.integers(1, len(masks[stage])))
        changed = masks[stage].copy()
        changed[:, node] = meta.draw_inputs(stage, node, rng)
        moved = (*masks[:stage], changed, *masks[stage + 1 :])
        if not all(dag.nodes for dag in meta.dags(moved)):
            continue
        genotype = space.genotype(meta.operators, moved)
        if genotype == here:
            masks = moved
        elif appraiser.is_worth_training(appraiser.appraise(genotype)):
            return masks, Move(stage=stage, node=node, masks=moved, genotype=genotype)
    return masks, None


def is_accepted(before: float, after: float, temperature: float, rng: np.random.Generator) -> bool:
    """Metropolis' rule: always up, down with probability exp(difference / temperature)."""
    return after >= before or rng.uniform() < math.exp((after - before) / temperature)
