from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from swiftnets import appraiser_of, drawn_from

from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.gibbs import Move, is_accepted, propose
from toolchain.methods.limits import Limits
from toolchain.methods.meta_graph import MetaGraph
from toolchain.spaces.dag import Mask
from toolchain.spaces.swiftnet import SwiftNetSpace

TINY = SwiftNetSpace(
    nodes=(4,), input_shape=(3, 8, 8), stem_channels=4, stem_width=8, widths=(8,), outputs=(8,),
    max_inputs=2,
)  # fmt: skip
TEMPERATURE = 0.05
STEPS = 20_000
MAX_MACS = 11_000
"""Shuts out ten of the tiny space's networks."""

Masks = tuple[Mask, ...]


class Remembering(Appraiser):
    """Looks each network up once: the chain below takes many steps among few of them."""

    @cache  # noqa: B019
    def appraise(self, genotype: str) -> Candidate:
        return super().appraise(genotype)


def remembering(appraiser: Appraiser) -> Appraiser:
    return Remembering(**vars(appraiser))


def meta_graph(rng: np.random.Generator, space: SwiftNetSpace = TINY) -> MetaGraph:
    """Operators and weights that differ from edge to edge."""
    blank = MetaGraph.blank(space.shuffled_operators(rng), space.max_inputs)
    weights = tuple(np.triu(rng.normal(size=one.shape), k=1) for one in blank.weights)
    return replace(blank, weights=weights)


def score_of(genotype: str) -> float:
    return float(drawn_from(genotype).uniform(0, 0.15))


def prior_of_inputs(meta: MetaGraph, node: int) -> dict[tuple[bool, ...], float]:
    """Probability of each choice of a node's inputs, by the definition of the draw."""
    edges = meta.probabilities(0)[:node, node]
    prior: Counter[tuple[bool, ...]] = Counter()
    for chosen in itertools.product((False, True), repeat=node):
        chance = math.prod(np.where(chosen, edges, 1 - edges))
        places = [place for place, is_read in enumerate(chosen) if is_read]
        kept = list(itertools.combinations(places, min(len(places), meta.max_inputs)))
        for some in kept:
            prior[tuple(place in some for place in range(node))] += chance / len(kept)
    return dict(prior)


def target(
    meta: MetaGraph, appraiser: Appraiser, temperature: float = TEMPERATURE
) -> dict[str, float]:
    """Prior times exp(score / temperature) of each network within the budget, summing to 1."""
    size = len(meta.operators[0]) + 1
    weight: Counter[str] = Counter()
    priors = [prior_of_inputs(meta, node) for node in range(1, size)]
    for columns in itertools.product(*(prior.items() for prior in priors)):
        mask = np.zeros((size, size), dtype=np.bool_)
        for node, (inputs, _) in enumerate(columns, start=1):
            mask[:node, node] = inputs
        if not meta.dags([mask])[0].nodes:
            continue
        genotype = TINY.genotype(meta.operators, [mask])
        if appraiser.admits(appraiser.appraise(genotype)):
            chance = math.prod(chance for _, chance in columns)
            weight[genotype] += chance * math.exp(score_of(genotype) / temperature)
    total = sum(weight.values())
    return {genotype: one / total for genotype, one in weight.items()}


def first_masks(meta: MetaGraph) -> Masks:
    """The smallest network: one node that reads the input."""
    mask = np.zeros((len(meta.operators[0]) + 1,) * 2, dtype=np.bool_)
    mask[0, 1 + meta.operators[0].index("c")] = True
    return (mask,)


