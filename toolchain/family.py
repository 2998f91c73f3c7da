"""A family of networks for many budgets from one search: pruned from its meta-graph.

Source: GRAM, arXiv 1906.08305, "structure-level pruning". Nothing is searched or trained for it:
each member becomes the answer of a run folder of its own, to be trained, exported and measured
like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from latency_tables.budget import Budget
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.errors import RunUnusable
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.meta_graph import MetaGraph, meta_graph_from_json
from toolchain.pipeline import SEARCH, found, make_appraiser, open_run
from toolchain.run_dir import RunDirectory
from toolchain.spaces.dag import Dag, join


def prune(
    run: RunDirectory,
    config: RunConfig,
    table: LatencyTable,
    budget: Budget,
    path: Path,
    *,
    resume: bool,
) -> tuple[RunDirectory, dict[str, Any]]:
    """Make the run folder of the family's member for a budget.

    Args:
        run: a finished search that learned a meta-graph.
        config: what it was.
        table: predicts latencies; of any target that has the space's kernels.
        budget: the member's.
        path: the new folder.
        resume: whether a folder that holds this member already is gone on with.

    Returns:
        The folder and the content of its ``search.json``.

    Raises:
        RunUnusable: the search has not finished or learned no meta-graph, or see
            ``RunDirectory.create``.
        KernelMissing: the table lacks kernels that the space can produce.
        BudgetUnreachable: not even the smallest network of the meta-graph is within the budget.
    """
    search = found(run)
    meta_graph = meta_graph_of(search, run)
    own = replace(config, budget=budget)
    member = prune_to_budget(meta_graph, make_appraiser(own, table))
    folder = open_run(path, own, table, resume=resume)
    with folder.locked():
        if not folder.has(SEARCH):
            folder.write_json(
                SEARCH,
                {
                    "best": member.to_json(),
                    "evaluations": 0,
                    "cpu_s": 0.0,
                    "trajectory": [],
                    "meta_graph": search["meta_graph"],
                    "pruned_from": str(run.path.resolve()),
                },
            )
    return folder, found(folder)


def meta_graph_of(search: Mapping[str, Any], run: RunDirectory) -> MetaGraph:
    """The meta-graph of a finished search.

    Raises:
        RunUnusable: its method learns none.
    """
    if not search.get("meta_graph"):
        raise RunUnusable(
            f"the search in {run.path} has no meta-graph to prune; search with --method gram"
        )
    return meta_graph_from_json(search["meta_graph"])


def prune_to_budget(meta_graph: MetaGraph, appraiser: Appraiser) -> Candidate:
    """The meta-graph's network for the appraiser's budget and limits, not evaluated.

    Raises:
        BudgetUnreachable: not even the smallest is within them.
    """

    def candidate_of(dags: tuple[Dag, ...]) -> Candidate:
        return appraiser.appraise(join([dag.renumbered() for dag in dags]))

    dags = meta_graph.prune(lambda dags: appraiser.admits(candidate_of(dags)))
    member = candidate_of(dags)
    if not appraiser.admits(member):
        raise appraiser.unreachable([member])
    return member
