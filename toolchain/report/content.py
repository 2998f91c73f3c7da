"""What a run's folder holds so far: everything that the report reads, read once."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.budget import Budget, Latency
from latency_tables.store import load_table
from latency_tables.table import LatencyTable
from toolchain.evaluation import CANDIDATES
from toolchain.graph import Graph
from toolchain.kinds.table import entry
from toolchain.kinds.task import Task
from toolchain.methods.limits import Limits
from toolchain.methods.meta_graph import MetaGraph, meta_graph_from_json
from toolchain.pipeline import BENCHMARK, PREDICTIONS, SEARCH, TEST, TRAINING
from toolchain.run_dir import RunDirectory
from toolchain.shared_weights import CURVE, SCORES
from toolchain.spaces.dag import Dag, parse_dags
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.shrinkrnn_step import step_graph
from toolchain.spaces.space import Space, make_space

CARD = "network.json"
INT8_CARD = "network.int8.json"

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Content:
    """A run's files; what a stage has not written yet is None or empty.

    Attributes:
        path: the folder, absolute, so that commands hold wherever they are pasted.
        config: what was asked for.
        budget: the limit; None for a search by MACs alone.
        table: what latencies are predicted with.
        table_path: where it is.
        supernet: points of the curve of the shared weights' training; empty where there are none.
        supernet_scores: what its smallest and largest network score, once it is trained.
        candidates: networks judged, in the order they were finished.
        search: the answer and the walk to it; where none was made, just the answer.
        graph: the answer's network.
        training: epochs of the final training.
        test: the result on the test data.
        predictions: some of it drawn, PNG.
        card: of the exported file.
        int8_card: of the same in 8-bit integers.
        benchmark: predicted against measured.
    """

    path: Path
    config: Record
    budget: Budget | None
    table: LatencyTable | None
    table_path: Path | None
    supernet: Sequence[Record]
    supernet_scores: Record | None
    candidates: Sequence[Record]
    search: Record | None
    graph: Graph | None
    training: Sequence[Record]
    test: Record | None
    predictions: bytes | None
    card: Record | None
    int8_card: Record | None
    benchmark: Record | None

    @property
    def kind(self) -> type[Task]:
        """The kind of the run's task."""
        return entry(self.config["task"]).kind

    @property
    def shares_weights(self) -> bool:
        """Whether candidates are judged by the weights of a supernet."""
        return self.config.get("supernet") is not None

    @property
    def judged_by(self) -> str:
        """What gives candidates their metric, as an adjective: ``Proxy`` or ``Supernet``."""
        return "Supernet" if self.shares_weights else "Proxy"

    @property
    def predictions_url(self) -> str | None:
        """The drawn predictions, to stand in a page."""
        if self.predictions is None:
            return None
        return f"data:image/png;base64,{base64.b64encode(self.predictions).decode()}"

    @property
    def best(self) -> Record | None:
        """The search's answer."""
        return self.search["best"] if self.search else None

    @property
    def has_latency(self) -> bool:
        """Whether the run searches with a latency table."""
        return self.config.get("table_sha256") is not None

    @property
    def is_walk_of_removals(self) -> bool:
        """Whether each step of the walk drops edges, so that it is told by the edges left."""
        return bool(self.config["method"]["name"] == "autoshrink")

    @property
    def pruned_from(self) -> str | None:
        """The search whose meta-graph gave the answer; None where a search of its own did."""
        return self.search.get("pruned_from") if self.search else None

    @property
    def scaled_from(self) -> str | None:
        """The search whose answer was made wider or deeper; None where it stayed as it was."""
        return self.search.get("scaled_from") if self.search else None

    @property
    def meta_graph(self) -> MetaGraph | None:
        """What the search learned of edges, if its method learns that."""
        learned = self.search.get("meta_graph") if self.search else None
        return meta_graph_from_json(learned) if learned else None

    @property
    def kept(self) -> tuple[Dag, ...]:
        """What a pruned answer keeps of the meta-graph; empty where it was not pruned."""
        kept = self.search.get("kept") if self.search else None
        return parse_dags(kept) if kept else ()

    @property
    def walk(self) -> list[Record]:
        """The steps to the answer, each with all that is known of the network it chose."""
        known = {one["genotype"]: one for one in self.candidates}
        steps = self.search["trajectory"] if self.search else []
        return [{"p95_ms": None, **known.get(step["genotype"], {}), **step} for step in steps]

    def admits(self, candidate: Record) -> bool:
        """Whether a candidate is within the budget and the other limits."""
        counts = {name: candidate[name] for name in ("macs", "params", "memory_bytes")}
        if not Limits(**self.config["limits"]).admits(**counts):
            return False
        return self.budget is None or self.budget.admits(_latency(candidate))

    def limited_ms(self, candidate: Record) -> float:
        """The predicted latency that the budget limits, which is the one at its confidence.

        Not a number where the candidate's own record is lost.
        """
        assert self.budget is not None, "without a budget nothing is limited"
        if candidate["p95_ms"] is None:
            return math.nan
        return _latency(candidate).at(self.budget.confidence)


def read_content(run: RunDirectory) -> Content:
    """Everything in a run's folder.

    Raises:
        RunUnusable: a file is damaged.
        TableUnreadable: the latency table is.
        NameUnknown: the run is of a task or a space that this version does not have.
        GenotypeInvalid: the answer is no network of the run's space.
    """
    config = run.config
    entry(config["task"])
    search = _read(run, SEARCH)
    graph = None
    if search is not None:
        space = make_space(config["space"]["name"], config["space"]["settings"])
        graph = _graph(space, search["best"]["genotype"])
    return Content(
        path=run.path.resolve(),
        config=config,
        budget=Budget(**config["budget"]) if config["budget"] else None,
        table=load_table(run.table_path) if run.table_path else None,
        table_path=run.table_path,
        supernet=run.records(CURVE),
        supernet_scores=_read(run, SCORES),
        candidates=run.records(CANDIDATES),
        search=search,
        graph=graph,
        training=run.records(TRAINING),
        test=_read(run, TEST),
        predictions=(run.path / PREDICTIONS).read_bytes() if run.has(PREDICTIONS) else None,
        card=_read(run, CARD),
        int8_card=_read(run, INT8_CARD),
        benchmark=_read(run, BENCHMARK),
    )


def _graph(space: Space, genotype: str) -> Graph | None:
    """The answer's network; of a language model, what one word takes."""
    if isinstance(space, ImageSpace):
        return space.decode(genotype)
    return step_graph(space.decode(genotype)) if isinstance(space, ShrinkRnnSpace) else None


def _read(run: RunDirectory, name: str) -> Record | None:
    return run.read_json(name) if run.has(name) else None


def _latency(candidate: Record) -> Latency:
    return Latency(p50_ms=candidate["p50_ms"], p95_ms=candidate["p95_ms"])
