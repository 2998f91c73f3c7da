"""Whether each network of a family, pruned from one search, meets its measured budget.

    python benchmarks/family.py runs/swiftnet/gram-0 runs/swiftnet/gram-1 -o results.json

For each finished GRAM search: networks for five budgets are pruned from its meta-graph, written
with random weights (which latency does not depend on), and measured on this machine.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from machine import report

from latency_tables.budget import Budget
from latency_tables.model import LatencyModel
from latency_tables.store import load_table
from profilers.benchmark import benchmark, benchmark_settings
from profilers.host import HostRunner
from toolchain import pipeline
from toolchain.config import config_from_json
from toolchain.export.flatbuffer import random_weights, write_tflite
from toolchain.family import meta_graph_of, prune_to_budget
from toolchain.run_dir import TABLE, RunDirectory

SHARES = (0.4, 0.55, 0.7, 0.85, 1.0)
"""Budgets, as shares of the search's."""


def main() -> None:
    """Prune and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="finished GRAM searches")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    rows = [row for path in options.runs for row in family(path)]
    met = sum(row["verdict"] == "met" for row in rows)
    figures = {"networks": len(rows), "met": met, "rows": rows}
    report("families measured", figures, options.output)


def family(path: Path) -> list[dict[str, Any]]:
    """The members of one search."""
    run = RunDirectory.open(path)
    config = config_from_json(run.config)
    model = LatencyModel(load_table(path / TABLE))
    meta_graph = meta_graph_of(pipeline.found(run), run)
    assert config.budget is not None, "a search by MACs alone has no budget to share"
    rows = []
    for share in SHARES:
        budget = Budget(limit_ms=share * config.budget.limit_ms)
        appraiser = pipeline.make_appraiser(replace(config, budget=budget), model.table)
        member = prune_to_budget(meta_graph, appraiser).candidate
        kernels = config.space.plan(member.genotype)
        with TemporaryDirectory(prefix="pocketnas-") as folder:
            network = Path(folder) / "network.tflite"
            network.write_bytes(write_tflite(kernels, random_weights(kernels, seed=0)))
            measured = benchmark(
                network,
                HostRunner(),
                settings=benchmark_settings(),
                kernels=kernels.kernels,
                model=model,
                budget=budget,
            ).to_json()
        rows.append(
            {
                "run": path.name,
                "budget_ms": budget.limit_ms,
                "genotype": member.genotype,
                "params": member.params,
                "macs": member.macs,
                "predicted_ms": member.p50_ms,
                "predicted_p95_ms": member.latency.p95_ms if member.latency else None,
                "measured_ms": measured["measured_ms"],
                "interval_ms": measured["interval_ms"],
                "verdict": measured["verdict"],
            }
        )
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
