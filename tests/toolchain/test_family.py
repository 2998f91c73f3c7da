from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import middle_ms, table_of
from small_run import SWIFTNET, make_task, small_config, start

from latency_tables.budget import Budget
from latency_tables.errors import KernelMissing
from toolchain import pipeline
from toolchain.errors import BudgetUnreachable, RunUnusable
from toolchain.family import meta_graph_of, prune, prune_to_budget
from toolchain.methods.limits import Limits
from toolchain.run_dir import RunDirectory
from toolchain.spaces.dag import Dag, parse_dags

LIMIT_MS = middle_ms(SWIFTNET)
SHARES = (1.6, 1.3, 1.15, 1.0, 0.95)
BUDGETS = [Budget(limit_ms=share * LIMIT_MS) for share in SHARES]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run, config, appraiser = start(tmp_path_factory.mktemp("family") / "gram", "gram")
    pipeline.search(run, config, appraiser, make_task(), workers=1)
    return run


def pruned(
    run: RunDirectory, path: Path, budgets: list[Budget], **options: Any
) -> dict[Path, dict[str, Any]]:
    return prune(
        run,
        small_config("gram"),
        table_of(SWIFTNET),
        budgets,
        path,
        **{"resume": False, **options},
    )


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def test_each_of_five_members_keeps_its_budget_and_is_as_large_as_that_allows(
    searched: RunDirectory, tmp_path: Path
) -> None:
    members = pruned(searched, tmp_path, BUDGETS)
    assert [path.name for path in members] == [f"{one.limit_ms:g}ms" for one in BUDGETS]
    best = [one["best"] for one in members.values()]
    for budget, member in zip(BUDGETS, best, strict=True):
        assert member["p95_ms"] <= budget.limit_ms * (1 + 1e-12)
        assert all(dag.nodes for dag in parse_dags(member["genotype"]))
        assert member["metric"] is None
    costs = [member["macs"] for member in best]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) >= 3


Edges = set[tuple[int, tuple[int, int]]]


def edges_of(dags: tuple[Dag, ...]) -> Edges:
    return {(stage, edge) for stage, dag in enumerate(dags) for edge in dag.edges}


def kept(run: RunDirectory, budget: Budget) -> Edges:
    """The member's edges at the meta-graph's own nodes."""
    meta_graph = meta_graph_of(pipeline.found(run), run)
    config = small_config("gram", budget=budget)
    appraiser = pipeline.make_appraiser(config, table_of(SWIFTNET))
    return edges_of(prune_to_budget(meta_graph, appraiser).kept)


def test_at_the_searchs_own_budget_the_member_holds_the_answer(searched: RunDirectory) -> None:
    answer = meta_graph_of(pipeline.found(searched), searched).answer
    assert edges_of(answer) <= kept(searched, Budget(limit_ms=LIMIT_MS))


def test_a_members_folder_is_a_run_that_can_be_trained_and_exported(
    searched: RunDirectory, tmp_path: Path
) -> None:
    ((path, answer),) = pruned(searched, tmp_path, BUDGETS[3:4]).items()
    assert answer["pruned_from"] == str(searched.path.resolve())
    assert answer["evaluations"] == 0
    assert answer["trajectory"] == []
    assert answer["meta_graph"] == pipeline.found(searched)["meta_graph"]
    config = small_config("gram", budget=BUDGETS[3])
    assert "pruned from a meta-graph" in pipeline.describe_answer(answer, config)
    run = RunDirectory.open(path)
    genotype = answer["best"]["genotype"]
    list(pipeline.train_network(run, config, genotype, make_task()))
    assert pipeline.export(run, config, make_task()).genotype == genotype


def test_the_searchs_other_limits_hold_for_its_members(
    searched: RunDirectory, tmp_path: Path
) -> None:
    limits = Limits(max_params=360)
    config = small_config("gram", limits=limits)
    (answer,) = prune(
        searched, config, table_of(SWIFTNET), BUDGETS[:1], tmp_path, resume=False
    ).values()
    (free,) = pruned(searched, tmp_path / "free", BUDGETS[:1]).values()
    assert answer["best"]["params"] <= 360 < free["best"]["params"]


def test_budgets_given_twice_are_one_member(searched: RunDirectory, tmp_path: Path) -> None:
    assert len(pruned(searched, tmp_path, [BUDGETS[0], BUDGETS[0]])) == 1


def test_members_of_a_member_are_pruned_from_the_same_graph(
    searched: RunDirectory, tmp_path: Path
) -> None:
    ((path, _),) = pruned(searched, tmp_path / "one", BUDGETS[4:]).items()
    direct = pruned(searched, tmp_path / "two", BUDGETS[:1])
    again = pruned(RunDirectory(path), tmp_path / "three", BUDGETS[:1])
    assert [one["best"] for one in direct.values()] == [one["best"] for one in again.values()]


def test_all_members_are_made_or_none(searched: RunDirectory, tmp_path: Path) -> None:
    impossible = Budget(limit_ms=1e-6)
    with pytest.raises(BudgetUnreachable, match="the fastest of"):
        pruned(searched, tmp_path / "new", [*BUDGETS, impossible])
    assert not (tmp_path / "new").exists()
    pruned(searched, tmp_path / "one", BUDGETS[2:3])
    before = contents(tmp_path)
    with pytest.raises(RunUnusable, match="already holds a run; add --resume"):
        pruned(searched, tmp_path / "one", BUDGETS)
    assert contents(tmp_path) == before


def test_resumed_members_stay_as_they_are(searched: RunDirectory, tmp_path: Path) -> None:
    first = pruned(searched, tmp_path, BUDGETS[:2])
    before = contents(tmp_path)
    again = pruned(searched, tmp_path, BUDGETS, resume=True)
    assert {path: again[path] for path in first} == first
    assert {name: text for name, text in contents(tmp_path).items() if name in before} == before


def test_a_member_is_not_gone_on_with_by_another_table(
    searched: RunDirectory, tmp_path: Path
) -> None:
    pruned(searched, tmp_path, BUDGETS[:1])
    table = replace(table_of(SWIFTNET), settings={"seed": 2})
    with pytest.raises(RunUnusable, match="table_sha256 was"):
        prune(searched, small_config("gram"), table, BUDGETS[:1], tmp_path, resume=True)


def test_a_table_that_lacks_kernels_is_refused(searched: RunDirectory, tmp_path: Path) -> None:
    rows = dict(table_of(SWIFTNET).rows)
    rows.popitem()
    lacking = replace(table_of(SWIFTNET), rows=rows)
    with pytest.raises(KernelMissing):
        prune(searched, small_config("gram"), lacking, BUDGETS, tmp_path / "new", resume=False)
    assert not (tmp_path / "new").exists()


def test_a_run_without_a_meta_graph_or_an_answer_is_refused(tmp_path: Path) -> None:
    run, config, appraiser = start(tmp_path / "random", "random")
    with pytest.raises(RunUnusable, match="has not finished; go on with --resume"):
        pruned(run, tmp_path / "new", BUDGETS)
    pipeline.search(run, config, appraiser, make_task(), workers=1)
    with pytest.raises(RunUnusable, match="has no meta-graph to prune; search with --method gram"):
        pruned(run, tmp_path / "new", BUDGETS)
    assert not (tmp_path / "new").exists()
