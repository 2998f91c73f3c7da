"""The ScaleNet space: branches of several resolutions, with depths and fusions to be found.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, section 3.2, and the released code. After a
stem come stages of 2, 3 and 4 branches; a stage is a row of modules. In each module every branch
has a depth of its own, in residual blocks, and after every step any branch may be fused into any
other. `scalenet_module.py` has the genotype, `scalenet_body.py` the layers and their names,
`scalenet_heads.py` what comes after.

A head that reads branch 0 alone fixes the last step of each branch of the last module, as in the
released code: all others are fused into branch 0, and nothing into the others. What such a network
computes and never reads is counted, as in the published figures, and not run: `kernels.py` leaves
it out, as the exporter does.

The paper's outline is ``PAPER``; the defaults are a small one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from toolchain.errors import GenotypeInvalid, NameUnknown
from toolchain.graph import Graph, GraphBuilder
from toolchain.layers import Input, Shape
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.scalenet_body import add_module, add_stem, add_transition
from toolchain.spaces.scalenet_heads import HEADS, HeadSettings
from toolchain.spaces.scalenet_module import (
    MAX_BRANCHES,
    ScaleModule,
    Steps,
    join_modules,
    others,
    parse_modules,
)

PAPER: Mapping[str, Any] = {
    "width": 32,
    "modules": (1, 4, 3),
    "min_depth": 2,
    "max_depth": 5,
    "stem_channels": 64,
    "stem_blocks": 4,
    "stem_bottleneck": True,
    "deconv_blocks": 4,
}
"""Settings of the paper's outline; its other width is 48."""

STEM_STRIDE = 4
"""Rows and columns of the image for each of branch 0."""

TRIES = 100
"""Draws for a mutation that changes something."""

DEPTH_SHARE = 1 / 4
"""Share of mutations that make a branch one block deeper or shallower; the others flip a fusion
(our choice: the released code never changes depths)."""


