"""GRAM: learn in a meta-graph which edges are worth having, by Gibbs moves of one node at a time.

Source: GRAM, arXiv 1906.08305 (SwiftNet). The paper's body was not available. From the abstract
and the authors' released code come the meta-graph, the two samplers, the Gibbs chain, the hard
constraints and the pruning of the meta-graph to networks of many sizes. The chain's target, the
credit and all numbers are a reconstruction.

* Warm-up: random networks, the best of which start the chains.
* Each round every chain proposes a move: the inputs of one node are drawn anew, everything else
  is held. A proposal beyond the budget is rejected, and the next one drawn, before anything is
  trained (`gibbs.py`, which also says what the chain converges to while the meta-graph is held).
* Chains are independent within a round and share what they learn after it. So a round's
  networks can be trained in parallel, and how many at a time does not matter.
* The meta-graph learns from every evaluation; the credit of a move is how much it changed the
  score of its chain, which holds all else fixed.
* Scores lean on the trend over all networks trained so far (`trend.py`, ours), which also picks
  the move to train from several and, with the accuracies, the answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.gibbs import Move, State, is_accepted, propose
from toolchain.methods.gram_settings import GramSettings
from toolchain.methods.meta_graph import MetaGraph, propagated
from toolchain.methods.result import SearchResult, TrajectoryStep
from toolchain.methods.trend import Trend
from toolchain.spaces.dag import Mask
from toolchain.spaces.swiftnet import SwiftNetSpace

WARM_UP_TRIES = 5000
"""Draws for the warm-up's networks within the budget."""

ROUNDS = 20
"""Rounds for each evaluation asked for, before a search that meets only known networks ends."""

IDLE = 10
"""Rounds in a row in which no chain finds a move, before the search ends."""

MEMORY = 0.9
"""Of the running mean and spread of the scores."""

LOOK_BACK = 50
CONVERGED = 1e-3
"""The search ends when the mean probability of an edge moved by less over so many rounds."""


def gram(
    appraiser: Appraiser, evaluate: Evaluate, settings: GramSettings, rng: np.random.Generator
) -> SearchResult:
    """Search with a meta-graph; the answer has the highest smoothed accuracy of all trained.

    Raises:
        ValueError: the space is not SwiftNet's.
        BudgetUnreachable: no network was found within the budget.
    """
    if not isinstance(appraiser.space, SwiftNetSpace):
        raise ValueError(
            f"GRAM searches the SwiftNet space, not {appraiser.space.name}: take another method"
        )
    search = _Search(appraiser, appraiser.space, evaluate, settings, rng)
    search.warm_up()
    steps: list[TrajectoryStep] = []
    idle = 0
    for _ in range(ROUNDS * settings.evaluations):
        if len(search.trained) >= settings.evaluations or idle == IDLE or search.has_converged():
            break
        step = search.round()
        idle = 0 if step else idle + 1
        steps += [step] if step else []
    candidates = tuple(search.trained.values())
    # What was within the budget when proposed may not be, once the table has learned.
    admitted = [one for one in candidates if appraiser.admits(one)]
    if not admitted:
        raise appraiser.unreachable(candidates)
    best = max(admitted, key=lambda one: (search.smoothed(one), -one.macs))
    return SearchResult(
        best=best,
        evaluated=candidates,
        trajectory=tuple(steps),
        meta_graph=replace(search.meta, answer=search.meta.dags(search.masks[best.genotype])),
    )


