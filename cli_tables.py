"""``pocketnas tables``: what can be done with a latency table."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli_measure import probes_of
from cli_options import Json, MeasureMissing, PlaceOptions, with_groups
from cli_steps import (
    EXIT_OF_VERDICT,
    place_of,
    print_result,
    progress,
    runner_on,
    usage,
    write_file,
)

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from latency_tables.tflite.network import Network
    from profilers.probes import Probe

tables_app = typer.Typer(
    help="Show, compare, merge, verify, exchange latency tables, and predict with them.",
    no_args_is_help=True,
)

Table = Annotated[Path, typer.Argument(help="Latency table.")]


class ExportFormat(StrEnum):
    """What a table can be exported as."""

    csv = "csv"
    ofa_yaml = "ofa-yaml"


@tables_app.command("show")
def tables_show(table: Table, as_json: Json = False) -> None:
    """Show what a table holds: its target, its kernels, how well it predicts."""
    from latency_tables.store import load_table

    loaded = load_table(table)
    print_result({"table": str(table), **loaded.to_json()} if as_json else loaded.summary())


@tables_app.command("diff")
def tables_diff(
    first: Annotated[Path, typer.Argument(help="Latency table.")],
    second: Annotated[Path, typer.Argument(help="Table to compare with it.")],
    largest: Annotated[int, typer.Option(min=0, help="How many of the changes to name.")] = 10,
    as_json: Json = False,
) -> None:
    """Say what changed from one table to another: by kernel family, and the largest changes."""
    from latency_tables.difference import compare_tables
    from latency_tables.store import load_table

    difference = compare_tables(load_table(first), load_table(second), largest=largest)
    print_result(difference.to_json() if as_json else difference.summary())


@tables_app.command("merge")
def tables_merge(
    first: Annotated[Path, typer.Argument(help="Latency table.")],
    second: Annotated[Path, typer.Argument(help="Table of the same target.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Latency table to write.")],
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Go without the journals, and a calibration.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Merge two tables of one target, and fit the calibration again.

    That takes the journals that stand beside the tables. Of a kernel in both, the row of more
    contexts is kept.
    """
    from latency_tables.merge import merge_tables
    from latency_tables.store import load_table, save_table
    from profilers.recalibrate import recalibrate

    tables = {first: load_table(first), second: load_table(second)}
    if len(tables) < 2:
        raise typer.BadParameter(f"both tables are {first}; give two")
    merged = merge_tables(tables[first], tables[second])
    if not uncalibrated:
        merged = recalibrate(merged, tables)
    save_table(merged, output)
    print_result(
        {"table": str(output), **merged.to_json()} if as_json else f"{output}: {merged.summary()}"
    )


