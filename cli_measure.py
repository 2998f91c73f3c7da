"""The steps of commands that measure: profiles, kernels and networks that a table lacks, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cli_steps import PROBE_SEED, make_folder, progress, runner_on, usage

if TYPE_CHECKING:
    from latency_tables.budget import Budget
    from latency_tables.table import LatencyTable
    from profilers.benchmark import BenchmarkReport
    from profilers.place import Place
    from profilers.probes import Probe
    from profilers.runner import Runner
    from profilers.settings import ProfileSettings
    from toolchain.methods.candidate import Appraiser
    from toolchain.run_dir import RunDirectory
    from toolchain.spaces.space import Space


def add_missing(
    table: LatencyTable, path: Path | None, space: Space, runner: Runner
) -> LatencyTable:
    """The table, with what it lacked of a space's kernels measured, added and saved."""
    assert path is not None
    return add_kernels(table, path, probes_of(space, PROBE_SEED, table.target.precision), runner)


def add_kernels(
    table: LatencyTable, path: Path, pool: list[Probe], runner: Runner
) -> LatencyTable:
    """The table, with what it lacked of these networks' kernels measured, added and saved."""
    from latency_tables.store import save_table
    from profilers.profile import measure_missing
    from profilers.settings import ProfileSettings

    with progress("missing") as show:
        table = measure_missing(table, pool, runner, ProfileSettings(), on_progress=show)
    save_table(table, path)
    return table


def probes_of(space: Space, seed: int, precision: str) -> list[Probe]:
    """Networks of a space as what profiles of a precision are taken from."""
    from profilers.probes import Probe
    from toolchain.probe_networks import probe_networks

    with usage():
        return [
            Probe(subject=network.genotype, kernels=network.kernels, build=network.build)
            for network in probe_networks(space, seed, precision)
        ]


def measure_table(
    runner: Runner,
    space: Space,
    output: Path,
    settings: ProfileSettings,
    seed: int,
    resume: bool,
    on_progress: Callable[[int, int, str], None],
    other: LatencyTable | None = None,
) -> LatencyTable:
    """Profile a space and write the table; starting from another device's if one is given."""
    from profilers.profile import profile_table
    from profilers.warm_start import warm_start
    from toolchain.spaces.space import space_to_json

    described = json.dumps(space_to_json(space), sort_keys=True)
    make_folder(output.parent)
    begin = partial(warm_start, other) if other else profile_table
    return begin(
        probes_of(space, seed, runner.target.precision), runner, output, settings,
        space=described, seed=seed, resume=resume, on_progress=on_progress,
    )  # fmt: skip


def profile_settings(
    sessions: int, networks: int | None = None, *, is_warm_start: bool = False
) -> ProfileSettings:
    """The settings of a profile: what was given, the rest as is customary."""
    from profilers.settings import ProfileSettings
    from profilers.warm_start import SETTINGS

    customary = SETTINGS if is_warm_start else ProfileSettings()
    with usage():
        return replace(
            customary,
            sessions=sessions,
            networks=customary.networks if networks is None else networks,
        )


@contextmanager
def doubtful_measured(
    folder: RunDirectory, appraiser: Appraiser, place: Place | None
) -> Iterator[Appraiser]:
    """An appraiser that has networks measured which its table doubts, as a search meets them.

    They are measured on the table's target. What was learned is kept in the run's folder.

    Args:
        folder: of the run.
        appraiser: with a table.
        place: the device; None to measure nothing.
    """
    if place is None:
        yield appraiser
        return
    from latency_tables.learning import LearningModel
    from latency_tables.store import save_table
    from profilers.doubtful import network_meter
    from profilers.settings import ProfileSettings
    from toolchain.probe_networks import probe_network
    from toolchain.run_dir import DOUBTFUL, LEARNED
    from toolchain.spaces.space import space_to_json

    assert appraiser.model is not None, "there is a table"
    space, table = appraiser.space, appraiser.model.table

    def build(genotype: str) -> bytes:
        return probe_network(space, genotype, PROBE_SEED, table.target.precision).build()

    described = json.dumps(space_to_json(space), sort_keys=True)
    with (
        folder.forgotten_on_failure(),
        runner_on(place) as runner,
        network_meter(
            folder.path / DOUBTFUL, runner, build, ProfileSettings(),
            target=table.target, space=described,
        ) as meter,
    ):  # fmt: skip
        with usage():
            model = LearningModel(table, meter, budget=appraiser.budget)
        yield replace(appraiser, model=model)
        if model.learned:
            save_table(model.table, folder.path / LEARNED)


def learned_table(folder: RunDirectory) -> LatencyTable | None:
    """The table that learned from the networks that a search doubted, if one did."""
    from latency_tables.store import load_table
    from toolchain.run_dir import LEARNED

    return load_table(folder.path / LEARNED) if folder.has(LEARNED) else None


def measure_file(
    network: Path,
    runner: Runner,
    table: LatencyTable | None,
    budget: Budget | None,
    sessions: int,
    on_progress: Callable[[int, int, str], None],
) -> BenchmarkReport:
    """Benchmark a TFLite file on one device."""
    from latency_tables.model import LatencyModel
    from profilers.benchmark import benchmark, benchmark_settings
    from toolchain.export.artifact import kernels_of

    with usage():
        settings = benchmark_settings(sessions)
        model = LatencyModel(table) if table else None
    return benchmark(
        network, runner, kernels=kernels_of(network), budget=budget, settings=settings,
        model=model, on_progress=on_progress,
    )  # fmt: skip
