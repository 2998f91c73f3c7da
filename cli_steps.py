"""The steps that commands are made of: options in, a library's answer out, errors in one line."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from cli_options import PlaceOptions, SearchOptions, Texts

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from device_farm.adb.server import AdbServer
    from device_farm.farm import Farm, JobEvent
    from latency_tables.budget import Budget
    from latency_tables.table import LatencyTable
    from latency_tables.target import Target
    from profilers.benchmark import BenchmarkReport
    from profilers.place import Place
    from profilers.runner import Runner
    from toolchain.config import RunConfig
    from toolchain.kinds.task import Task
    from toolchain.methods.candidate import Appraiser
    from toolchain.run_dir import RunDirectory
    from toolchain.spaces.space import Space

EXIT_ERROR = 1
EXIT_OF_VERDICT = {"missed": 3, "drifted": 3, "undecided": 4}
PROBE_SEED = 1


def own_errors() -> tuple[type[Exception], ...]:
    """The bases of everything that our packages raise about the state of the world."""
    from device_farm.errors import DeviceError
    from latency_tables.errors import TableError
    from profilers.errors import ProfilerError
    from toolchain.errors import ToolchainError

    return DeviceError, TableError, ProfilerError, ToolchainError


def fail(message: str, code: int) -> NoReturn:
    """Say why on stderr and end with this exit code."""
    print(message, file=sys.stderr)
    sys.exit(code)


def print_result(result: Any) -> None:
    """Print a text as it is, anything else as JSON."""
    print(result if isinstance(result, str) else json.dumps(result, indent=1))


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user named."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error}") from None


def make_folder(path: Path) -> None:
    """Make a folder that the user named, and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"cannot make the folder {path}: {error}") from None


@contextmanager
def usage() -> Iterator[None]:
    """Turn a wrong argument into a usage error, exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def progress(title: str) -> Iterator[Callable[..., None]]:
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


def place_of(options: PlaceOptions, target: Target | None = None) -> Place:
    """The devices and options that the user gave; threads and precision of a table's target."""
    from profilers.phone import PhoneOptions
    from profilers.place import Place

    threads, precision = options.threads, options.precision
    if target is not None:
        for name, given, known in (
            ("threads", threads, target.threads), ("precision", precision, target.precision),
        ):  # fmt: skip
            if given not in (None, known):
                raise typer.BadParameter(
                    f"--{name} {given}: the table is of {name} {known}; leave --{name} out, or "
                    "take another table"
                )
        threads, precision = target.threads, target.precision
    with usage():
        return Place(
            devices=tuple(options.device or ["host"]),
            servers=_servers(options.adb_server),
            binary=options.benchmark_binary,
            options=PhoneOptions(
                threads=1 if threads is None else threads,
                cpus=options.cpu_mask,
                precision=precision or "float32",
            ),
        )


def _servers(texts: Texts) -> tuple[AdbServer, ...]:
    """The adb servers named, and always the local one."""
    from device_farm.adb.server import LOCAL_SERVER, AdbServer
    from device_farm.address import parse_address

    addresses = [parse_address(text, LOCAL_SERVER.port) for text in texts or []]
    return (LOCAL_SERVER, *(AdbServer(host=one.host, port=one.port) for one in addresses))


def farm_of(adb_servers: Texts, addresses: list[str]) -> Farm:
    """The phones in reach of these adb servers and addresses."""
    from device_farm.farm import Farm

    return Farm(servers=_servers(adb_servers), addresses=addresses)


def runner_on(place: Place) -> AbstractContextManager[Runner]:
    """A runner on a single device."""
    from profilers.place import open_runner

    if len(place.devices) > 1:
        raise typer.BadParameter(f"one device, not {len(place.devices)}")
    return open_runner(place)


def everywhere(
    place: Place, task: Callable[[str, Runner], Any]
) -> tuple[dict[str, Any], dict[str, BaseException]]:
    """What a task gave on each device, and what ended it on the others."""
    from profilers.place import measure_everywhere

    def on_event(event: JobEvent) -> None:
        if event.kind in ("waiting", "lost"):
            reason = f": {event.error}" if event.error else ""
            logging.getLogger(__name__).warning("%s: %s%s", event.job, event.kind, reason)

    with usage():
        answers = measure_everywhere(place, task, on_event)
    failed = {name: one for name, one in answers.items() if isinstance(one, BaseException)}
    for error in failed.values():
        if len(answers) == 1 or not isinstance(error, own_errors()):
            raise error
    return {name: one for name, one in answers.items() if name not in failed}, failed


def fail_if_any(failed: dict[str, BaseException]) -> None:
    """End with one line for each device that failed, if one did."""
    if failed:
        fail("\n".join(f"error: {name}: {error}" for name, error in failed.items()), EXIT_ERROR)


def table_paths(output: Path, devices: tuple[str, ...]) -> dict[str, Path]:
    """The table of each device: the output itself, or files in it when there are several."""
    if len(devices) == 1:
        if output.is_dir():
            raise typer.BadParameter(f"{output} is a folder; give the table a name")
        return {devices[0]: output}
    return {name: output / f"{re.sub('[^A-Za-z0-9._-]', '_', name)}.table" for name in devices}


def budget_of(
    limit_ms: float | None, confidence: float = 0.95, fill: float = 0.0
) -> Budget | None:
    """The budget, or None without a limit; the rest is checked all the same."""
    from latency_tables.budget import Budget

    if fill and limit_ms is None:
        raise typer.BadParameter("--fill is a share of the budget: give --budget-ms too")
    with usage():
        limit = 1.0 if limit_ms is None else limit_ms
        budget = Budget(limit_ms=limit, confidence=confidence, fill=fill)
    return None if limit_ms is None else budget


