"""ScaleNAS: evolve depths and fusions of ScaleNets, module by module.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, section 4.2, algorithm 1, and the released
code. The paper searches without a limit and reads networks off the final front; here a budget is
hard, by rejection before anything is evaluated. Where we differ, and why:

* Parents are the most accurate networks that use most of the budget (``selection="window"``). The
  paper peels fronts off all networks (``"front"``), which drifts to cheap ones: of the authors'
  own two searches on record the one that chose by accuracy did better.
* Depths change too (``depth_step``); in the released code they are only inherited.
* The last module is searched like the others; what the head fixes of it stays (see the space).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from toolchain.methods.candidate import Appraiser, Candidate, Evaluate
from toolchain.methods.pareto import cost_of, peeled
from toolchain.methods.result import SearchResult
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_module import ScaleModule, Steps, others
from toolchain.train.sub_networks import depth_groups

SELECTIONS = ("window", "front")

DENSITIES = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Shares of fusions that are on, of the first population's groups (released code)."""

TRIES = 500
"""Draws for one network that is new and within the budget."""


@dataclass(frozen=True, kw_only=True)
class ScaleNasSettings:
    """How to evolve; the paper's numbers in brackets.

    Attributes:
        evaluations: networks to evaluate, the first population's included (2000).
        population: the first population, drawn in equal parts from every group of depths and
            density of fusions (1000).
        parents: of each generation; every parent has one child (100).
        selection: ``window`` or ``front``, see above.
        window: least share of the dearest admitted cost that parents of ``window`` have.
        crossover: probability that a module is another parent's (0.25).
        fusion_flip: probability of each fusion to change (0.5 in the paper, 0.2 in the code).
        depth_step: probability of each branch's depth to change by one (0).
    """

    evaluations: int = 180
    population: int = 45
    parents: int = 12
    selection: str = "window"
    window: float = 0.6
    crossover: float = 0.3
    fusion_flip: float = 0.05
    depth_step: float = 0.06

    def __post_init__(self) -> None:
        if not 1 <= self.parents <= self.population <= self.evaluations:
            raise ValueError(
                "ScaleNAS needs 1 <= parents <= population <= evaluations, got "
                f"{self.parents}, {self.population} and {self.evaluations}"
            )
        if self.selection not in SELECTIONS:
            raise ValueError(
                f"selection is one of {', '.join(SELECTIONS)}, got {self.selection!r}"
            )
        for name in ("window", "crossover", "fusion_flip", "depth_step"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {getattr(self, name)}")


def scalenas(
    appraiser: Appraiser, evaluate: Evaluate, settings: ScaleNasSettings, rng: np.random.Generator
) -> SearchResult:
    """Evolve within the budget; the answer is the most accurate network evaluated.

    A small space may hold fewer different networks within the budget than asked for; the search
    ends when a generation finds no new one.

    Raises:
        ValueError: the space is not ScaleNet's.
        BudgetUnreachable: no network was found within the budget.
    """
    space = appraiser.space
    if not isinstance(space, ScaleNetSpace):
        raise ValueError(
            f"ScaleNAS searches the ScaleNet space, not {space.name}: take another method"
        )
    first = evaluate(_first_population(appraiser, space, settings.population, rng))
    known = {one.genotype: one for one in first}
    while len(known) < settings.evaluations:  # ends: each generation brings a new network
        parents = select(list(known.values()), settings, appraiser)
        children: dict[str, None] = {}
        for parent in islice(parents, settings.evaluations - len(known)):
            child = _child(
                parent, parents, known.keys() | children, appraiser, space, settings, rng
            )
            if child is not None:
                children[child] = None
        if not children:
            break
        known.update((one.genotype, one) for one in evaluate(list(children)))
    evaluated = tuple(known.values())
    return SearchResult(best=appraiser.best(evaluated), evaluated=evaluated)


def select(
    candidates: Sequence[Candidate], settings: ScaleNasSettings, appraiser: Appraiser
) -> list[Candidate]:
    """The parents of the next generation, all of them evaluated and within the budget.

    Of ``window`` the most accurate come first. Where too few networks are in the window, the next
    cheaper ones fill up.
    """
    if settings.selection == "front":
        return peeled(candidates, settings.parents)
    budget = appraiser.budget
    limit = budget.limit_ms if budget else max(map(cost_of, candidates))
    least = settings.window * limit

    def rank(one: Candidate) -> tuple[bool, float, float]:
        is_inside = cost_of(one) >= least
        return is_inside, one.accuracy if is_inside else cost_of(one), -cost_of(one)

    return sorted(candidates, key=rank, reverse=True)[: settings.parents]


def crossed(
    modules: Sequence[ScaleModule],
    pool: Sequence[Sequence[ScaleModule]],
    probability: float,
    rng: np.random.Generator,
) -> list[ScaleModule]:
    """Each module, or in its place that of a random network of the pool."""
    return [
        pool[int(rng.integers(len(pool)))][index] if rng.uniform() < probability else module
        for index, module in enumerate(modules)
    ]


def mutated(
    module: ScaleModule, space: ScaleNetSpace, settings: ScaleNasSettings, rng: np.random.Generator
) -> ScaleModule:
    """The module with some depths one off and some fusions switched."""
    branches = len(module.branches)
    return ScaleModule(
        tuple(
            _mutated_steps(steps, others(branch, branches), space, settings, rng)
            for branch, steps in enumerate(module.branches)
        )
    )


def _mutated_steps(
    steps: Steps,
    sources: tuple[int, ...],
    space: ScaleNetSpace,
    settings: ScaleNasSettings,
    rng: np.random.Generator,
) -> Steps:
    if rng.uniform() < settings.depth_step:
        if rng.uniform() < 1 / 2:
            steps = steps[: max(len(steps) - 1, space.min_depth)]
        elif len(steps) < space.max_depth:
            steps = (*steps, steps[-1])
    return tuple(
        tuple(
            source
            for source in sources
            if (source in step) != (rng.uniform() < settings.fusion_flip)
        )
        for step in steps
    )


def _first_population(
    appraiser: Appraiser, space: ScaleNetSpace, count: int, rng: np.random.Generator
) -> list[str]:
    """Different networks within the budget, from each group in turn while it has one.

    Raises:
        BudgetUnreachable: no draw was within the budget.
    """
    drawn: dict[str, None] = {}
    seen: list[Candidate] = []
    groups = list(product(DENSITIES, depth_groups(space)))
    while groups and len(drawn) < count:
        for group in list(groups):
            density, depths = group
            for _ in range(TRIES):
                candidate = appraiser.appraise(space.sample_group(rng, depths, density))
                seen.append(candidate)
                if candidate.genotype not in drawn and appraiser.is_worth_training(candidate):
                    drawn[candidate.genotype] = None
                    break
            else:
                groups.remove(group)
            if len(drawn) == count:
                break
    if not drawn:
        raise appraiser.unreachable(seen)
    return list(drawn)


def _child(
    parent: Candidate,
    parents: Sequence[Candidate],
    known: set[str],
    appraiser: Appraiser,
    space: ScaleNetSpace,
    settings: ScaleNasSettings,
    rng: np.random.Generator,
) -> str | None:
    """A child that is new and within the budget; None when no try led to one."""
    own = space.parse(parent.genotype)
    pool = [space.parse(one.genotype) for one in parents]
    for _ in range(TRIES):
        modules = crossed(own, pool, settings.crossover, rng)
        child = space.genotype([mutated(module, space, settings, rng) for module in modules])
        if child not in known and appraiser.is_worth_training(appraiser.appraise(child)):
            return child
    return None
