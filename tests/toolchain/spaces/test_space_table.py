from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from toolchain.errors import NameUnknown
from toolchain.kernels import plan
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import SPACES, make_space, space_kernels, space_to_json


@pytest.mark.parametrize("name", SPACES)
def test_every_space_keeps_what_a_space_promises(name: str) -> None:
    space = make_space(name, {})
    assert space.name == name
    rng = np.random.default_rng(0)
    kernels = space_kernels(space)
    for _ in range(100):
        graph = space.decode(space.sample(rng))
        assert graph.input_shape == space.input_shape
        assert graph.output_shape == (space.classes,)
        assert kernels.issuperset(plan(graph).kernels)
    with pytest.raises(FrozenInstanceError):
        space.classes = 3  # type: ignore[misc]


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
