"""Write a run's report: one HTML file that needs no other file and no network.

The template says what stands where; this module gives it what the run's folder holds, the charts
and the ways to write numbers.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toolchain.count import count as count_network
from toolchain.draw import draw_svg
from toolchain.report import commands, quantity
from toolchain.report.content import Content, read_content
from toolchain.report.meta_graph_figure import meta_graph_figure
from toolchain.report.result_figures import (
    kernel_rows,
    kernel_sums,
    supernet_figure,
    training_figure,
    verdict_figure,
)
from toolchain.report.search_figures import candidates_figure, trajectory_figure
from toolchain.report.verdict import judge
from toolchain.run_dir import RunDirectory

REPORT = "report.html"
PACKAGE = "toolchain.report"


def write_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into a run's folder; returns its path.

    A run may be at any stage: the report then says what is missing and which command makes it.

    Raises:
        RunUnusable: a file of the run is damaged, or the report cannot be written.
        TableUnreadable: the run's latency table is damaged.
        NameUnknown: the run is of a task, space or method that this version does not have.
        GenotypeInvalid: the answer is no network of the run's space.
    """
    run.write_text(REPORT, render(read_content(run)))
    return run.path / REPORT


def render(content: Content) -> str:
    """The page of a run."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        content=content,
        verdict=judge(content),
        css=Markup(files(PACKAGE).joinpath("report.css").read_text(encoding="utf-8")),
        commands=commands,
        metric=content.kind.metric,
        examples=content.kind.examples,
        counts=count_network(content.graph) if content.graph else None,
        **_figures(content),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE, package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": quantity.milliseconds,
        "count": quantity.count,
        "size": quantity.size,
        "percent": quantity.percent,
        "change": quantity.change,
        "duration": quantity.duration,
        "plain": quantity.plain,
        "between": quantity.between,
        "flatten": commands.flatten,
    }
    return environment


def _figures(content: Content) -> dict[str, Any]:
    """The charts that can be drawn; None or empty where their records are missing."""
    benchmark = content.benchmark
    metric = content.kind.metric
    test_value = content.test[metric.key] if content.test else None
    kernels = benchmark["kernels"] if benchmark else []
    meta_graph = content.meta_graph
    return {
        "verdict_figure": verdict_figure(benchmark) if benchmark else None,
        "candidates_figure": candidates_figure(content) if content.candidates else None,
        "trajectory_figure": trajectory_figure(content) if content.walk else None,
        "meta_graph_figure": meta_graph_figure(meta_graph, content.kept) if meta_graph else None,
        "kernel_rows": kernel_rows(kernels),
        "kernel_sums": kernel_sums(kernels),
        "training_figure": (
            training_figure(content.training, metric, test_value) if content.training else None
        ),
        "supernet_figure": supernet_figure(content.supernet) if content.supernet else None,
        "network_figure": Markup(draw_svg(content.graph)) if content.graph else None,
    }