def task_of(name: str, data: Path | None, image_size: Any, settings: Texts) -> Task:
    """The task with its data, fetched if need be."""
    from toolchain.kinds.table import make_task_settings, open_task
    from toolchain.settings import parse_assignments

    with usage():
        chosen = make_task_settings(name, parse_assignments(settings or []))
        return open_task(name, data, image_size, chosen)


def space_of(name: str, settings: Texts, task: Task | None) -> Space:
    """The space, fitted to the data of the task, then with the settings given."""
    from toolchain.settings import parse_assignments
    from toolchain.spaces.space import make_space

    with usage():
        fitted = task.fitted(make_space(name, {})) if task else {}
        given = parse_assignments(settings or [])
        for setting in fitted.keys() & given.keys():
            if given[setting] != fitted[setting]:
                raise ValueError(
                    f"{setting} of the space follows from the task's data: it is "
                    f"{fitted[setting]!r}, not {given[setting]!r}; leave --set {setting} out"
                )
        return make_space(name, {**fitted, **given})


def config_of(options: SearchOptions, budget: Budget | None, task: Task) -> RunConfig:
    """The configuration of a run, with its space fitted to the task's data."""
    from toolchain.config import make_config
    from toolchain.methods.limits import Limits

    with usage():
        limits = Limits(
            max_macs=options.max_macs, max_params=options.max_params,
            max_memory_bytes=options.max_memory_bytes,
        )  # fmt: skip
        return make_config(
            space=space_of(options.space, options.space_set, task), budget=budget,
            method_set=options.method_set or [], proxy_set=options.proxy_set or [],
            train_set=options.train_set or [], task=options.task, data=options.data,
            image_size=options.image_size, method=options.method, proxy=options.proxy,
            epochs=options.epochs, seed=options.seed, limits=limits,
            task_set=options.task_set or [], weights=options.weights,
            supernet_set=options.supernet_set or [], recipe=options.recipe,
            measure_doubtful=options.measure_doubtful,
        )  # fmt: skip


def table_at(path: Path | None) -> LatencyTable | None:
    """The table in a file, to search with, or None without one."""
    from latency_tables.foreign import require_own
    from latency_tables.store import load_table

    if path is None:
        return None
    table = load_table(path)
    require_own(table, "searched with")
    return table


def open_run(path: Path) -> tuple[RunDirectory, RunConfig]:
    """A run that exists, and its configuration."""
    from toolchain.config import config_from_json
    from toolchain.run_dir import RunDirectory

    folder = RunDirectory.open(path)
    return folder, config_from_json(folder.config)


def existing_run(path: Path) -> tuple[RunDirectory, RunConfig, Task]:
    """A run that exists, its configuration and its task."""
    from toolchain.kinds.table import open_task

    folder, config = open_run(path)
    data = Path(config.data) if config.data else None
    with usage():
        return (
            folder,
            config,
            open_task(config.task, data, config.image_size, config.task_settings),
        )


def search_network(
    folder: RunDirectory,
    config: RunConfig,
    appraiser: Appraiser,
    task: Task,
    options: SearchOptions,
) -> dict[str, Any]:
    """Search, with a line for each candidate on the progress bar, after the supernet's bar."""
    from toolchain import pipeline
    from toolchain.run_dir import RunDirectory
    from toolchain.shared_weights import adopt_shared_weights

    metric = config.kind.metric
    with progress("search") as show, usage(), folder.forgotten_on_failure():
        seen: list[str] = []
        if options.supernet:
            adopt_shared_weights(folder, config, RunDirectory.open(options.supernet))

        def on_candidate(candidate: Any) -> None:
            seen.append(candidate.genotype)
            value = metric.text(metric.value(candidate.metric), digits=1)
            show(len(seen), None, f"{value}  {candidate.genotype}")

        return pipeline.search(
            folder, config, appraiser, task,
            workers=options.workers or None, ray=options.ray, on_candidate=on_candidate,
            on_supernet_step=partial(show, name="supernet"),
        )  # fmt: skip


def describe_search(folder: RunDirectory, config: RunConfig, found: dict[str, Any]) -> str:
    """What a search found, and how good the supernet is that it had, if any."""
    from toolchain import pipeline
    from toolchain.shared_weights import SCORES, describe_shared_weights

    answer = pipeline.describe_answer(found, config)
    if not folder.has(SCORES):
        return answer
    return f"{describe_shared_weights(folder.read_json(SCORES), config)}\n{answer}"


def train_network(folder: RunDirectory, config: RunConfig, task: Task) -> dict[str, Any]:
    """Train a run's answer and return how it did on the test data."""
    from toolchain import pipeline

    genotype, metric = pipeline.found(folder)["best"]["genotype"], config.kind.metric
    with progress("train") as show:
        status = ""

        def on_step(done: int, steps: int, loss: float) -> None:
            show(done, steps, f"loss {loss:.3f} {status}")

        for record in pipeline.train_network(folder, config, genotype, task, on_step=on_step):
            value = metric.text(record[f"validation_{metric.key}"], digits=1)
            status = f"validation {value}"
    return folder.read_json(pipeline.TEST)


def end_with_verdict(reports: Iterable[BenchmarkReport]) -> None:
    """Exit with the code of the worst verdict, missed before undecided; go on when all are met."""
    for verdict, code in EXIT_OF_VERDICT.items():
        if any(report.verdict == verdict for report in reports):
            raise typer.Exit(code)