class _Search:
    """A search under way.

    Attributes:
        meta: what it has learned.
        trained: every candidate by its genotype, in the order asked for.
        masks: edges that made each of them.
    """

    def __init__(
        self,
        appraiser: Appraiser,
        space: SwiftNetSpace,
        evaluate: Evaluate,
        settings: GramSettings,
        rng: np.random.Generator,
    ) -> None:
        self.trained: dict[str, Candidate] = {}
        self.masks: dict[str, tuple[Mask, ...]] = {}
        self.meta = MetaGraph.blank(space.shuffled_operators(rng), space.max_inputs)
        self._blank = self.meta
        self._appraiser = appraiser
        self._space = space
        self._evaluate = evaluate
        self._settings = settings
        self._rng = rng
        self._chains: list[State] = []
        self._trend: Trend | None = None
        self._mean = self._variance = 0.0
        self._past: deque[MetaGraph] = deque(maxlen=LOOK_BACK)

    def warm_up(self) -> None:
        """Train random networks, learn from them, and start the chains at the best.

        Raises:
            BudgetUnreachable: no draw was within the budget.
        """
        drawn: dict[str, tuple[Mask, ...]] = {}
        seen = []
        for _ in range(WARM_UP_TRIES):
            if len(drawn) == self._settings.warm_up:
                break
            masks = tuple(
                self._space.sample_mask(len(letters) + 1, self._rng)
                for letters in self.meta.operators
            )
            candidate = self._appraiser.appraise(self._genotype(masks))
            seen.append(candidate)
            if self._appraiser.is_worth_training(candidate):
                drawn.setdefault(candidate.genotype, masks)
        if not drawn:
            raise self._appraiser.unreachable(seen)
        self._train(drawn)
        states = [State(masks=masks, candidate=self.trained[one]) for one, masks in drawn.items()]
        scores = [self._score(state.candidate) for state in states]
        self._mean, self._variance = float(np.mean(scores)), float(np.var(scores))
        for state in states:
            self._learn_whole(state)
        best_first = sorted(states, key=lambda state: -self._score(state.candidate))
        self._chains = [
            best_first[chain % len(best_first)] for chain in range(self._settings.chains)
        ]

    def smoothed(self, candidate: Candidate) -> float:
        """A trained candidate's accuracy, drawn towards what its make-up leads to expect."""
        assert self._trend is not None, "networks have been trained"
        expected = self._trend.accuracy(candidate.genotype)
        return candidate.accuracy + self._settings.smoothing * (expected - candidate.accuracy)

    def has_converged(self) -> bool:
        """Whether the meta-graph stands still."""
        return len(self._past) == LOOK_BACK and self._shift(self._past[0]) < CONVERGED

    def round(self) -> TrajectoryStep | None:
        """One move of every chain; None when no chain found one."""
        moves = self._propose()
        if not moves:
            return None
        self._past.append(self.meta)
        self._train({move.genotype: move.masks for _, move in moves})
        scores = [self._score(self.trained[move.genotype]) for _, move in moves]
        for (chain, move), score in zip(moves, scores, strict=True):
            self._take(chain, move, score)
        best = max(self._chains, key=lambda state: self._score(state.candidate))
        return TrajectoryStep(
            chosen=best.candidate,
            score=self._score(best.candidate),
            mean_score=float(np.mean(scores)),
            candidates=len(moves),
            trained=len(self.trained),
            edges=sum(len(dag.edges) for dag in self.meta.dags(best.masks)),
            within_budget=True,
        )

    def _propose(self) -> list[tuple[int, Move]]:
        """Moves with their chains, to as many new networks as may still be trained."""
        source = self.meta if self._settings.sampler == "adaptive" else self._blank
        moves: list[tuple[int, Move]] = []
        new: set[str] = set()
        for chain, state in enumerate(self._chains):
            held, drawn = state.masks, []
            for _ in range(self._settings.foresight):
                held, move = propose(held, source, self._space, self._appraiser, self._rng)
                drawn += [move] if move else []
            self._chains[chain] = replace(state, masks=held)
            if not drawn:
                continue
            move = self._most_promising(drawn)
            if move.genotype not in self.trained:
                if len(self.trained) + len(new | {move.genotype}) > self._settings.evaluations:
                    continue
                new.add(move.genotype)
            moves.append((chain, move))
        return moves

    def _most_promising(self, moves: list[Move]) -> Move:
        """Of the moves to new networks the one that the trend expects most of; else the first."""
        new = [move for move in moves if move.genotype not in self.trained]
        if not new:
            return moves[0]
        assert self._trend is not None, "the warm-up has trained networks"
        expected = [self._trend.accuracy(move.genotype) for move in new]
        return new[int(np.argmax(expected))]

    def _train(self, asked: Mapping[str, tuple[Mask, ...]]) -> None:
        """Train those of these networks that are new, each given with its edges."""
        new = {genotype: masks for genotype, masks in asked.items() if genotype not in self.masks}
        self.trained.update((one.genotype, one) for one in self._evaluate(list(new)))
        self.masks.update(new)
        accuracies = [one.accuracy for one in self.trained.values()]
        self._trend = Trend.fit(list(self.trained), accuracies)

    def _take(self, chain: int, move: Move, score: float) -> None:
        """Learn from a move and accept it or not."""
        state = self._chains[chain]
        before = self._score(state.candidate)
        baseline = before if self._settings.credit == "move" else self._mean
        self._learn(move.stage, move.masks, {move.node: self._advantage(score - baseline)})
        self._remember(score)
        progress = len(self.trained) / self._settings.evaluations
        temperature = self._settings.temperature(min(progress, 1.0))
        if is_accepted(before, score, temperature, self._rng):
            candidate = self.trained[move.genotype]
            self._chains[chain] = State(masks=move.masks, candidate=candidate)

    def _learn_whole(self, state: State) -> None:
        """Learn from a network that was drawn as a whole: every node's inputs were a choice."""
        advantage = self._advantage(self._score(state.candidate) - self._mean)
        for stage, mask in enumerate(state.masks):
            credit = np.full(len(mask), advantage)
            self.meta = self.meta.learn(stage, mask, credit, self._settings.learning_rate)

    def _learn(self, stage: int, masks: tuple[Mask, ...], credit: dict[int, float]) -> None:
        dag = self.meta.dags(masks)[stage]
        spread = propagated(dag, len(masks[stage]), credit, self._settings.propagation)
        self.meta = self.meta.learn(stage, masks[stage], spread, self._settings.learning_rate)

    def _advantage(self, difference: float) -> float:
        """A difference of scores in units of their spread."""
        return difference / math.sqrt(self._variance) if self._variance > 0 else 0.0

    def _remember(self, score: float) -> None:
        self._variance = MEMORY * self._variance + (1 - MEMORY) * (score - self._mean) ** 2
        self._mean = MEMORY * self._mean + (1 - MEMORY) * score

    def _shift(self, past: MetaGraph) -> float:
        """Mean change of an edge's probability since then."""
        changes = [
            np.abs(self.meta.probabilities(stage) - past.probabilities(stage))[
                np.triu_indices(len(letters) + 1, k=1)
            ]
            for stage, letters in enumerate(self.meta.operators)
        ]
        return float(np.mean(np.concatenate(changes)))

    def _genotype(self, masks: tuple[Mask, ...]) -> str:
        return self._space.genotype(self.meta.operators, masks)

    def _score(self, candidate: Candidate) -> float:
        budget = self._appraiser.budget
        cost = candidate.p50_ms / budget.limit_ms if budget else candidate.macs / 1e6
        return self.smoothed(candidate) - self._settings.cost_weight * math.log10(cost)
