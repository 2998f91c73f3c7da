"""ScaleNets as JSON: a network with its outline and its input, the form of published ones.

Source: the masks that ScaleNAS (AutoML-Conf 2022, arXiv 2011.14584) released, lists of depths and
fusions, in this form::

    {"name": "ScaleNet-S1", "task": "segmentation", "width": 32, "input_hw": [1024, 2048],
     "modules": [{"depth": [3, 4], "fusions_in": [[[1], [], [1]], [[], [], [0], []]]}, ...]}

``depth[b]`` is the number of blocks of branch b, ``fusions_in[b][t]`` the branches that are fused
into it after step t. ``task`` is a head. Everything else is the paper's outline; where a network
has another one, ``outline`` holds the settings of the space that differ. Other fields are free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any, NamedTuple

from toolchain.errors import GenotypeInvalid, NameUnknown
from toolchain.graph import Graph
from toolchain.settings import override
from toolchain.spaces.scalenet import PAPER, ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.spaces.scalenet_module import MAX_BRANCHES, ScaleModule, Steps, join_modules, others

CLASSES: Mapping[str, int] = {
    "classification": 1000,
    "segmentation": 19,
    "pose": 17,
    "bottom-up": 17,
}
"""Of each head, where ``outline`` does not say: ImageNet, Cityscapes, the keypoints of COCO."""

_STATED = ("head", "width", "input_shape", "modules")
"""Settings that have fields of their own."""


class Architecture(NamedTuple):
    """A network.

    Attributes:
        name: what a person calls it.
        space: of which it is a point.
        genotype: which one.
    """

    name: str
    space: ScaleNetSpace
    genotype: str

    def decode(self) -> Graph:
        """The network itself, under its name."""
        return replace(self.space.decode(self.genotype), name=self.name)


def architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    """Plain values that ``architecture_from_json`` reads back."""
    name, space, genotype = architecture
    usual = asdict(_outline(space.head))
    outline = {
        setting: value
        for setting, value in asdict(space).items()
        if setting not in _STATED and value != usual[setting]
    }
    if space.input_shape[0] != usual["input_shape"][0]:
        outline["channels"] = space.input_shape[0]
    return {
        "name": name,
        "task": space.head,
        "width": space.width,
        "input_hw": list(space.input_shape[1:]),
        **({"outline": outline} if outline else {}),
        "modules": [
            {
                "depth": list(module.depths),
                "fusions_in": [[list(sources) for sources in steps] for steps in module.branches],
            }
            for module in space.parse(genotype)
        ],
    }


def is_architecture(data: object) -> bool:
    """Whether JSON looks like a network in this form rather than like a graph."""
    return isinstance(data, Mapping) and "modules" in data


def architecture_from_json(data: Mapping[str, Any]) -> Architecture:
    """The network that JSON holds.

    Raises:
        GenotypeInvalid: a field is absent or of another type, a depth is not that of the steps
            listed or out of the outline's range, a branch is fused with itself or with an absent
            one, or the outline is not one of the space.
    """
    reader = _Reader(str(data.get("name", "a network without a name")))
    modules = [
        reader.module(f"module {index}", entry)
        for index, entry in enumerate(reader.items(data, "modules", "it"))
    ]
    space = reader.space(data, _stages(reader, modules))
    space.require_fits(reader.name, modules)
    return Architecture(reader.name, space, join_modules(modules))


def _stages(reader: _Reader, modules: list[ScaleModule]) -> tuple[int, ...]:
    """How many modules each number of branches has."""
    counts = [len(module.branches) for module in modules]
    runs = [(branches, len(list(run))) for branches, run in groupby(counts)]
    if [branches for branches, _ in runs] != list(range(2, 2 + len(runs))):
        raise reader.invalid(
            f"its modules have {counts} branches; they begin with 2 and gain one at a time"
        )
    return tuple(count for _, count in runs)


def _outline(head: str) -> ScaleNetSpace:
    """The paper's outline with one head."""
    return ScaleNetSpace(head=head, classes=CLASSES[head], input_shape=(3, 256, 256), **PAPER)


class _Reader(NamedTuple):
    """Reads parts of a network, naming it in every error.

    Attributes:
        name: of the network.
    """

    name: str

    def invalid(self, reason: str) -> GenotypeInvalid:
        return GenotypeInvalid(self.name, reason)

    def field(self, data: Any, name: str, owner: str) -> Any:
        if not isinstance(data, Mapping) or name not in data:
            raise self.invalid(f"{owner} needs a field {name!r}")
        return data[name]

    def items(self, data: Any, name: str, owner: str) -> list[Any]:
        value = self.field(data, name, owner)
        if not isinstance(value, list) or not value:
            raise self.invalid(f"{name!r} of {owner} must be a list that is not empty")
        return value

    def space(self, data: Mapping[str, Any], stages: tuple[int, ...]) -> ScaleNetSpace:
        task, size = self.field(data, "task", "it"), self.field(data, "input_hw", "it")
        outline = data.get("outline", {})
        if task not in HEADS:
            raise self.invalid(f"unknown task {task!r}; known are {', '.join(HEADS)}")
        if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
            raise self.invalid(f"'input_hw' must be [rows, columns], got {size!r}")
        if not isinstance(outline, Mapping) or outline.keys() & set(_STATED):
            raise self.invalid(
                f"'outline' must be settings of the space other than {', '.join(_STATED)}, got "
                f"{outline!r}"
            )
        settings = dict(outline)
        channels = settings.pop("channels", 3)
        if not _is_count(channels):
            raise self.invalid(f"'channels' of the outline must be 1 or more, got {channels!r}")
        stated = {
            "width": self.field(data, "width", "it"),
            "input_shape": (channels, *size),
            "modules": stages,
        }
        try:
            return override(_outline(task), settings | stated)
        except (ValueError, NameUnknown) as error:
            raise self.invalid(str(error)) from None

    def module(self, place: str, entry: Any) -> ScaleModule:
        depths = self.items(entry, "depth", place)
        fusions = self.items(entry, "fusions_in", place)
        if not len(depths) == len(fusions) or not 2 <= len(depths) <= MAX_BRANCHES:
            raise self.invalid(
                f"{place} has {len(depths)} depths and fusions into {len(fusions)} branches; both "
                f"must be as many, 2 to {MAX_BRANCHES}"
            )
        return ScaleModule(
            tuple(
                self._steps(f"{place}, branch {branch}", depth, steps, others(branch, len(depths)))
                for branch, (depth, steps) in enumerate(zip(depths, fusions, strict=True))
            )
        )

    def _steps(self, place: str, depth: Any, steps: Any, known: tuple[int, ...]) -> Steps:
        if not _is_count(depth) or not isinstance(steps, list) or len(steps) != depth:
            found = f"{len(steps)} steps" if isinstance(steps, list) else repr(steps)
            raise self.invalid(
                f"{place} has depth {depth!r} and fusions after {found}; depth must be 1 or more, "
                "with one list of branches for each step"
            )
        for step, sources in enumerate(steps):
            is_known = isinstance(sources, list) and all(
                type(source) is int and source in known for source in sources
            )
            if not is_known or len(set(sources)) != len(sources):
                raise self.invalid(
                    f"{place}, step {step} takes in {sources!r}; it can take in each of "
                    f"{list(known)} once"
                )
        return tuple(tuple(sorted(sources)) for sources in steps)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