@pytest.mark.parametrize("max_macs", [None, MAX_MACS], ids=["free", "budget"])
def test_the_chain_visits_networks_as_often_as_prior_score_and_budget_say(
    max_macs: int | None,
) -> None:
    rng = np.random.default_rng(5)
    meta = meta_graph(rng)
    appraiser = remembering(appraiser_of(TINY, None, Limits(max_macs=max_macs)))
    expected = target(meta, appraiser)
    free = target(meta, remembering(appraiser_of(TINY, None)))
    if max_macs is not None:  # the budget shuts out a good part of what the chain would visit
        assert sum(chance for one, chance in free.items() if one not in expected) > 0.2
    masks = first_masks(meta)
    visits: Counter[str] = Counter()
    for _ in range(STEPS):
        masks, move = propose(masks, meta, TINY, appraiser, rng, tries=1)
        before = score_of(TINY.genotype(meta.operators, masks))
        if move and is_accepted(before, score_of(move.genotype), TEMPERATURE, rng):
            masks = move.masks
        visits[TINY.genotype(meta.operators, masks)] += 1
    assert visits.keys() <= expected.keys()
    # Of independent draws 0.01; those of a chain hang together. It falls with more steps.
    assert distance(visits, expected) < 0.05
    assert distance(target(meta, appraiser, temperature=math.inf), expected) > 0.2
    assert distance(target(MetaGraph.blank(meta.operators, 2), appraiser), expected) > 0.2


def distance(weights: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Total variation between two distributions, the first in any unit."""
    total = sum(weights.values())
    return sum(abs(weights.get(one, 0) / total - chance) for one, chance in expected.items()) / 2


def test_many_tries_are_as_many_steps_of_one_try() -> None:
    meta = meta_graph(np.random.default_rng(1))
    appraiser = appraiser_of(TINY, None, Limits(max_macs=MAX_MACS))
    start = first_masks(meta)
    for seed in range(30):
        one, many = np.random.default_rng(seed), np.random.default_rng(seed)
        masks: Masks = start
        move: Move | None = None
        for _ in range(200):
            masks, move = propose(masks, meta, TINY, appraiser, one, tries=1)
            if move:
                break
        found, at_once = propose(start, meta, TINY, appraiser, many)
        assert move
        assert at_once
        assert (move.genotype, move.stage, move.node) == (
            at_once.genotype, at_once.stage, at_once.node,
        )  # fmt: skip
        assert all(map(np.array_equal, masks, found))
        assert one.random() == many.random()


def test_a_move_changes_the_inputs_of_one_node_and_the_network() -> None:
    rng = np.random.default_rng(2)
    meta, appraiser = meta_graph(rng), appraiser_of(TINY, None)
    masks = first_masks(meta)
    for _ in range(200):
        held, move = propose(masks, meta, TINY, appraiser, rng)
        assert move
        assert TINY.genotype(meta.operators, held) == TINY.genotype(meta.operators, masks)
        assert TINY.genotype(meta.operators, move.masks) == move.genotype
        assert move.genotype != TINY.genotype(meta.operators, masks)
        changed = np.argwhere(held[move.stage] != move.masks[move.stage])
        assert set(changed[:, 1]) == {move.node}
        assert move.masks[move.stage].sum(0).max() <= TINY.max_inputs
        masks = move.masks


def test_steps_among_what_the_input_does_not_reach_are_kept() -> None:
    # Node 2 reads only node 1, which reads nothing: what node 2 reads of it changes no network.
    meta = MetaGraph.blank(("ccc",), 2)
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[0, 3] = True
    space = replace(TINY, nodes=(4,))
    seen = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        held, _ = propose((mask,), meta, space, appraiser_of(space, None), rng)
        assert space.genotype(meta.operators, held) == "1c0"
        seen.add(bool(held[0][1, 2]))
    assert seen == {False, True}


def test_a_chain_that_no_draw_leads_away_from_stays() -> None:
    meta = meta_graph(np.random.default_rng(1))
    start = first_masks(meta)
    smallest = appraiser_of(TINY, None).appraise(TINY.genotype(meta.operators, start)).macs
    appraiser = appraiser_of(TINY, None, Limits(max_macs=smallest - 1))
    held, move = propose(start, meta, TINY, appraiser, np.random.default_rng(0))
    assert move is None
    assert TINY.genotype(meta.operators, held) == TINY.genotype(meta.operators, start)


def test_a_better_network_is_always_accepted_a_worse_one_by_metropolis_rule() -> None:
    rng = np.random.default_rng(0)
    assert all(is_accepted(0.5, after, 0.01, rng) for after in (0.5, 0.500001, 0.9) * 50)
    accepted = np.mean([is_accepted(0.51, 0.5, 0.02, rng) for _ in range(20_000)])
    assert accepted == pytest.approx(math.exp(-0.5), abs=0.012)
    assert not any(is_accepted(0.9, 0.1, 0.002, rng) for _ in range(1000))
