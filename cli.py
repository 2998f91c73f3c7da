"""The command line: options -> library call -> one print.

Nothing heavy is imported before a command needs it: ``pocketnas --help`` loads no torch.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli_family import prune, scale
from cli_measure import (
    add_missing,
    doubtful_measured,
    learned_table,
    measure_file,
    measure_table,
    profile_settings,
)
from cli_options import (
    BudgetMs,
    Data,
    FittedTask,
    ImageSize,
    Int8,
    Json,
    Output,
    PlaceOptions,
    Resume,
    RunPath,
    SearchOptions,
    Seed,
    Sessions,
    SpaceName,
    SpaceSet,
    TaskSet,
    Texts,
    with_groups,
)
from cli_steps import (
    EXIT_ERROR,
    PROBE_SEED,
    budget_of,
    config_of,
    describe_search,
    end_with_verdict,
    everywhere,
    existing_run,
    fail,
    fail_if_any,
    farm_of,
    open_run,
    own_errors,
    place_of,
    print_result,
    progress,
    runner_on,
    search_network,
    space_of,
    table_at,
    table_paths,
    task_of,
    train_network,
    usage,
)
from cli_tables import tables_app
from cli_zoo import zoo_app

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from profilers.benchmark import BenchmarkReport
    from profilers.runner import Runner

EXIT_INTERRUPTED = 130
STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

app = typer.Typer(
    help="Search a network that meets a millisecond budget, export it, prove it on the device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.add_typer(tables_app, name="tables")
app.add_typer(zoo_app, name="zoo")


@app.command()
def devices(
    device: Annotated[Texts, typer.Option(help="Also look at this phone: host:port.")] = None,
    adb_server: Annotated[Texts, typer.Option(help="Also ask this adb server: host:port.")] = None,
    as_json: Json = False,
) -> None:
    """List where networks can be measured: this machine and every phone in reach."""
    from device_farm.found import to_text
    from profilers.host import HostRunner

    target = HostRunner().target
    with usage():
        found = farm_of(adb_server, device or []).devices()
    if as_json:
        host = {"serial": "host", "state": "ready", **target.to_json()}
        print_result([host, *(row.to_json() for row in found)])
    else:
        host_text = f"{target.soc}, {target.abi}, {target.runtime} {target.runtime_version}"
        print_result("\n".join([f"host  ready  {host_text}", *map(to_text, found)]))


@app.command()
@with_groups
def profile(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Latency table to write; a folder for several phones."
        ),
    ],
    place: PlaceOptions,
    space: SpaceName = "shrinkcnn",
    space_set: SpaceSet = None,
    task: FittedTask = None,
    data: Data = None,
    image_size: ImageSize = None,
    task_set: TaskSet = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--from",
            dir_okay=False,
            help="Start from another device's table: measure some kernels, correct the others.",
        ),
    ] = None,
    networks: Annotated[
        int | None,
        typer.Option(
            help="Networks measured end to end, to correct the kernels and to know the error; "
            "else 100, with --from 25.",
            show_default=False,
        ),
    ] = None,
    sessions: Sessions = 2,
    seed: Seed = PROBE_SEED,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Measure every kernel of a search space and write a latency table, one for each device."""
    from latency_tables.store import load_table

    settings = profile_settings(sessions, networks, is_warm_start=other is not None)
    known = load_table(other) if other else None
    where = place_of(place)
    paths = table_paths(output, where.devices)
    fitted_to = task_of(task, data, image_size, task_set) if task else None
    searched = space_of(space, space_set, fitted_to)
    begun: set[str] = set()
    with progress("profile") as show:

        def measure(name: str, runner: Runner) -> LatencyTable:
            again = resume or name in begun  # on the twin of a phone that died
            begun.add(name)
            on_progress = partial(show, name=name)
            return measure_table(
                runner, searched, paths[name], settings, seed, again, on_progress, known
            )

        tables, failed = everywhere(where, measure)
    if as_json:
        rows = [{"table": str(paths[name]), **table.to_json()} for name, table in tables.items()]
        print_result(rows if len(where.devices) > 1 else rows[0] if rows else [])
    else:
        print_result(
            "\n".join(f"{paths[name]}: {table.summary()}" for name, table in tables.items())
        )
    fail_if_any(failed)


