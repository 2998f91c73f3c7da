"""The command line: options -> library call -> one print.

Nothing heavy is imported before a command needs it: ``pocketnas --help`` loads no torch.
"""

from __future__ import annotations

import errno
import functools
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from device_farm.adb.server import AdbServer
    from device_farm.farm import Farm, JobEvent
    from latency_tables.budget import Budget
    from latency_tables.table import LatencyTable
    from profilers.benchmark import BenchmarkReport
    from profilers.place import Place
    from profilers.probes import Probe
    from profilers.runner import Runner
    from toolchain.config import RunConfig
    from toolchain.methods.candidate import Appraiser
    from toolchain.run_dir import RunDirectory
    from toolchain.spaces.space import Space
    from toolchain.tasks.classification import ClassificationData

EXIT_ERROR = 1
EXIT_BUDGET_MISSED = 3
EXIT_INTERRUPTED = 130
PROBE_SEED = 1
STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

app = typer.Typer(
    help="Search a network that meets a millisecond budget, export it, prove it on the device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
tables_app = typer.Typer(help="Look at latency tables.", no_args_is_help=True)
zoo_app = typer.Typer(help="Published networks, rebuilt and counted.", no_args_is_help=True)
app.add_typer(tables_app, name="tables")
app.add_typer(zoo_app, name="zoo")

Texts = list[str] | None
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of the run.")]
Sessions = Annotated[int, typer.Option(help="Times each network is loaded and measured afresh.")]
Task = Annotated[str, typer.Option(help="fashion-mnist or image-folder.")]
Data = Annotated[Path | None, typer.Option(help="Folder or archive of the task's images.")]
ImageSize = Annotated[int | None, typer.Option(min=1, help="Resize images to so many pixels.")]
SpaceName = Annotated[str, typer.Option("--space", help="Search space: shrinkcnn.")]
SpaceSet = Annotated[Texts, typer.Option("--set", help="Setting of the space: name=value.")]
Method = Annotated[str, typer.Option(help="Search method: autoshrink or random.")]
MethodSet = Annotated[Texts, typer.Option(help="Setting of the method: name=value.")]
Proxy = Annotated[str, typer.Option(help="Training of candidates: quick or paper.")]
ProxySet = Annotated[Texts, typer.Option(help="Setting of the proxy: name=value.")]
Epochs = Annotated[int, typer.Option(help="Epochs of the final training.")]
TrainSet = Annotated[Texts, typer.Option(help="Setting of the final training: name=value.")]
TablePath = Annotated[Path | None, typer.Option("--table", help="Latency table of the target.")]
BudgetMs = Annotated[float | None, typer.Option(help="Hard limit on latency in ms.")]
Confidence = Annotated[float, typer.Option(help="Probability that the limit must hold with.")]
MeasureMissing = Annotated[
    bool, typer.Option("--measure-missing", help="Measure kernels that the table lacks.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that train candidates; 0: one a core.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted call stopped.")]


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Options of every command that measures; see Place."""

    device: Annotated[
        Texts,
        typer.Option(help="Where to measure: host, or a phone: serial, host:port, model:NAME."),
    ] = None
    adb_server: Annotated[
        Texts, typer.Option(help="adb server that has phones: host:port; else the local one.")
    ] = None
    benchmark_binary: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="benchmark_model for the phone; else it is fetched."),
    ] = None
    threads: Annotated[int, typer.Option(help="Threads the runtime is given.")] = 1
    cpu_mask: Annotated[
        str, typer.Option(help="CPUs of the phone: auto, big, all or a hexadecimal mask.")
    ] = "auto"
    precision: Annotated[
        str, typer.Option(help="float32, or float16 to let a phone compute so.")
    ] = "float32"


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: a parameter that is a dataclass becomes its fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: one for name, one in hints.items() if is_dataclass(one)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            parameters.append(
                parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            )
            continue
        inner = get_type_hints(groups[parameter.name], include_extras=True)
        parameters += [
            parameter.replace(
                name=field.name,
                kind=parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=inner[field.name],
            )
            for field in fields(groups[parameter.name])
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        grouped = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **grouped)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


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
    with _usage():
        found = _farm(adb_server, device or []).devices()
    if as_json:
        host = {"serial": "host", "state": "ready", **target.to_json()}
        _show([host, *(row.to_json() for row in found)])
    else:
        host_text = f"{target.soc}, {target.abi}, {target.runtime} {target.runtime_version}"
        _show("\n".join([f"host  ready  {host_text}", *map(to_text, found)]))


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
    task: Annotated[str | None, typer.Option(help="Fit the space to this task's images.")] = None,
    data: Data = None,
    image_size: ImageSize = None,
    sessions: Sessions = 2,
    seed: Seed = PROBE_SEED,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Measure every kernel of a search space and write a latency table, one for each device."""
    where = _place(place)
    paths = _table_paths(output, where.devices)
    images = _load_data(task, data, image_size) if task else None
    searched = _space(space, space_set, images)
    begun: set[str] = set()
    with _progress("profile") as show:

        def measure(name: str, runner: Runner) -> LatencyTable:
            again = resume or name in begun  # on the twin of a phone that died
            begun.add(name)
            on_progress = partial(show, name=name)
            return _profile(runner, searched, paths[name], sessions, seed, again, on_progress)

        tables, failed = _everywhere(where, measure)
    if as_json:
        rows = [{"table": str(paths[name]), **table.to_json()} for name, table in tables.items()]
        _show(rows if len(where.devices) > 1 else rows[0] if rows else [])
    else:
        _show("\n".join(f"{paths[name]}: {table.summary()}" for name, table in tables.items()))
    _fail_if_any(failed)


@app.command()
@with_groups
def search(
    output: Output,
    place: PlaceOptions,
    task: Task = "fashion-mnist",
    data: Data = None,
    image_size: ImageSize = None,
    space: SpaceName = "shrinkcnn",
    space_set: SpaceSet = None,
    method: Method = "autoshrink",
    method_set: MethodSet = None,
    proxy: Proxy = "quick",
    proxy_set: ProxySet = None,
    epochs: Epochs = 10,
    train_set: TrainSet = None,
    table: TablePath = None,
    budget_ms: BudgetMs = None,
    confidence: Confidence = 0.95,
    measure_missing: MeasureMissing = False,
    workers: Workers = 0,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Search a network. The folder then holds everything that train and export need."""
    from toolchain import pipeline

    if budget_ms is not None and table is None:
        raise typer.BadParameter("a budget in ms needs --table; make one: pocketnas profile")
    budget = _budget(budget_ms, confidence)
    images = _load_data(task, data, image_size)
    config = _config(
        _space(space, space_set, images), budget,
        method_set, proxy_set, train_set, task=task, data=data, image_size=image_size,
        method=method, proxy=proxy, epochs=epochs, seed=seed,
    )  # fmt: skip
    latency_table = _load_table(table)
    if latency_table and table and measure_missing:
        with _open_runner(_place(place, latency_table.target.threads)) as runner:
            latency_table = _add_missing(latency_table, table, config.space, runner)
    with _usage():
        appraiser = pipeline.make_appraiser(config, latency_table)
    folder = pipeline.open_run(output, config, latency_table, resume=resume)
    with folder.locked():
        found = _search(folder, config, appraiser, images, workers)
    _show(
        found if as_json else f"{pipeline.describe_answer(found)}\nnext: pocketnas train {output}"
    )


@app.command()
def train(run: RunPath, as_json: Json = False) -> None:
    """Train a run's answer in full; goes on where it stopped."""
    from toolchain import pipeline

    folder, config, images = _existing_run(run)
    with folder.locked():
        result = _train(folder, config, images)
    _show(result if as_json else f"{pipeline.describe_test(result)}\nnext: pocketnas export {run}")


@app.command()
def export(
    run: RunPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="Copy the file and its card here."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantize to 8-bit integers, and say what it cost.")
    ] = False,
    calibration: Annotated[
        int, typer.Option(min=1, help="Training images that the integers' ranges are read from.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Lower a run's trained network to TFLite and prove that it computes the same."""
    from toolchain import pipeline

    folder, config, images = _existing_run(run)
    with folder.locked():
        artifact = pipeline.export(folder, config, images)
        if int8:
            artifact = pipeline.quantize(
                folder, config, images, artifact, calibration_images=calibration
            )
    if output:
        artifact = artifact.copy_to(output)
    _show(artifact.to_json() if as_json else artifact.summary())


@app.command()
@with_groups
def benchmark(
    network: Annotated[Path, typer.Argument(dir_okay=False, help="TFLite file.")],
    place: PlaceOptions,
    table: Annotated[
        Path | None, typer.Option(help="Latency table of the target, or a folder with it.")
    ] = None,
    budget_ms: BudgetMs = None,
    confidence: Confidence = 0.95,
    sessions: Annotated[int, typer.Option(min=2, help="Times the file is loaded afresh.")] = 5,
    as_json: Json = False,
) -> None:
    """Measure a TFLite file, on several phones at once; exit code 3 when it misses the budget."""
    from latency_tables.store import load_tables, table_of

    where, budget = _place(place), _budget(budget_ms, confidence)
    tables = load_tables(table) if table else []
    with _progress("benchmark") as show:

        def measure(name: str, runner: Runner) -> BenchmarkReport:
            own = table_of(runner.target, tables) if tables else None
            return _benchmark(network, runner, own, budget, sessions, partial(show, name=name))

        reports, failed = _everywhere(where, measure)
    if as_json:
        rows = [{"device": name, **report.to_json()} for name, report in reports.items()]
        _show(rows if len(where.devices) > 1 else rows[0] if rows else [])
    else:
        several = len(where.devices) > 1
        texts = [
            f"{name}: {report.summary()}" if several else report.summary()
            for name, report in reports.items()
        ]
        _show("\n".join(texts))
    _fail_if_any(failed)
    if any(report.is_met is False for report in reports.values()):
        raise typer.Exit(EXIT_BUDGET_MISSED)


@app.command()
@with_groups
def run(
    output: Output,
    budget_ms: Annotated[float, typer.Option(help="Hard limit on latency in ms.")],
    place: PlaceOptions,
    task: Task = "fashion-mnist",
    data: Data = None,
    image_size: ImageSize = None,
    space: SpaceName = "shrinkcnn",
    space_set: SpaceSet = None,
    method: Method = "autoshrink",
    method_set: MethodSet = None,
    proxy: Proxy = "quick",
    proxy_set: ProxySet = None,
    epochs: Epochs = 10,
    train_set: TrainSet = None,
    table: TablePath = None,
    confidence: Confidence = 0.95,
    measure_missing: MeasureMissing = False,
    sessions: Sessions = 2,
    workers: Workers = 0,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Do the whole loop: profile, search, train, export, benchmark, verdict, report."""
    from toolchain import pipeline
    from toolchain.report.page import write_report
    from toolchain.run_dir import RunDirectory

    RunDirectory.require_usable(output, resume=resume)
    where = _place(place)
    if len(where.devices) > 1:
        raise typer.BadParameter("a run is for one device")
    budget = _budget(budget_ms, confidence)
    images = _load_data(task, data, image_size)
    config = _config(
        _space(space, space_set, images), budget,
        method_set, proxy_set, train_set, task=task, data=data, image_size=image_size,
        method=method, proxy=proxy, epochs=epochs, seed=seed,
    )  # fmt: skip
    latency_table = _load_table(table)
    with _open_runner(where) as runner:
        if latency_table is None:
            folder_path = output.resolve()  # has a name, also where the folder is "."
            path = folder_path.with_name(f"{folder_path.name}.table")
            with _progress("profile") as show:
                latency_table = _profile(
                    runner, config.space, path, sessions, PROBE_SEED, resume, show
                )
        elif table and measure_missing:
            latency_table = _add_missing(latency_table, table, config.space, runner)
        latency_table.target.require_same(runner.target)
    with _usage():
        appraiser = pipeline.make_appraiser(config, latency_table)
    folder = pipeline.open_run(output, config, latency_table, resume=resume)
    with folder.locked():
        found = _search(folder, config, appraiser, images, workers)
        tested = _train(folder, config, images)
        artifact = pipeline.export(folder, config, images)
        with _open_runner(where) as runner, _progress("benchmark") as show:
            report = _benchmark(artifact.path, runner, latency_table, config.budget, 5, show)
        folder.write_json(pipeline.BENCHMARK, report.to_json())
        page = write_report(folder)
    if as_json:
        results = {"search": found, "test": tested, "benchmark": report.to_json()}
        _show({"run": str(output), **results, "report": str(page)})
    else:
        texts = (
            latency_table.summary(),
            pipeline.describe_answer(found),
            pipeline.describe_test(tested),
            artifact.summary(),
        )
        _show("\n".join([*texts, report.summary(), f"report: {page}"]))
    if not report.is_met:
        raise typer.Exit(EXIT_BUDGET_MISSED)


@app.command()
def report(run: RunPath) -> None:
    """Write the report of a run: one HTML file that needs nothing else."""
    from toolchain.report.page import write_report

    folder, _ = _open_run(run)
    _show(str(write_report(folder)))


@tables_app.command("show")
def tables_show(
    table: Annotated[Path, typer.Argument(help="Latency table.")], as_json: Json = False
) -> None:
    """Show what a table holds: its target, its kernels, how well it predicts."""
    from latency_tables.store import load_table

    loaded = load_table(table)
    _show({"table": str(table), **loaded.to_json()} if as_json else loaded.summary())


@zoo_app.command("list")
def zoo_list(as_json: Json = False) -> None:
    """List the networks there are."""
    from toolchain.zoo import ZOO

    _show(sorted(ZOO) if as_json else "\n".join(sorted(ZOO)))


@zoo_app.command("show")
def zoo_show(
    name: Annotated[str | None, typer.Argument(help="Name of the network.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A graph as JSON, instead of a name.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the network into this file.")] = None,
    as_json: Json = False,
) -> None:
    """Count a network: parameters (batch norm apart), MACs, memory."""
    from toolchain.count import count
    from toolchain.draw import draw_svg
    from toolchain.zoo import make_network, read_network

    if (name is None) == (source is None):
        raise typer.BadParameter("give the name of a network, or --from FILE.json")
    with _usage():
        graph = read_network(source) if source else make_network(str(name))
    counts = count(graph).to_json()
    if svg:
        _write(svg, draw_svg(graph).encode())
    if as_json:
        _show({"name": graph.name, "input": list(graph.input_shape), **counts})
    else:
        rows = [("name", graph.name), ("input", "x".join(map(str, graph.input_shape)))]
        rows += [(key, f"{value:,}") for key, value in counts.items()]
        _show("\n".join(f"{key:<20}{value}" for key, value in rows))


@zoo_app.command("export")
def zoo_export(
    name: Annotated[str, typer.Argument(help="Name of the network.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, help="TFLite file to write.")
    ],
) -> None:
    """Write a network as TFLite with random weights, to measure its latency."""
    from toolchain.export.flatbuffer import random_weights, write_tflite
    from toolchain.kernels import plan
    from toolchain.zoo import make_network

    kernels = plan(make_network(name))
    _write(output, write_tflite(kernels, random_weights(kernels, seed=0)))
    _show(f"{output}: random weights\nnext: pocketnas benchmark {output}")


def main() -> None:
    """Run the command line; our own errors become one line and exit code 1."""
    # Read by OpenMP when torch is first imported: threads that wait must not spin.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        code = app(standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            _fail(
                "interrupted; what was finished is kept: profile, search and run go on with "
                "--resume, train and export when called again",
                code,
            )
        sys.exit(code)
    except typer.TyperException as error:
        message = error.format_message()
        is_help = message.startswith("Usage")  # a group without a command
        _fail(message if is_help else f"error: {message} (--help says more)", error.exit_code)
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        _fail(f"error: {error}; free space or mend the permissions, then try again", EXIT_ERROR)
    except Exception as error:
        if not isinstance(error, _own_errors()):
            raise  # a bug keeps its traceback
        _fail(f"error: {error}", EXIT_ERROR)


def _own_errors() -> tuple[type[Exception], ...]:
    from device_farm.errors import DeviceError
    from latency_tables.errors import TableError
    from profilers.errors import ProfilerError
    from toolchain.errors import ToolchainError

    return DeviceError, TableError, ProfilerError, ToolchainError


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


def _show(result: Any) -> None:
    """Print a text as it is, anything else as JSON."""
    print(result if isinstance(result, str) else json.dumps(result, indent=1))


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error}") from None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"cannot make the folder {path}: {error}") from None


@contextmanager
def _usage() -> Iterator[None]:
    """Turn a wrong argument into a usage error, exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _progress(title: str) -> Iterator[Callable[..., None]]:
    """Progress bars on stderr, if that is a terminal, one for each name.

    Call it with done, total (if known), what is in hand, and a name where there are several.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    name, subject = TextColumn("{task.description:<10}"), TextColumn("{task.fields[subject]}")
    columns = (name, BarColumn(20), MofNCompleteColumn(), Remaining(), subject)
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def show(done: int, total: int | None, text: str, name: str = title) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=None, subject="")
            bar.update(tasks[name], completed=done, total=total, subject=text)

        yield show


def _place(options: PlaceOptions, threads: int | None = None) -> Place:
    from profilers.phone import PhoneOptions
    from profilers.place import Place

    with _usage():
        return Place(
            devices=tuple(options.device or ["host"]),
            servers=_servers(options.adb_server),
            binary=options.benchmark_binary,
            options=PhoneOptions(
                threads=options.threads if threads is None else threads,
                cpus=options.cpu_mask,
                precision=options.precision,
            ),
        )


def _servers(texts: Texts) -> tuple[AdbServer, ...]:
    """The adb servers named, and always the local one."""
    from device_farm.adb.server import LOCAL_SERVER, AdbServer
    from device_farm.address import parse_address

    addresses = [parse_address(text, LOCAL_SERVER.port) for text in texts or []]
    return (LOCAL_SERVER, *(AdbServer(host=one.host, port=one.port) for one in addresses))


def _farm(adb_servers: Texts, addresses: list[str]) -> Farm:
    from device_farm.farm import Farm

    return Farm(servers=_servers(adb_servers), addresses=addresses)


def _open_runner(place: Place) -> AbstractContextManager[Runner]:
    from profilers.place import open_runner

    return open_runner(place)


def _everywhere(
    place: Place, task: Callable[[str, Runner], Any]
) -> tuple[dict[str, Any], dict[str, BaseException]]:
    """What a task gave on each device, and what ended it on the others."""
    from profilers.place import measure_everywhere

    def on_event(event: JobEvent) -> None:
        if event.kind in ("waiting", "lost"):
            reason = f": {event.error}" if event.error else ""
            logging.getLogger(__name__).warning("%s: %s%s", event.job, event.kind, reason)

    with _usage():
        answers = measure_everywhere(place, task, on_event)
    failed = {name: one for name, one in answers.items() if isinstance(one, BaseException)}
    for error in failed.values():
        if len(answers) == 1 or not isinstance(error, _own_errors()):
            raise error
    return {name: one for name, one in answers.items() if name not in failed}, failed


def _fail_if_any(failed: dict[str, BaseException]) -> None:
    if failed:
        _fail("\n".join(f"error: {name}: {error}" for name, error in failed.items()), EXIT_ERROR)


def _table_paths(output: Path, devices: tuple[str, ...]) -> dict[str, Path]:
    """The table of each device: the output itself, or files in it when there are several."""
    if len(devices) == 1:
        if output.is_dir():
            raise typer.BadParameter(f"{output} is a folder; give the table a name")
        return {devices[0]: output}
    return {name: output / f"{re.sub('[^A-Za-z0-9._-]', '_', name)}.table" for name in devices}


def _budget(limit_ms: float | None, confidence: float) -> Budget | None:
    from latency_tables.budget import Budget

    with _usage():
        # Without a limit the confidence is checked all the same.
        budget = Budget(limit_ms=1.0 if limit_ms is None else limit_ms, confidence=confidence)
    return None if limit_ms is None else budget


def _load_data(task: str, data: Path | None, image_size: int | None) -> ClassificationData:
    from toolchain.tasks import load_task

    return load_task(task, data, image_size)


def _space(name: str, settings: Texts, images: ClassificationData | None) -> Space:
    """The space, fitted to the images and classes of the task, then with the settings given."""
    from toolchain.settings import parse_assignments
    from toolchain.spaces.space import make_space

    fitted: dict[str, Any] = {}
    if images is not None:
        fitted = {"input_shape": images.input_shape, "classes": len(images.classes)}
    with _usage():
        return make_space(name, {**fitted, **parse_assignments(settings or [])})


def _config(space: Space, budget: Budget | None, *texts: Texts, **options: Any) -> RunConfig:
    from toolchain.config import make_config

    method_set, proxy_set, train_set = ([] if one is None else one for one in texts)
    with _usage():
        return make_config(
            space=space, budget=budget, method_set=method_set, proxy_set=proxy_set,
            train_set=train_set, **options,
        )  # fmt: skip


def _load_table(path: Path | None) -> LatencyTable | None:
    from latency_tables.store import load_table

    return load_table(path) if path else None


def _add_missing(table: LatencyTable, path: Path, space: Space, runner: Runner) -> LatencyTable:
    """The table, with what it lacked of a space's kernels measured, added and saved."""
    from latency_tables.store import save_table
    from profilers.profile import measure_missing
    from profilers.settings import ProfileSettings

    with _progress("missing") as show:
        pool = _probes(space, PROBE_SEED)
        table = measure_missing(table, pool, runner, ProfileSettings(), on_progress=show)
    save_table(table, path)
    return table


def _probes(space: Space, seed: int) -> list[Probe]:
    from profilers.probes import Probe
    from toolchain.probe_networks import probe_networks

    return [
        Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
        for network in probe_networks(space, seed)
    ]


def _profile(
    runner: Runner,
    space: Space,
    output: Path,
    sessions: int,
    seed: int,
    resume: bool,
    on_progress: Callable[[int, int, str], None],
) -> LatencyTable:
    from profilers.profile import profile_table
    from profilers.settings import ProfileSettings
    from toolchain.spaces.space import space_to_json

    with _usage():
        settings = ProfileSettings(sessions=sessions)
    described = json.dumps(space_to_json(space), sort_keys=True)
    _make_folder(output.parent)
    return profile_table(
        _probes(space, seed), runner, output, settings,
        space=described, seed=seed, resume=resume, on_progress=on_progress,
    )  # fmt: skip


def _open_run(path: Path) -> tuple[RunDirectory, RunConfig]:
    from toolchain.config import config_from_json
    from toolchain.run_dir import RunDirectory

    folder = RunDirectory.open(path)
    return folder, config_from_json(folder.config)


def _existing_run(path: Path) -> tuple[RunDirectory, RunConfig, ClassificationData]:
    folder, config = _open_run(path)
    data = Path(config.data) if config.data else None
    return folder, config, _load_data(config.task, data, config.image_size)


def _search(
    folder: RunDirectory,
    config: RunConfig,
    appraiser: Appraiser,
    images: ClassificationData,
    workers: int,
) -> dict[str, Any]:
    from toolchain import pipeline

    with _progress("search") as show, _usage(), folder.forgotten_on_failure():
        seen: list[str] = []

        def on_candidate(candidate: Any) -> None:
            seen.append(candidate.genotype)
            show(len(seen), None, f"{candidate.accuracy:.1%}  {candidate.genotype}")

        return pipeline.search(
            folder, config, appraiser, images,
            workers=workers or os.cpu_count() or 1, on_candidate=on_candidate,
        )  # fmt: skip


def _train(folder: RunDirectory, config: RunConfig, images: ClassificationData) -> dict[str, Any]:
    from toolchain import pipeline

    genotype = pipeline.found(folder)["best"]["genotype"]
    with _progress("train") as show:
        status = ""

        def on_step(epoch: int, step: Any) -> None:
            done = (epoch - 1) * step.steps + step.index + 1
            show(done, config.training.epochs * step.steps, f"loss {step.loss:.3f} {status}")

        for epoch in pipeline.train_network(folder, config, genotype, images, on_step=on_step):
            status = f"validation {epoch.validation_accuracy:.1%}"
    return folder.read_json(pipeline.TEST)


def _benchmark(
    network: Path,
    runner: Runner,
    table: LatencyTable | None,
    budget: Budget | None,
    sessions: int,
    on_progress: Callable[[int, int, str], None],
) -> BenchmarkReport:
    from latency_tables.model import LatencyModel
    from profilers.benchmark import benchmark, benchmark_settings
    from toolchain.export.artifact import kernels_of

    with _usage():
        settings = benchmark_settings(sessions)
        model = LatencyModel(table) if table else None
    return benchmark(
        network, runner, kernels=kernels_of(network), budget=budget, settings=settings,
        model=model, on_progress=on_progress,
    )  # fmt: skip
