from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from toolchain.count import count
from toolchain.errors import GenotypeInvalid, NameUnknown
from toolchain.kernels import plan
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import (
    SPACES,
    make_space,
    require_images,
    space_kernels,
    space_to_json,
)

IMAGE_SPACES = [name for name in SPACES if isinstance(make_space(name, {}), ImageSpace)]


@pytest.mark.parametrize("name", SPACES)
def test_every_space_keeps_what_a_space_promises(name: str) -> None:
    space = make_space(name, {})
    assert space.name == name
    rng = np.random.default_rng(0)
    kernels = space_kernels(space)
    for _ in range(100):
        genotype = space.sample(rng)
        assert kernels.issuperset(space.kernels(genotype))
        counts = space.counts(genotype)
        assert 0 < counts.params <= counts.params_with_norm
        assert counts.macs > 0
        for bad in (f"{genotype}?", ""):
            with pytest.raises(GenotypeInvalid):
                space.kernels(bad)
            with pytest.raises(GenotypeInvalid):
                space.counts(bad)
    with pytest.raises(FrozenInstanceError):
        space.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", IMAGE_SPACES)
def test_a_network_of_an_image_space_costs_what_its_graph_does(name: str) -> None:
    space = require_images(make_space(name, {}))
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = space.sample(rng)
        graph = space.decode(genotype)
        assert graph.input_shape == space.input_shape
        assert graph.output_shape == (space.classes,)
        assert space.kernels(genotype) == plan(graph).kernels
        assert space.counts(genotype) == count(graph)


def test_what_needs_images_refuses_a_space_of_words() -> None:
    assert len(IMAGE_SPACES) == 4
    with pytest.raises(ValueError, match="the networks of space shrinkrnn read no images"):
        require_images(make_space("shrinkrnn", {}))


@pytest.mark.parametrize("name", SPACES)
def test_every_space_samples_by_the_seed_alone(name: str) -> None:
    draws = [
        [make_space(name, {}).sample(rng) for _ in range(20)]
        for rng in map(np.random.default_rng, (0, 0, 1))
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_space_is_read_back_from_json() -> None:
    space = ShrinkCnnSpace(nodes=5, scales=(0.5, 1), replicate=(2, 1), pools=(1, 2), classes=7)
    data = json.loads(json.dumps(space_to_json(space)))
    assert make_space(data["name"], data["settings"]) == space


def test_unknown_spaces_and_settings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        NameUnknown, match="unknown space 'darts'; known are: mobilenet, scalenet, shrinkcnn"
    ):
        make_space("darts", {})
    with pytest.raises(NameUnknown, match=r"'node'.*base_width.*nodes"):
        make_space("shrinkcnn", {"node": 3})
    with pytest.raises(ValueError, match="2 to 10 nodes"):
        make_space("shrinkcnn", {"nodes": 30})
