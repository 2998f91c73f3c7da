from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from toolchain.spaces.scalenet import PAPER, ScaleNetSpace
from toolchain.train.sub_networks import DENSITIES, SAMPLINGS, depth_groups, grouped, sandwich

SPACE = ScaleNetSpace(input_shape=(3, 64, 64), **PAPER)


def depths_and_density(space: ScaleNetSpace, genotype: str) -> tuple[list[int], float]:
    """All depths, and the share of fusions that are on."""
    modules = space.parse(genotype)
    depths = [depth for module in modules for depth in module.depths]
    possible = sum(sum(module.depths) * (len(module.depths) - 1) for module in modules)
    return depths, sum(module.fusions for module in modules) / possible


def test_a_cycle_of_eleven_has_each_group_once_and_both_ends() -> None:
    met: Counter[tuple[int, ...]] = Counter()
    for step in range(11):
        depths, _ = depths_and_density(SPACE, grouped(SPACE, step, 0))
        met[tuple(sorted(set(depths)))] += 1
    assert met == {(2,): 1, (2, 3): 3, (3, 4): 3, (4, 5): 3, (5,): 1}
    assert grouped(SPACE, 10, 0) == grouped(SPACE, 21, 5) == SPACE.largest()


def test_groups_draw_their_depths_alike_and_fusions_at_their_share() -> None:
    wanted = [(density, pair) for density in DENSITIES for pair in depth_groups(SPACE)]
    for slot, (density, pair) in enumerate(wanted, start=1):
        drawn = [
            depths_and_density(SPACE, grouped(SPACE, slot + 11 * turn, 0)) for turn in range(40)
        ]
        deeper = np.mean([depth == pair[1] for depths, _ in drawn for depth in depths])
        assert deeper == pytest.approx(0.5, abs=0.08)
        assert np.mean([share for _, share in drawn]) == pytest.approx(density, abs=0.03)


def test_uniform_draws_are_alike_and_groups_are_not() -> None:
    """The reason for groups: sums of independent draws concentrate."""
    shares = {
        name: np.std(
            [depths_and_density(SPACE, SAMPLINGS[name](SPACE, step, 0))[1] for step in range(110)]
        )
        for name in ("uniform", "grouped")
    }
    assert shares["grouped"] > 5 * shares["uniform"]


def test_a_sandwich_has_both_ends_in_four_steps() -> None:
    drawn = [sandwich(SPACE, step, 3) for step in range(8)]
    assert drawn[0] == drawn[4] == SPACE.smallest()
    assert drawn[3] == drawn[7] == SPACE.largest()
    assert len(set(drawn)) == 6


@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_step_draws_the_same_in_every_process(name: str) -> None:
    draw = SAMPLINGS[name]
    assert [draw(SPACE, step, 1) for step in range(30)] == [
        draw(SPACE, step, 1) for step in range(30)
    ]
    differs = any(draw(SPACE, step, 1) != draw(SPACE, step, 2) for step in range(30))
    assert differs == (name != "largest")


@pytest.mark.parametrize(("least", "most", "groups"), [(2, 2, 1), (1, 2, 1), (1, 4, 3), (2, 7, 5)])
def test_groups_follow_the_depths_of_the_space(least: int, most: int, groups: int) -> None:
    space = replace(SPACE, min_depth=least, max_depth=most)
    assert len(depth_groups(space)) == groups
    cycle = 3 * groups + 2
    for step in range(2 * cycle):
        space.decode(grouped(space, step, 0))
    assert grouped(space, cycle - 1, 0) == space.largest()
