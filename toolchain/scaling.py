"""Final networks for many budgets from one searched cell: its outline made wider and deeper.

Source: AutoShrink, arXiv 1911.09251, and its released code, whose final networks are the searched
cell with another ``channel_scale`` and other ``replicate`` (ShrinkCNN: 1.4 and 1 3 4 6 4), chosen
by hand. Here the outline is the one with the most multiply-accumulates whose predicted latency
keeps the budget. Nothing is searched or trained for it: each network becomes the answer of a run
folder of its own, to be trained, exported and measured like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from latency_tables.precision import kernels_in
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.errors import BudgetUnreachable, RunUnusable
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.kernels import Plan
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.pipeline import choose, found, open_run
from toolchain.probe_networks import ProbeNetwork
from toolchain.run_dir import RunDirectory
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.spaces.space import Space

CHANNEL_SCALES = (0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Widths to choose from, unless said otherwise."""

DEPTHS = (1, 2, 3)
"""How many times the search's cells of each stage, unless said otherwise."""

WEIGHTS_SEED = 1


def require_cell(space: Space) -> ShrinkCnnSpace:
    """The space, if its networks are one cell in an outline.

    Raises:
        RunUnusable: they are not.
    """
    if not isinstance(space, ShrinkCnnSpace):
        raise RunUnusable(
            f"the run searched space {space.name}, whose networks do not repeat one cell; scale "
            "an answer of space shrinkcnn, or prune that of method gram"
        )
    return space


def outlines(
    space: ShrinkCnnSpace,
    channel_scales: Sequence[float] = (),
    replicates: Sequence[tuple[int, ...]] = (),
) -> tuple[ShrinkCnnSpace, ...]:
    """Outlines to choose from; of those with the same channels and cells, the first.

    Args:
        space: of the search; what is not scaled, pools among it, stays as it is there.
        channel_scales: factors on the channels; ``CHANNEL_SCALES`` when empty.
        replicates: cells of each stage; the search's times each of ``DEPTHS`` when empty.

    Raises:
        ValueError: a factor is not more than 0, or numbers of cells do not fit the stages.
    """
    depths = replicates or [tuple(depth * one for one in space.replicate) for depth in DEPTHS]
    each: dict[tuple[Any, ...], ShrinkCnnSpace] = {}
    for replicate in depths:
        for channel_scale in channel_scales or CHANNEL_SCALES:
            outline = replace(space, channel_scale=float(channel_scale), replicate=replicate)
            each.setdefault((outline.widths(), replicate), outline)
    return tuple(each.values())


def scaled_networks(genotype: str, outlines: Sequence[ShrinkCnnSpace]) -> Iterator[ProbeNetwork]:
    """A cell in each of the outlines, as networks to measure what a table lacks of them."""
    for outline in outlines:
        plan = outline.plan(genotype)
        subject = f"{genotype} in {describe_outline(outline)}"
        yield ProbeNetwork(subject, plan.kernels, partial(_build, plan))


def scale(
    run: RunDirectory,
    config: RunConfig,
    table: LatencyTable,
    budgets: Sequence[Budget],
    path: Path,
    *,
    outlines: Sequence[ShrinkCnnSpace],
    resume: bool,
) -> dict[Path, dict[str, Any]]:
    """Make the run folders of the scaled answer, one for each budget; all of them or none.

    Args:
        run: a finished search.
        config: what it was.
        table: predicts latencies; of any target that has the kernels of all outlines.
        budgets: of the networks.
        path: gets the folders, named by their limits.
        outlines: to choose from.
        resume: whether folders that hold these networks already are gone on with.

    Returns:
        The folders, each with the content of its ``search.json``.

    Raises:
        RunUnusable: the search has not finished, or see ``RunDirectory.create``.
        KernelMissing: the table lacks kernels of an outline.
        BudgetUnreachable: not even the smallest is within a budget.
    """
    genotype = found(run)["best"]["genotype"]
    members = {}
    for budget in budgets:
        member = largest(
            genotype,
            outlines,
            Appraiser(
                space=config.space, model=LatencyModel(table), budget=budget, limits=config.limits
            ),
        )
        own = replace(config, space=member.outline, budget=budget)
        members[path / f"{budget.limit_ms:g}ms"] = (own, member.candidate)
    for folder in members:
        RunDirectory.require_usable(folder, resume=resume)
    answers = {}
    for folder, (own, candidate) in members.items():
        member_run = open_run(folder, own, table, resume=resume)
        with member_run.locked():
            answers[folder] = choose(
                member_run,
                candidate,
                scaled_from=str(run.path.resolve()),
                outline=describe_outline(require_cell(own.space)),
            )
    return answers


class Scaled(NamedTuple):
    """A cell in an outline.

    Attributes:
        outline: the space with its channels and cells.
        candidate: the network, not evaluated.
    """

    outline: ShrinkCnnSpace
    candidate: Candidate


def largest(genotype: str, outlines: Sequence[ShrinkCnnSpace], appraiser: Appraiser) -> Scaled:
    """The network with the most multiply-accumulates; of equals, the one with fewer parameters.

    Args:
        genotype: the cell.
        outlines: to choose from, at least one.
        appraiser: table, budget and limits; its space does not matter.

    Raises:
        GenotypeInvalid: the text is no cell of the outlines.
        KernelMissing: the table lacks kernels of an outline.
        BudgetUnreachable: none is within budget and limits; names the fastest.
    """
    if appraiser.model is not None:
        precision = appraiser.model.table.target.precision
        kernels = {kernel for outline in outlines for kernel in outline.kernels(genotype)}
        appraiser.model.require(kernels_in(precision, kernels))
    seen = [
        Scaled(outline, replace(appraiser, space=outline).appraise(genotype))
        for outline in outlines
    ]
    admitted = [one for one in seen if appraiser.admits(one.candidate)]
    if not admitted:
        raise _unreachable(seen, appraiser)
    return max(admitted, key=lambda one: (one.candidate.macs, -one.candidate.params))


def describe_outline(space: ShrinkCnnSpace) -> str:
    """What distinguishes an outline from others of the same stages."""
    cells = ",".join(map(str, space.replicate))
    return f"channel_scale {space.channel_scale:g}, replicate {cells}"


def _unreachable(seen: Sequence[Scaled], appraiser: Appraiser) -> BudgetUnreachable:
    """The error that says what makes smaller networks here."""
    least = min(one.outline.channel_scale for one in seen)
    error = appraiser.unreachable([one.candidate for one in seen])
    return BudgetUnreachable(f"{error}: by --channel-scale below {least:g}, or fewer --replicate")


def _build(plan: Plan) -> bytes:
    return write_tflite(plan, random_weights(plan, WEIGHTS_SEED))
