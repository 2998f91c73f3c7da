from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.kernel import Kernel, make_kernel
from profilers.probes import Probe, choose_probes
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import space_kernels

KERNELS = [make_kernel("clamp", ((1, 4, 4, width),), (1, 4, 4, width)) for width in range(1, 9)]

kernels = st.lists(st.sampled_from(KERNELS), min_size=1, max_size=6).map(tuple)


def make_pool(contents: list[tuple[Kernel, ...]]) -> list[Probe]:
    return [
        Probe(subject=f"net{index}", kernels=content, build=bytes)
        for index, content in enumerate(contents)
    ]


pools = st.lists(kernels, max_size=8).map(make_pool)


def occurrences(probes: list[Probe] | tuple[Probe, ...]) -> Counter[Kernel]:
    return Counter(kernel for probe in probes for kernel in set(probe.kernels))


def covers(probes: list[Probe] | tuple[Probe, ...], pool: list[Probe], contexts: int) -> bool:
    found = occurrences(probes)
    return all(
        found[kernel] >= min(contexts, count) for kernel, count in occurrences(pool).items()
    )


def length(probes: list[Probe] | tuple[Probe, ...]) -> int:
    return sum(len(probe.kernels) for probe in probes)


@given(pools, st.integers(1, 5))
def test_every_kernel_has_its_contexts_if_the_pool_allows(
    pool: list[Probe], contexts: int
) -> None:
    chosen = choose_probes(pool, contexts)
    assert covers(chosen, pool, contexts)
    assert len({probe.subject for probe in chosen}) == len(chosen)


@given(pools, st.integers(1, 5))
def test_the_choice_is_deterministic(pool: list[Probe], contexts: int) -> None:
    assert choose_probes(pool, contexts) == choose_probes(list(pool), contexts)


@given(pools, st.integers(1, 3))
def test_the_choice_is_as_short_as_greedy_cover_promises(pool: list[Probe], contexts: int) -> None:
    subsets = itertools.chain.from_iterable(
        itertools.combinations(pool, size) for size in range(len(pool) + 1)
    )
    shortest = min(length(subset) for subset in subsets if covers(subset, pool, contexts))
    largest = max((len(set(probe.kernels)) for probe in pool), default=0)
    harmonic = sum(1 / number for number in range(1, largest + 1))
    assert length(choose_probes(pool, contexts)) <= harmonic * shortest + 1e-9


def test_a_kernel_that_occurs_in_one_network_only_brings_that_network() -> None:
    pool = make_pool(
        [(KERNELS[0],), (KERNELS[0], KERNELS[1], KERNELS[1], KERNELS[1]), (KERNELS[0],)]
    )
    assert pool[1] in choose_probes(pool, 1)


def test_a_network_that_adds_nothing_is_not_measured() -> None:
    pool = make_pool([tuple(KERNELS[:4]), *[(kernel,) for kernel in KERNELS[:4]]])
    assert choose_probes(pool, 1) == [pool[0]]


def test_an_empty_pool_needs_no_probes() -> None:
    assert choose_probes([], 3) == []


def test_no_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 context, got 0"):
        choose_probes([], 0)


def test_probes_of_a_space_cover_every_kernel_that_the_space_can_run(
    space: ShrinkCnnSpace, pool: list[Probe]
) -> None:
    chosen = choose_probes(pool, 3)
    assert set(occurrences(chosen)) == space_kernels(space)
    assert covers(chosen, pool, 3)
    assert len(chosen) < len(pool)
