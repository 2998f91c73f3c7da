from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolchain.count import count
from toolchain.errors import GenotypeInvalid
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.spaces.scalenet_json import (
    Architecture,
    architecture_from_json,
    architecture_to_json,
)
from toolchain.spaces.scalenet_published import SCALENETS
from toolchain.zoo import make_network, read_network

Json = dict[str, Any]

SMALL: Json = {
    "name": "small", "task": "segmentation", "width": 32, "input_hw": [64, 96],
    "published": {"params_millions": 1.0}, "encoding": "free text",
    "modules": [
        {"depth": [2, 3], "fusions_in": [[[1], []], [[], [0], []]]},
        {"depth": [2, 2, 2], "fusions_in": [[[2, 1], []], [[], []], [[0], [1]]]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SCALENETS)
def test_published_networks_are_read_back(name: str) -> None:
    data = json.loads(json.dumps(architecture_to_json(SCALENETS[name])))
    assert architecture_from_json(data) == SCALENETS[name]
    assert set(data) == {"name", "task", "width", "input_hw", "modules"}


@pytest.mark.parametrize("head", HEADS)
def test_networks_of_any_outline_are_read_back(head: str) -> None:
    rng = np.random.default_rng(0)
    for modules in ((1,), (1, 2), (2, 1, 1)):
        space = ScaleNetSpace(head=head, modules=modules, input_shape=(1, 64, 32), width=6)
        architecture = Architecture("mine", space, space.sample(rng))
        data = json.loads(json.dumps(architecture_to_json(architecture)))
        assert architecture_from_json(data) == architecture
        assert architecture_from_json(data).decode().name == "mine"


def test_fields_are_what_the_form_says() -> None:
    name, space, genotype = architecture_from_json(SMALL)
    assert (name, genotype) == ("small", "20.010/60.00.12")
    assert (space.head, space.classes, space.width) == ("segmentation", 19, 32)
    assert (space.input_shape, space.modules) == ((3, 64, 96), (1, 1))
    assert (space.min_depth, space.max_depth, space.stem_blocks) == (2, 5, 4)


def test_a_file_is_counted_at_its_own_input(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    network = read_network(path)
    assert (network.name, network.output_shape) == ("small", (19, 16, 24))
    path.write_text(json.dumps(architecture_to_json(SCALENETS["scalenet-s1"])))
    assert count(read_network(path)) == count(make_network("scalenet-s1"))


def change(path: str, value: Any) -> Callable[[Json], None]:
    """Sets a field, named by keys and indices with dots between them."""

    def apply(data: Any) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in parents:
            data = data[key]
        data[last] = value

    return apply


CHANGES: dict[str, tuple[Callable[[Json], None], str]] = {
    "no task": (lambda data: data.pop("task"), "it needs a field 'task'"),
    "no width": (lambda data: data.pop("width"), "it needs a field 'width'"),
    "no input": (lambda data: data.pop("input_hw"), "it needs a field 'input_hw'"),
    "no depth": (lambda data: data["modules"][1].pop("depth"), "module 1 needs a field 'depth'"),
    "task": (change("task", "detection"), "unknown task 'detection'; known are classification"),
    "task no text": (change("task", 3), "unknown task 3"),
    "width no number": (change("width", "32"), "width"),
    "width of 0": (change("width", 0), "width and stem_channels must be 1 or more"),
    "input": (change("input_hw", [64]), r"must be \[rows, columns\], got \[64\]"),
    "input of 0": (change("input_hw", [64, 0]), "must be .rows, columns"),
    "input no multiple": (change("input_hw", [64, 100]), "multiples of 16 .*resize the images"),
    "modules no list": (change("modules", {}), "'modules' of it must be a list"),
    "modules empty": (change("modules", []), "'modules' of it must be a list"),
    "module no object": (change("modules.0", [1]), "module 0 needs a field 'depth'"),
    "stage left out": (lambda data: data["modules"].pop(0), r"have \[3\] branches; they begin"),
    "one branch": (
        change("modules.0", {"depth": [2], "fusions_in": [[[], []]]}), "both must be as many, 2",
    ),
    "branch without fusions": (
        lambda data: data["modules"][1]["fusions_in"].pop(), "3 depths and fusions into 2",
    ),
    "depth of other steps": (
        change("modules.1.depth.2", 3), "module 1, branch 2 has depth 3 and fusions after 2 steps",
    ),
    "depth no number": (change("modules.1.depth.2", "2"), "branch 2 has depth '2'"),
    "depth true": (change("modules.1.depth.2", True), "branch 2 has depth True"),
    "steps no list": (change("modules.0.fusions_in.0", 2), "branch 0 has depth 2 and fusions aft"),
    "depth beyond": (
        change("modules.0", {"depth": [2, 6], "fusions_in": [[[]] * 2, [[]] * 6]}),
        "branch 1 has depth 6; the space has 2 to 5 .min_depth, max_depth",
    ),
    "depth below": (
        change("modules.0", {"depth": [2, 1], "fusions_in": [[[]] * 2, [[]]]}), "has depth 1",
    ),
    "absent branch": (
        change("modules.0.fusions_in.0.0", [2]),
        r"module 0, branch 0, step 0 takes in \[2\]; it can take in each of \[1\] once",
    ),
    "itself": (change("modules.1.fusions_in.1.0", [1]), r"each of \[0, 2\] once"),
    "twice": (change("modules.1.fusions_in.1.0", [0, 0]), "once"),
    "no branch": (change("modules.1.fusions_in.1.0", [[0]]), "once"),
    "fraction": (change("modules.1.fusions_in.1.0", [2.0]), "once"),
    "negative": (change("modules.1.fusions_in.1.0", [-1]), "once"),
    "sources no list": (change("modules.1.fusions_in.1.0", 0), "takes in 0"),
    "pose": (change("task", "pose"), "reads branch 0 alone"),
    "outline no object": (change("outline", 3), "'outline' must be settings"),
    "outline with width": (change("outline", {"width": 3}), "other than head, width"),
    "outline unknown": (change("outline", {"depth": 3}), "'depth'; known are"),
    "outline channels": (change("outline", {"channels": 0}), "'channels' of the outline"),
    "outline range": (change("outline", {"min_depth": 0}), "min_depth must be 1 or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_network_is_refused_in_one_line_that_names_it(name: str) -> None:
    spoil, reason = CHANGES[name]
    data = copy.deepcopy(SMALL)
    spoil(data)
    with pytest.raises(GenotypeInvalid, match=reason) as caught:
        architecture_from_json(data)
    assert str(caught.value).startswith("'small' is no genotype of this space: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json_or_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    for content in ('{"name": "x", "modules": [', "[]", "3", '{"name": "x"}'):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"cannot read a graph from .*broken\.json"):
            read_network(path)
    path.write_text(json.dumps({"modules": [], "name": "x"}))
    with pytest.raises(GenotypeInvalid, match="'modules' of it must be a list"):
        read_network(path)


def test_limits_of_depth_can_be_stated() -> None:
    data = copy.deepcopy(SMALL) | {"outline": {"max_depth": 7, "classes": 3}}
    data["modules"][0] = {"depth": [2, 7], "fusions_in": [[[]] * 2, [[]] * 7]}
    space = architecture_from_json(data).space
    assert (space.max_depth, space.classes) == (7, 3)
    assert space == replace(architecture_from_json(SMALL).space, max_depth=7, classes=3)