@dataclass(frozen=True, kw_only=True)
class ScaleNetSpace(ImageSpace):
    """Networks of one outline whose modules differ in depths and fusions.

    Attributes:
        input_shape: CHW of the images; rows and columns are multiples of what the last branch
            divides them by, 32 for four branches.
        classes: classes, labels or keypoints of the head.
        head: a name of ``HEADS``.
        width: channels of branch 0; each further branch has twice as many.
        modules: how many modules the stages of 2, 3 and 4 branches have.
        min_depth: fewest residual blocks of a branch of a module.
        max_depth: most of them.
        stem_channels: of the stem's convolutions.
        stem_blocks: blocks of stage 1.
        stem_bottleneck: whether these are bottlenecks, which give four times the stem's channels,
            or residual blocks of two 3x3 convolutions.
        deconv_blocks: residual blocks at the end of the head ``bottom-up``.
    """

    name: ClassVar[str] = "scalenet"
    input_shape: Shape = (3, 64, 64)
    classes: int = 10
    head: str = "classification"
    width: int = 8
    modules: tuple[int, ...] = (1, 2)
    min_depth: int = 1
    max_depth: int = 4
    stem_channels: int = 16
    stem_blocks: int = 1
    stem_bottleneck: bool = False
    deconv_blocks: int = 1

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise NameUnknown("head of a ScaleNet", self.head, HEADS)
        if not 1 <= len(self.modules) < MAX_BRANCHES or min(self.modules) < 1:
            raise ValueError(
                "modules needs one number, 1 or more, for the stages of 2, 3 and 4 branches each "
                f"(or the first of them), got {self.modules}"
            )
        if not 1 <= self.min_depth <= self.max_depth:
            raise ValueError(
                "min_depth must be 1 or more and max_depth not less, got "
                f"{self.min_depth} and {self.max_depth}"
            )
        if (
            min(self.width, self.stem_channels) < 1
            or min(self.stem_blocks, self.deconv_blocks) < 0
        ):
            raise ValueError(
                "width and stem_channels must be 1 or more, stem_blocks and deconv_blocks 0 or "
                f"more, got {self.width}, {self.stem_channels}, {self.stem_blocks} and "
                f"{self.deconv_blocks}"
            )
        multiple = STEM_STRIDE << len(self.modules)
        if len(self.input_shape) != 3 or any(size % multiple for size in self.input_shape[1:]):
            raise ValueError(
                f"input_shape is (channels, rows, columns), rows and columns multiples of "
                f"{multiple} for {len(self.modules) + 1} branches, got {self.input_shape}; resize "
                "the images, or take fewer stages"
            )
        self.decode(self.smallest())  # The layers check the rest.

    @property
    def branch_counts(self) -> tuple[int, ...]:
        """Branches of each module, in order."""
        return tuple(
            branches for branches, count in enumerate(self.modules, 2) for _ in range(count)
        )

    @property
    def module_names(self) -> tuple[str, ...]:
        """What the names of each module's layers begin with, in order."""
        return tuple(
            f"s{stage}m{index}"
            for stage, count in enumerate(self.modules, 2)
            for index in range(count)
        )

    def smallest(self) -> str:
        """The network of the least depth without fusions."""
        return self.uniform(self.min_depth)

    def largest(self) -> str:
        """The network that has the weights of all others: a supernet."""
        return self.uniform(self.max_depth, fused=range(self.max_depth))

    def regular(self, depth: int) -> str:
        """The network that fuses all branches at the end of every module: HRNet, of depth 4."""
        return self.uniform(depth, fused=(depth - 1,))

    def uniform(self, depth: int, fused: Sequence[int] = ()) -> str:
        """The network of one depth everywhere, with all fusions after some steps."""
        modules = [
            ScaleModule(
                tuple(
                    tuple(others(branch, count) if step in fused else () for step in range(depth))
                    for branch in range(count)
                )
            )
            for count in self.branch_counts
        ]
        return self.genotype(modules)

    def genotype(self, modules: Sequence[ScaleModule]) -> str:
        """The text of a network given by its modules, with what the head fixes put right."""
        return join_modules(self._with_fixed_end(modules))

    def sample(self, rng: np.random.Generator) -> str:
        """A random genotype: two neighboring depths, and how many fusions are on, are drawn first.

        Independent draws alone would make nearly all networks middle-sized (the paper, section
        4.1).
        """
        least = int(rng.integers(self.min_depth, max(self.max_depth, self.min_depth + 1)))
        depths = (least, min(least + 1, self.max_depth))
        return self.sample_group(rng, depths, rng.uniform())

    def sample_group(self, rng: np.random.Generator, depths: Sequence[int], density: float) -> str:
        """A random genotype of one group: the paper's grouped sampling.

        Args:
            rng: source of randomness.
            depths: each branch of each module draws one of these.
            density: probability of each fusion, in [0, 1].
        """
        return self.genotype(
            [
                ScaleModule(
                    tuple(
                        _random_steps(rng, int(rng.choice(depths)), others(branch, count), density)
                        for branch in range(count)
                    )
                )
                for count in self.branch_counts
            ]
        )

    def mutate(self, genotype: str, rng: np.random.Generator) -> str:
        """A genotype one step away: a fusion more or fewer, or a branch deeper or shallower."""
        modules = self.parse(genotype)
        for _ in range(TRIES):
            index = int(rng.integers(len(modules)))
            changed = self._mutated(modules[index], rng)
            text = self.genotype((*modules[:index], changed, *modules[index + 1 :]))
            if text != genotype:
                return text
        return genotype

    def _mutated(self, module: ScaleModule, rng: np.random.Generator) -> ScaleModule:
        branch = int(rng.integers(len(module.branches)))
        sources = others(branch, len(module.branches))
        steps = module.branches[branch]
        if rng.uniform() < DEPTH_SHARE:
            if rng.uniform() < 1 / 2:
                longer = (*steps, *_random_steps(rng, 1, sources, 1 / 2))
                return module.with_steps(branch, longer[: self.max_depth])
            return module.with_steps(branch, steps[: max(len(steps) - 1, self.min_depth)])
        step, source = int(rng.integers(len(steps))), int(rng.choice(sources))
        flipped = tuple(sorted(set(steps[step]) ^ {source}))
        return module.with_steps(branch, (*steps[:step], flipped, *steps[step + 1 :]))

    def witnesses(self) -> Iterator[str]:
        """Genotypes that together run every kernel that any genotype of the space can run.

        The largest network does: kernels of blocks and fusions depend on their branches alone.
        The smallest one is the fastest, which budgets are checked against.
        """
        yield self.largest()
        yield self.smallest()

    def parse(self, genotype: str) -> tuple[ScaleModule, ...]:
        """The modules of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or not one of this space.
        """
        modules = parse_modules(genotype)
        self.require_fits(genotype, modules)
        return modules

    def require_fits(self, name: str, modules: Sequence[ScaleModule]) -> None:
        """Check that modules are those of a network of this space; errors call it by a name.

        Raises:
            GenotypeInvalid: they have other branches or depths, or not what the head fixes.
        """
        counts = tuple(len(module.branches) for module in modules)
        if counts != self.branch_counts:
            raise GenotypeInvalid(
                name,
                f"its modules have {counts} branches, those of the space {self.branch_counts}",
            )
        for index, module in enumerate(modules):
            for branch, depth in enumerate(module.depths):
                if not self.min_depth <= depth <= self.max_depth:
                    raise GenotypeInvalid(
                        name,
                        f"module {index}, branch {branch} has depth {depth}; the space has "
                        f"{self.min_depth} to {self.max_depth} (min_depth, max_depth)",
                    )
        expected = self._with_fixed_end(modules)[-1]
        if modules[-1] != expected:
            raise GenotypeInvalid(
                name,
                f"the head {self.head!r} reads branch 0 alone, so that in the last module the "
                "last step fuses all others into branch 0 and nothing into the others: "
                f"{expected.text}, not {modules[-1].text}",
            )

    def decode(self, genotype: str) -> Graph:
        """The network of a genotype.

        Raises:
            GenotypeInvalid: the text is no genotype, or not one of this space.
        """
        modules = self.parse(genotype)
        channels, height, width = self.input_shape
        builder = GraphBuilder(genotype)
        image = builder.add("image", Input(channels=channels, height=height, width=width))
        x, live = add_stem(
            builder,
            image,
            self.stem_channels,
            self.stem_blocks,
            is_bottleneck=self.stem_bottleneck,
        )
        maps = [x]
        for name, module in zip(self.module_names, modules, strict=True):
            branches = len(module.branches)
            if branches > len(maps):
                maps = add_transition(builder, branches, maps, live, self.width)
            maps = add_module(builder, name, module, maps, self.width)
        settings = HeadSettings(
            width=self.width, classes=self.classes, deconv_blocks=self.deconv_blocks
        )
        HEADS[self.head].add(builder, maps, settings)
        return builder.graph()

    def _with_fixed_end(self, modules: Sequence[ScaleModule]) -> tuple[ScaleModule, ...]:
        """The modules with the last step that a head fixes which reads branch 0 alone."""
        *before, last = modules
        if not HEADS[self.head].reads_all_branches:
            for branch, steps in enumerate(last.branches):
                end = () if branch else others(0, len(last.branches))
                last = last.with_steps(branch, (*steps[:-1], end))
        return (*before, last)


def _random_steps(
    rng: np.random.Generator, depth: int, sources: Sequence[int], density: float
) -> Steps:
    """Steps of a branch, each source being fused in with some probability."""
    is_on = rng.random((depth, len(sources))) < density
    return tuple(
        tuple(source for source, on in zip(sources, row, strict=True) if on) for row in is_on
    )