@app.command()
@with_groups
def search(
    output: Output,
    place: PlaceOptions,
    options: SearchOptions,
    budget_ms: BudgetMs = None,
    as_json: Json = False,
) -> None:
    """Search a network. The folder then holds everything that train and export need."""
    from toolchain import pipeline

    if budget_ms is not None and options.table is None:
        raise typer.BadParameter("a budget in ms needs --table; make one: pocketnas profile")
    for name in ("measure_doubtful", "measure_missing"):
        if getattr(options, name) and options.table is None:
            raise typer.BadParameter(
                f"--{name.replace('_', '-')} needs --table; make one: pocketnas profile"
            )
    budget = budget_of(budget_ms, options.confidence, options.fill)
    task = task_of(options.task, options.data, options.image_size, options.task_set)
    config = config_of(options, budget, task)
    latency_table = table_at(options.table)
    where = place_of(place, latency_table.target if latency_table else None)
    if latency_table and options.measure_missing:
        with runner_on(where) as runner:
            latency_table = add_missing(latency_table, options.table, config.space, runner)
    with usage():
        appraiser = pipeline.make_appraiser(config, latency_table)
    folder = pipeline.open_run(output, config, latency_table, resume=options.resume)
    doubting = where if options.measure_doubtful else None
    with folder.locked(), doubtful_measured(folder, appraiser, doubting) as judge:
        found = search_network(folder, config, judge, task, options)
    text = f"{describe_search(folder, config, found)}\nnext: pocketnas train {output}"
    print_result(found if as_json else text)


app.command()(prune)
app.command()(scale)


@app.command()
def train(run: RunPath, as_json: Json = False) -> None:
    """Train a run's answer in full; goes on where it stopped."""
    from toolchain import pipeline

    folder, config, task = existing_run(run)
    with folder.locked():
        result = train_network(folder, config, task)
    text = f"{pipeline.describe_test(result, config)}\nnext: pocketnas export {run}"
    print_result(result if as_json else text)


