"""A family of networks for many budgets from one search: pruned from its meta-graph.

Source: GRAM, arXiv 1906.08305, "structure-level pruning". Nothing is searched or trained for it:
each member becomes the answer of a run folder of its own, to be trained, exported and measured
like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from latency_tables.budget import Budget
from latency_tables.table import LatencyTable
from toolchain.config import RunConfig
from toolchain.errors import RunUnusable
from toolchain.methods.candidate import Appraiser, Candidate
from toolchain.methods.meta_graph import MetaGraph, meta_graph_from_json
from toolchain.pipeline import choose, found, make_appraiser, open_run
from toolchain.run_dir import RunDirectory
from toolchain.spaces.dag import Dag, join


def prune(
    run: RunDirectory,
    config: RunConfig,
    table: LatencyTable,
    budgets: Sequence[Budget],
    path: Path,
    *,
    resume: bool,
) -> dict[Path, dict[str, Any]]:
    """Make the run folders of the family's members, one for each budget; all of them or none.

    Args:
        run: a finished search that learned a meta-graph.
        config: what it was.
        table: predicts latencies; of any target that has the space's kernels.
        budgets: of the members.
        path: gets the folders, named by their limits.
        resume: whether folders that hold these members already are gone on with.

    Returns:
        The folders, each with the content of its ``search.json``.

    Raises:
        RunUnusable: the search has not finished or learned no meta-graph, or see
            ``RunDirectory.create``.
        KernelMissing: the table lacks kernels that the space can produce.
        BudgetUnreachable: not even what is left at the end of the pruning is within a budget.
    """
    search = found(run)
    meta_graph = meta_graph_of(search, run)
    members = {}
    for budget in budgets:
        own = replace(config, budget=budget)
        member = prune_to_budget(meta_graph, make_appraiser(own, table))
        members[path / f"{budget.limit_ms:g}ms"] = (own, member)
    for folder in members:
        RunDirectory.require_usable(folder, resume=resume)
    answers = {}
    for folder, (own, member) in members.items():
        member_run = open_run(folder, own, table, resume=resume)
        with member_run.locked():
            answers[folder] = choose(
                member_run,
                member.candidate,
                meta_graph=search["meta_graph"],
                pruned_from=str(run.path.resolve()),
                kept=join(member.kept),
            )
    return answers


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


class Member(NamedTuple):
    """A network of a family.

    Attributes:
        candidate: the network, not evaluated.
        kept: what it keeps of the meta-graph, at the meta-graph's own nodes.
    """

    candidate: Candidate
    kept: tuple[Dag, ...]


def prune_to_budget(meta_graph: MetaGraph, appraiser: Appraiser) -> Member:
    """The meta-graph's network for the appraiser's budget and limits.

    Raises:
        BudgetUnreachable: not even the smallest is within them.
    """

    def candidate_of(dags: tuple[Dag, ...]) -> Candidate:
        return appraiser.appraise(join([dag.renumbered() for dag in dags]))

    kept = meta_graph.prune(lambda dags: appraiser.admits(candidate_of(dags)))
    candidate = candidate_of(kept)
    if not appraiser.admits(candidate):
        raise appraiser.unreachable([candidate])
    return Member(candidate, kept)
