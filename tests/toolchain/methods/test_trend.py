from __future__ import annotations

import numpy as np
import pytest
from swiftnets import NOISE, SPACE, noisy_worth, worth_of

from toolchain.methods.trend import Trend, make_up


def drawn(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(count)))


def test_a_make_up_counts_nodes_inputs_and_paths_of_each_stage() -> None:
    assert make_up("1c0.2s0,1.3s2/1s0").tolist() == [
        *(1, 1, 2, 3, 3, 2),
        *(0, 0, 1, 1, 1, 1),
    ]


def test_a_make_up_does_not_depend_on_how_nodes_are_numbered() -> None:
    for genotype in drawn(50, 0):
        doubled = "/".join(
            ".".join(_doubled(word) for word in stage.split(".")) for stage in genotype.split("/")
        )
        assert make_up(doubled).tolist() == make_up(genotype).tolist()


def _doubled(word: str) -> str:
    letter = "c" if "c" in word else "s"
    number, sources = word.split(letter)
    return f"{2 * int(number)}{letter}{','.join(str(2 * int(one)) for one in sources.split(','))}"


def test_equal_accuracies_have_no_trend() -> None:
    genotypes = drawn(30, 1)
    trend = Trend.fit(genotypes, [0.7] * len(genotypes))
    assert trend.accuracy("1c0/1s0.2s1") == pytest.approx(0.7)


def test_one_network_is_enough_to_fit() -> None:
    assert Trend.fit(["1c0/1s0"], [0.6]).accuracy("1s0.2s1/1s0") == pytest.approx(0.6)


def test_the_trend_knows_unseen_networks_better_than_their_own_noisy_accuracies() -> None:
    for seed in range(4):
        noisy = noisy_worth(seed, 3 * NOISE)
        seen, unseen = drawn(80, seed), drawn(100, 100 + seed)
        trend = Trend.fit(seen, [noisy(one) for one in seen])
        truth = [worth_of(one) for one in unseen]
        by_trend = np.corrcoef([trend.accuracy(one) for one in unseen], truth)[0, 1]
        by_accuracy = np.corrcoef([noisy(one) for one in unseen], truth)[0, 1]
        assert by_trend > by_accuracy + 0.05