@app.command()
def export(
    run: RunPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="Copy the file and its card here."),
    ] = None,
    int8: Int8 = False,
    calibration: Annotated[
        int, typer.Option(min=1, help="Training examples that the integers' ranges are read from.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Lower a run's trained network to TFLite and prove that it computes the same."""
    from toolchain import pipeline

    folder, config, task = existing_run(run)
    with folder.locked():
        artifact = pipeline.export(folder, config, task)
        if int8:
            artifact = pipeline.quantize(
                folder, config, task, artifact, calibration_images=calibration
            )
    if output:
        artifact = artifact.copy_to(output)
    print_result(artifact.to_json() if as_json else artifact.summary())


@app.command()
@with_groups
def benchmark(
    network: Annotated[Path, typer.Argument(dir_okay=False, help="TFLite file.")],
    place: PlaceOptions,
    table: Annotated[
        Path | None, typer.Option(help="Latency table of the target, or a folder with it.")
    ] = None,
    budget_ms: BudgetMs = None,
    sessions: Annotated[int, typer.Option(min=2, help="Times the file is loaded afresh.")] = 5,
    as_json: Json = False,
) -> None:
    """Measure a TFLite file, on several phones at once.

    Exit code 3 when the budget is missed, 4 when other load left it undecided.
    """
    from latency_tables.store import load_tables, table_of

    where, budget = place_of(place), budget_of(budget_ms)
    tables = load_tables(table) if table else []
    with progress("benchmark") as show:

        def measure(name: str, runner: Runner) -> BenchmarkReport:
            own = table_of(runner.target, tables) if tables else None
            return measure_file(network, runner, own, budget, sessions, partial(show, name=name))

        reports, failed = everywhere(where, measure)
    if as_json:
        rows = [{"device": name, **report.to_json()} for name, report in reports.items()]
        print_result(rows if len(where.devices) > 1 else rows[0] if rows else [])
    else:
        several = len(where.devices) > 1
        texts = [
            f"{name}: {report.summary()}" if several else report.summary()
            for name, report in reports.items()
        ]
        print_result("\n".join(texts))
    fail_if_any(failed)
    end_with_verdict(list(reports.values()))


@app.command()
@with_groups
def run(
    output: Output,
    budget_ms: Annotated[float, typer.Option(help="Hard limit on latency in ms.")],
    place: PlaceOptions,
    options: SearchOptions,
    sessions: Sessions = 2,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Do the whole loop: profile, search, train, export, benchmark, verdict, report."""
    from toolchain import pipeline
    from toolchain.report.page import write_report
    from toolchain.run_dir import TABLE, RunDirectory

    RunDirectory.require_usable(output, resume=options.resume)
    if place.precision == "int8":
        raise typer.BadParameter(
            "run measures the float file; for int8: profile --precision int8, search, train, "
            "export --int8 and benchmark --precision int8"
        )
    where = place_of(place)
    budget = budget_of(budget_ms, options.confidence, options.fill)
    task = task_of(options.task, options.data, options.image_size, options.task_set)
    config = config_of(options, budget, task)
    kept = output / TABLE if (output / TABLE).exists() else None  # of the run that is resumed
    latency_table = table_at(options.table or kept)
    with runner_on(where) as runner:
        if latency_table is None:
            folder_path = output.resolve()  # has a name, also where the folder is "."
            path = folder_path.with_name(f"{folder_path.name}.table")
            with progress("profile") as show:
                latency_table = measure_table(
                    runner, config.space, path, profile_settings(sessions), PROBE_SEED,
                    options.resume, show,
                )  # fmt: skip
        elif options.measure_missing and options.table:
            latency_table = add_missing(latency_table, options.table, config.space, runner)
        latency_table.target.require_same(runner.target)
    with usage():
        appraiser = pipeline.make_appraiser(config, latency_table)
    folder = pipeline.open_run(output, config, latency_table, resume=options.resume)
    doubting = where if options.measure_doubtful else None
    with folder.locked():
        with doubtful_measured(folder, appraiser, doubting) as judge:
            found = search_network(folder, config, judge, task, options)
        latency_table = learned_table(folder) or latency_table
        tested = train_network(folder, config, task)
        artifact = pipeline.export(folder, config, task)
        quantized = pipeline.quantize(folder, config, task, artifact) if int8 else None
        with runner_on(where) as runner, progress("benchmark") as show:
            report = measure_file(artifact.path, runner, latency_table, config.budget, 5, show)
        folder.write_json(pipeline.BENCHMARK, report.to_json())
        page = write_report(folder)
    if as_json:
        results = {"search": found, "test": tested, "benchmark": report.to_json()}
        if quantized:
            results["int8"] = quantized.to_json()
        print_result({"run": str(output), **results, "report": str(page)})
    else:
        texts = (
            latency_table.summary(),
            describe_search(folder, config, found),
            pipeline.describe_test(tested, config),
            artifact.summary(),
            *([quantized.summary()] if quantized else []),
        )
        print_result("\n".join([*texts, report.summary(), f"report: {page}"]))
    end_with_verdict([report])


@app.command()
def report(run: RunPath) -> None:
    """Write the report of a run: one HTML file that needs nothing else."""
    from toolchain.report.page import write_report

    folder, _ = open_run(run)
    print_result(str(write_report(folder)))


def main() -> None:
    """Run the command line; our own errors become one line and exit code 1."""
    # Read by OpenMP when torch is first imported: threads that wait must not spin.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        code = app(standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            fail(
                "interrupted; what was finished is kept: profile, search and run go on with "
                "--resume, train and export when called again; kernels that a table lacks are "
                "measured from the start",
                code,
            )
        sys.exit(code)
    except typer.TyperException as error:
        message = error.format_message()
        is_help = message.startswith("Usage")  # a group without a command
        fail(message if is_help else f"error: {message} (--help says more)", error.exit_code)
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        fail(f"error: {error}; free space or mend the permissions, then try again", EXIT_ERROR)
    except Exception as error:
        if not isinstance(error, own_errors()):
            raise  # a bug keeps its traceback
        fail(f"error: {error}", EXIT_ERROR)
