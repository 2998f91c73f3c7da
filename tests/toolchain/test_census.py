from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from latency_tables.evidence import MeasuredNetwork
from latency_tables.kernel import Kernel
from latency_tables.model import LatencyModel
from latency_tables.population import Population
from latency_tables.posterior import learn
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.target import Target
from toolchain.census import Census
from toolchain.errors import GenotypeInvalid
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space, space_kernels
from toolchain.spaces.swiftnet import SwiftNetSpace
from toolchain.zoo import SWIFTNET_OUTLINE, SWIFTNET_STAGES

TARGET = Target(
    device="d", fingerprint="f", soc="s", abi="a", runtime="r", runtime_version="1",
    runtime_sha256="0",
)  # fmt: skip

SPACES: dict[str, tuple[Space, int]] = {
    "swiftnet, 30 nodes": (SwiftNetSpace(), 1000),
    "swiftnet, 12 nodes": (SwiftNetSpace(nodes=(12, 12, 12), stem_pool=2), 1000),
    "swiftnet, 11 inputs": (
        SwiftNetSpace(nodes=(12, 9), widths=(8, 12), outputs=(8, 20), max_inputs=11),
        500,
    ),
    "swiftnet, no stem width": (
        SwiftNetSpace(nodes=(5, 2, 7), stem_width=0, widths=(16, 8, 16), channel_scale=1.5),
        500,
    ),
    "scalenet, small": (ScaleNetSpace(), 500),
    "scalenet, 4 branches": (ScaleNetSpace(modules=(1, 1, 2), max_depth=5), 200),
    "scalenet, segmentation": (ScaleNetSpace(head="segmentation"), 200),
    "scalenet, pose": (ScaleNetSpace(head="pose"), 500),
    "scalenet, one module": (ScaleNetSpace(head="pose", modules=(1,)), 300),
    "scalenet, bottom-up": (ScaleNetSpace(head="bottom-up", modules=(1, 1, 1)), 200),
    "shrinkcnn": (ShrinkCnnSpace(), 30),
    "mobilenet": (MobileNetSpace(), 30),
}


def networks_of(space: Space, count: int) -> list[str]:
    """Random networks and mutants of them, which SwiftNet numbers otherwise."""
    rng = np.random.default_rng(3)
    drawn = [space.sample(rng) for _ in range(count)]
    return drawn + [space.mutate(genotype, rng) for genotype in drawn]


def model_of(space: Space) -> LatencyModel:
    """A model in which no two kernels, or sets of them, take the same time."""
    kernels = sorted(space_kernels(space), key=str)
    rng = np.random.default_rng(7)
    rows = {
        kernel: KernelLatency(
            median_ms=float(rng.uniform(0.001, 0.3)), iqr_ms=0.001, p95_ms=0.4, samples=9,
            contexts=int(rng.integers(1, 9)),
        )
        for kernel in kernels
    }  # fmt: skip
    table = LatencyTable(target=TARGET, rows=rows)
    networks = [
        MeasuredNetwork(
            subject=genotype,
            kernels=(run := space.kernels(genotype)),
            measured_ms=0.02 + rng.uniform(0.98, 1.02) * sum(rows[one].median_ms for one in run),
        )
        for genotype in (space.sample(rng) for _ in range(30))
    ]
    return LatencyModel(learn(table, networks))


def kernels_of_each(population: Population) -> Iterator[Counter[Kernel]]:
    ends = np.cumsum(population.lengths)
    for end, length in zip(ends, population.lengths, strict=True):
        numbers = population.numbers[end - length : end]
        yield Counter(kernel for number in numbers for kernel in population.parts[number])


@pytest.mark.parametrize("name", SPACES)
def test_the_parts_of_a_network_run_its_kernels(name: str) -> None:
    space, count = SPACES[name]
    genotypes = networks_of(space, count // 5)
    population = Census(space).take(genotypes)
    assert len(population) == len(genotypes)
    for genotype, kernels in zip(genotypes, kernels_of_each(population), strict=True):
        assert kernels == Counter(space.kernels(genotype)), genotype


@pytest.mark.parametrize("name", SPACES)
def test_many_are_predicted_as_each_alone(name: str) -> None:
    space, count = SPACES[name]
    genotypes = networks_of(space, count)
    model = model_of(space)
    many = model.predict_many(Census(space).take(genotypes))
    each = [model.predict(space.kernels(genotype)) for genotype in genotypes]
    np.testing.assert_allclose(many.p50_ms, [one.p50_ms for one in each], rtol=1e-9)
    np.testing.assert_allclose(many.p95_ms, [one.p95_ms for one in each], rtol=1e-9)
    np.testing.assert_allclose(many.doubt, [one.doubt for one in each], rtol=1e-7)
    np.testing.assert_allclose(many.at(0.8), [one.at(0.8) for one in each], rtol=1e-9)


def test_the_released_swiftnet_is_read_with_its_own_numbers() -> None:
    released = "/".join(SWIFTNET_STAGES)
    (kernels,) = kernels_of_each(Census(SWIFTNET_OUTLINE).take([released]))
    assert kernels == Counter(SWIFTNET_OUTLINE.kernels(released))


def test_a_census_that_has_learned_says_the_same() -> None:
    space = SwiftNetSpace()
    genotypes = networks_of(space, 100)
    census = Census(space)
    first, again = census.take(genotypes), census.take(genotypes[::-1])
    assert list(kernels_of_each(first)) == list(kernels_of_each(again))[::-1]


@pytest.mark.parametrize(
    ("space", "genotype"),
    [
        (SwiftNetSpace(), genotype)
        for genotype in (
            "", "1c0", "1c0/1c0", "1c0/1c0/1c0/1c0", "1c0//1c0", "1x0/1c0/1c0", "1c1/1c0/1c0",
            "01c0/1c0/1c0", "2c0.1c0/1c0/1c0", "2c1/1c0/1c0", "1c0.1c0/1c0/1c0",
            "1c0.2c1,0/1c0/1c0", "1c0.2c0,0/1c0/1c0", "30c0/1c0/1c0", "1c0/1c0/1c0.",
            "1c0.2c0.3c0.4c0.5c0.6c0,1,2,3,4,5/1c0/1c0", "0c0/1c0/1c0",
        )
    ]
    + [
        (ScaleNetSpace(), genotype)
        for genotype in (
            "", "0.0", "0.0/0.0/0.0", "0.0/0.0.0/0.0.0/0.0.0", "0./0.0.0/0.0.0",
            "1.0/0.0.0/0.0.0", "0.4/0.0.0/0.0.0", "00000.0/0.0.0/0.0.0", "g.0/0.0.0/0.0.0",
        )
    ]
    + [(ScaleNetSpace(head="pose"), "0.0/0.0.0/0.0.0")]
    + [(ScaleNetSpace(head="pose"), "0.0/0.0.0/6.0.1")],
)  # fmt: skip
def test_what_cannot_be_decoded_is_refused_in_the_same_words(space: Space, genotype: str) -> None:
    with pytest.raises(GenotypeInvalid) as expected:
        space.kernels(genotype)
    good = next(iter(networks_of(space, 1)))
    with pytest.raises(GenotypeInvalid) as refused:
        Census(space).take([good, genotype])
    assert str(refused.value) == str(expected.value)