@tables_app.command("verify")
@with_groups
def tables_verify(
    table: Table,
    place: PlaceOptions,
    sessions: Annotated[
        int, typer.Option(min=1, help="Times each network is loaded and measured afresh.")
    ] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure a random sample of a table's kernels, and the canary, again: does it still hold?

    Exit code 3 when it does not, 4 when other load left it undecided. At most 1% of verifications
    of a table that holds end with 3.
    """
    from latency_tables.store import load_table
    from profilers.settings import ProfileSettings
    from profilers.verify import verify

    loaded = load_table(table)
    pool = _pool_of(loaded, seed)
    where = place_of(place, loaded.target)
    with runner_on(where) as runner, progress("verify") as show:
        settings = ProfileSettings(sessions=sessions)
        report = verify(loaded, pool, runner, settings, seed=seed, on_progress=show)
    print_result(
        {"table": str(table), **report.to_json()} if as_json else f"{table}: {report.summary()}"
    )
    if code := EXIT_OF_VERDICT.get(report.verdict):
        raise typer.Exit(code)


@tables_app.command("predict")
@with_groups
def tables_predict(
    network: Annotated[Path, typer.Argument(help="TFLite file, of anyone's.")],
    table: Annotated[Path, typer.Option("--table", help="Latency table of the target.")],
    place: PlaceOptions,
    measure_missing: MeasureMissing = False,
    sessions: Annotated[
        int, typer.Option(min=1, help="Times each piece of the file is loaded and measured.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Predict any TFLite file's latency from a table, and name its dearest kernels.

    Kernels that the table lacks are named; with --measure-missing they are measured on --device,
    in pieces of the file, and added to the table.
    """
    from latency_tables.foreign import require_own
    from latency_tables.model import LatencyModel
    from latency_tables.predict import predict
    from latency_tables.store import load_table, save_table
    from latency_tables.tflite.network import read_network

    file = read_network(network)
    loaded = load_table(table)
    require_own(loaded, "predicted with")
    with usage():
        model = LatencyModel(loaded)
    if measure_missing:
        measured = _with_kernels_of(network, file, loaded, place, sessions)
        if measured is not loaded:
            save_table(measured, table)
            model = LatencyModel(measured)
    prediction = predict(network.name, file, model)
    print_result(prediction.to_json() if as_json else prediction.summary())


@tables_app.command("export")
def tables_export(
    table: Table,
    file_format: Annotated[
        ExportFormat,
        typer.Option("--format", help="csv: all rows. ofa-yaml: the layers of once-for-all."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="File to write.")
    ] = None,
) -> None:
    """Write a table for other tools, to standard output or a file."""
    from latency_tables.ofa_export import write_ofa
    from latency_tables.store import load_table, to_frame

    loaded = load_table(table)
    text = (
        to_frame(loaded).to_csv(index=False)
        if file_format is ExportFormat.csv
        else write_ofa(loaded)
    )
    if output is None:
        print_result(text.rstrip("\n"))
    else:
        write_file(output, text.encode())


@tables_app.command("import")
def tables_import(
    file: Annotated[
        Path,
        typer.Argument(help="once-for-all or ProxylessNAS (.yaml), or nn-Meter's kernels (.csv)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Latency table to write.")],
    as_json: Json = False,
) -> None:
    """Read another tool's table, to show and compare; its target is unknown to a search."""
    from latency_tables.foreign import import_table
    from latency_tables.store import save_table

    table = import_table(file)
    save_table(table, output)
    print_result(
        {"table": str(output), **table.to_json()} if as_json else f"{output}: {table.summary()}"
    )


def _with_kernels_of(
    path: Path, network: Network, table: LatencyTable, place: PlaceOptions, sessions: int
) -> LatencyTable:
    """The table with what it lacks of a file measured; the very same where it lacks nothing."""
    from latency_tables.predict import HANDOVER, all_kernels
    from latency_tables.tflite.decompose import decompose
    from profilers.missing import measure_file
    from profilers.overheads import learn_run_cost, measure_handover
    from profilers.settings import ProfileSettings
    from toolchain.overhead_networks import short_networks, split_networks

    lacking = {one for one in all_kernels(decompose(network)) if one not in table}
    if not lacking:
        return table
    settings = ProfileSettings(sessions=sessions)
    with runner_on(place_of(place, table.target)) as runner, progress("missing") as show:
        measured = measure_file(path.name, network, table, runner, settings, on_progress=show)
        measured = learn_run_cost(measured, short_networks(), runner, settings, on_progress=show)
        if HANDOVER in lacking:
            pairs = split_networks()
            measured = measure_handover(measured, pairs, runner, settings, on_progress=show)
    return measured


def _pool_of(table: LatencyTable, seed: int) -> list[Probe]:
    """Networks of the space, or spaces, that a table was profiled for."""
    from latency_tables.foreign import require_own
    from profilers.errors import NothingToVerify
    from toolchain.errors import ToolchainError
    from toolchain.spaces.space import make_space

    require_own(table, "verified")
    described = str(table.settings.get("space"))
    try:
        spaces = [json.loads(line) for line in described.splitlines()]
        made = [make_space(one["name"], one["settings"]) for one in spaces]
    except (KeyError, TypeError, ValueError, ToolchainError) as error:
        raise NothingToVerify(
            f"the table is of the space {described!r}, which this pocketnas does not know "
            f"({error}); profile again"
        ) from error
    precision = table.target.precision
    pool = [probe for space in made for probe in probes_of(space, seed, precision)]
    return list({(probe.subject, probe.kernels): probe for probe in pool}.values())
