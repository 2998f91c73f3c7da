from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import CALIBRATION, TARGET, table_of
from small_run import GENOTYPE, SPACE, SWIFTNET, make_task, small_config, start

from latency_tables.budget import Budget
from latency_tables.errors import KernelMissing
from latency_tables.model import LatencyModel
from latency_tables.precision import network_in
from latency_tables.table import LatencyTable
from toolchain import pipeline
from toolchain.config import config_from_json
from toolchain.errors import BudgetUnreachable, RunUnusable
from toolchain.methods.candidate import Appraiser
from toolchain.methods.limits import Limits
from toolchain.run_dir import RunDirectory
from toolchain.scaling import largest, outlines, require_cell, scale, scaled_networks

OUTLINES = outlines(SPACE, (0.5, 1.0, 2.0, 3.0))
EVERYTHING = LatencyTable(
    target=TARGET,
    rows={key: row for one in OUTLINES for key, row in table_of(one).rows.items()},
    calibration=CALIBRATION,
)
MODEL = LatencyModel(EVERYTHING)
BUDGETS = [Budget(limit_ms=limit_ms) for limit_ms in (0.1, 0.07, 0.052)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run, config, appraiser = start(tmp_path_factory.mktemp("scaling") / "run", "autoshrink")
    pipeline.search(run, config, appraiser, make_task(), workers=1)
    return run


def scaled(
    run: RunDirectory, path: Path, budgets: list[Budget] = BUDGETS, **changes: Any
) -> dict[Path, dict[str, Any]]:
    arguments = {"outlines": OUTLINES, "resume": False, **changes}
    return scale(run, small_config(), EVERYTHING, budgets, path, **arguments)


def appraiser_of(budget: Budget, limits: Limits | None = None) -> Appraiser:
    return Appraiser(space=SPACE, model=MODEL, budget=budget, limits=limits or Limits())


def test_outlines_vary_channels_and_cells_and_nothing_else() -> None:
    assert [(one.channel_scale, one.replicate) for one in OUTLINES[3:6]] == [
        (3.0, (1, 1)), (0.5, (2, 2)), (1.0, (2, 2)),
    ]  # fmt: skip
    assert {replace(one, channel_scale=1.0, replicate=(1, 1)) for one in OUTLINES} == {SPACE}
    assert [one.replicate for one in outlines(SPACE, (1,), [(1, 3), (2, 4)])] == [(1, 3), (2, 4)]


def test_outlines_with_the_same_channels_are_one() -> None:
    assert [one.channel_scale for one in outlines(SPACE, (1.0, 1.01, 2.0), [(1, 1)])] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("scales", "replicates", "complaint"),
    [
        ((0.0,), [(1, 1)], "must be more than 0"),
        ((1.0,), [(1, 1, 1)], "one number for each stage"),
        ((1.0,), [(1, 0)], "must be more than 0"),
    ],
)
def test_outlines_that_cannot_be_are_refused(
    scales: tuple[float, ...], replicates: list[tuple[int, ...]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        outlines(SPACE, scales, replicates)


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_the_network_is_the_largest_that_keeps_the_budget(budget: Budget) -> None:
    chosen = largest(GENOTYPE, OUTLINES, appraiser_of(budget))
    for outline in OUTLINES:
        latency = MODEL.predict(outline.kernels(GENOTYPE))
        macs = outline.counts(GENOTYPE).macs
        assert macs <= chosen.candidate.macs or latency.p95_ms > budget.limit_ms
    assert chosen.candidate.latency == MODEL.predict(chosen.outline.kernels(GENOTYPE))
    assert budget.admits(chosen.candidate.latency)


def test_a_table_of_int8_predicts_int8_networks() -> None:
    """Which lack no row, though the table has none in float."""
    rows = {
        kernel: row
        for outline in OUTLINES
        for kernel, row in zip(
            network_in("int8", outline.kernels(GENOTYPE)),
            itertools.cycle(EVERYTHING.rows.values()),
        )
    }
    table = replace(EVERYTHING, target=replace(TARGET, precision="int8"), rows=rows)
    appraiser = Appraiser(space=SPACE, model=LatencyModel(table), budget=Budget(limit_ms=1e3))
    chosen = largest(GENOTYPE, OUTLINES, appraiser)
    assert chosen.candidate.macs == max(one.counts(GENOTYPE).macs for one in OUTLINES)


def test_confidence_decides_too() -> None:
    """With a limit between the two quantiles of a network."""
    latency = MODEL.predict(OUTLINES[-1].kernels(GENOTYPE))
    limit_ms = (latency.p50_ms + latency.p95_ms) / 2
    sure, even = (
        largest(GENOTYPE, OUTLINES, appraiser_of(Budget(limit_ms=limit_ms, confidence=one)))
        for one in (0.95, 0.5)
    )
    assert sure.candidate.macs < even.candidate.macs


def test_the_searchs_other_limits_hold() -> None:
    free = largest(GENOTYPE, OUTLINES, appraiser_of(BUDGETS[0]))
    limits = Limits(max_params=free.candidate.params - 1)
    bound = largest(GENOTYPE, OUTLINES, appraiser_of(BUDGETS[0], limits))
    assert bound.candidate.params < free.candidate.params


def test_a_budget_below_the_smallest_names_it() -> None:
    complaint = "the fastest of 12 seen is .* smaller: by --channel-scale below 0.5"
    with pytest.raises(BudgetUnreachable, match=complaint):
        largest(GENOTYPE, OUTLINES, appraiser_of(Budget(limit_ms=1e-4)))


def test_a_table_of_the_search_alone_lacks_other_widths() -> None:
    model = LatencyModel(table_of(SPACE))
    with pytest.raises(KernelMissing, match="pass --measure-missing"):
        largest(GENOTYPE, OUTLINES, replace(appraiser_of(BUDGETS[0]), model=model))


def test_networks_to_measure_run_every_kernel_that_choosing_needs() -> None:
    networks = list(scaled_networks(GENOTYPE, OUTLINES))
    assert len({one.genotype for one in networks}) == len(OUTLINES)
    assert {kernel for one in networks for kernel in one.kernels} == {
        kernel for one in OUTLINES for kernel in one.kernels(GENOTYPE)
    }
    assert networks[0].build()[4:8] == b"TFL3"


def test_each_budget_gets_a_run_that_can_be_trained_and_exported(
    searched: RunDirectory, tmp_path: Path
) -> None:
    answers = scaled(searched, tmp_path)
    assert [path.name for path in answers] == ["0.1ms", "0.07ms", "0.052ms"]
    macs = [one["best"]["macs"] for one in answers.values()]
    assert macs == sorted(macs, reverse=True)
    assert len(set(macs)) == 3
    genotype = pipeline.found(searched)["best"]["genotype"]
    for budget, (path, answer) in zip(BUDGETS, answers.items(), strict=True):
        config = config_from_json(RunDirectory.open(path).config)
        assert config.budget == budget
        assert answer["best"]["genotype"] == genotype
        assert answer["best"]["p95_ms"] <= budget.limit_ms
        assert answer["scaled_from"] == str(searched.path.resolve())
        assert config.space.counts(genotype).macs == answer["best"]["macs"]
    assert pipeline.describe_answer(answer, config).startswith(f"scaled: {genotype} in ")
    run = RunDirectory.open(path)
    list(pipeline.train_network(run, config, genotype, make_task()))
    assert pipeline.export(run, config, make_task()).genotype == genotype


def test_resumed_runs_stay_as_they_are_and_others_are_refused(
    searched: RunDirectory, tmp_path: Path
) -> None:
    first = scaled(searched, tmp_path, BUDGETS[:2])
    with pytest.raises(RunUnusable, match="already holds a run; add --resume"):
        scaled(searched, tmp_path)
    assert not (tmp_path / "0.052ms").exists()
    again = scaled(searched, tmp_path, resume=True)
    assert {path: again[path] for path in first} == first
    with pytest.raises(RunUnusable, match=r"space\.settings\.channel_scale was"):
        scaled(searched, tmp_path, outlines=OUTLINES[:1], resume=True)


def test_all_are_made_or_none(searched: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(BudgetUnreachable):
        scaled(searched, tmp_path / "new", [*BUDGETS, Budget(limit_ms=1e-4)])
    assert not (tmp_path / "new").exists()


def test_a_search_of_another_space_has_no_cell_to_scale() -> None:
    with pytest.raises(RunUnusable, match="searched space swiftnet, whose networks"):
        require_cell(SWIFTNET)
