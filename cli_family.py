"""The commands that make networks for other budgets of what a search found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli_measure import add_kernels
from cli_options import (
    Confidence,
    Json,
    MeasureMissing,
    PlaceOptions,
    Resume,
    RunPath,
    TablePath,
    Texts,
    parse_cells,
    with_groups,
)
from cli_steps import (
    make_folder,
    open_run,
    place_of,
    print_result,
    runner_on,
    table_at,
    usage,
)

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from toolchain.config import RunConfig
    from toolchain.run_dir import RunDirectory
    from toolchain.spaces.shrinkcnn import ShrinkCnnSpace


def prune(
    run: RunPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the members' runs, one each.")
    ],
    budget_ms: Annotated[list[float], typer.Option(help="Budget of a member; give several.")],
    table: TablePath = None,
    confidence: Confidence = 0.95,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Prune a GRAM search's meta-graph to networks for other budgets, without searching again."""
    from latency_tables.budget import Budget
    from toolchain import family

    with usage():
        budgets = [Budget(limit_ms=limit_ms, confidence=confidence) for limit_ms in budget_ms]
    folder, config = open_run(run)
    latency_table = table_at(table or folder.table_path)
    if latency_table is None:
        raise typer.BadParameter(f"the search in {run} had no table; give one with --table")
    members = family.prune(folder, config, latency_table, budgets, output, resume=resume)
    _print_answers(members, config, as_json)


@with_groups
def scale(
    run: RunPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the networks' runs, one each.")
    ],
    budget_ms: Annotated[list[float], typer.Option(help="Budget of a network; give several.")],
    place: PlaceOptions,
    channel_scale: Annotated[
        list[float] | None, typer.Option(help="Factor on the channels to try; give several.")
    ] = None,
    replicate: Annotated[
        Texts, typer.Option(help="Cells of each stage to try, like 1,2,2; give several.")
    ] = None,
    table: TablePath = None,
    measure_missing: MeasureMissing = False,
    confidence: Confidence = 0.95,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Make an AutoShrink answer wider and deeper, to the largest network for each budget.

    What the table lacks is measured only with --measure-missing: into the table given, or, where
    none is, into OUTPUT.table.
    """
    from latency_tables.budget import Budget
    from toolchain import scaling

    folder, config = open_run(run)
    space = scaling.require_cell(config.space)
    with usage():
        budgets = [Budget(limit_ms=limit_ms, confidence=confidence) for limit_ms in budget_ms]
        cells = [parse_cells(text) for text in replicate or []]
        outlines = scaling.outlines(space, channel_scale or (), cells)
    latency_table = _outline_table(folder, table, output, outlines, place, measure_missing)
    answers = scaling.scale(
        folder, config, latency_table, budgets, output, outlines=outlines, resume=resume
    )
    _print_answers(answers, config, as_json)


def _outline_table(
    folder: RunDirectory,
    path: Path | None,
    output: Path,
    outlines: tuple[ShrinkCnnSpace, ...],
    place: PlaceOptions,
    measures_missing: bool,
) -> LatencyTable:
    """The table to scale a run's answer with, with what it lacks measured if that is asked for.

    The run's own table stays as it is: what is measured goes into one beside the output.
    """
    from profilers.probes import Probe
    from toolchain import pipeline
    from toolchain.scaling import scaled_networks

    beside = output.resolve().with_name(f"{output.resolve().name}.table")
    source = path or (beside if measures_missing and beside.exists() else folder.table_path)
    if source is None:
        raise typer.BadParameter(
            f"the search in {folder.path} had no table; give one with --table"
        )
    table = table_at(source)
    assert table is not None
    if not measures_missing:
        return table
    if table.target.precision == "int8":
        raise typer.BadParameter(
            "--measure-missing measures outlines in float, and the table is of int8; profile the "
            "outlines with --precision int8 and --set channel_scale=..."
        )
    genotype = pipeline.found(folder)["best"]["genotype"]
    pool = [
        Probe(subject=one.genotype, kernels=one.kernels, build=one.build)
        for one in scaled_networks(genotype, outlines)
    ]
    make_folder(beside.parent)
    with runner_on(place_of(place, table.target)) as runner:
        return add_kernels(table, path or beside, pool, runner)


def _print_answers(answers: Mapping[Path, Any], config: RunConfig, as_json: bool) -> None:
    from toolchain import pipeline

    if as_json:
        print_result([{"run": str(path), **one["best"]} for path, one in answers.items()])
    else:
        texts = [
            f"{path}: {pipeline.describe_answer(one, config)}" for path, one in answers.items()
        ]
        print_result("\n".join([*texts, f"next, for each: pocketnas train {next(iter(answers))}"]))
