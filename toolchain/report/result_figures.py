"""The report's charts of a result: the verdict, kernel by kernel, and the final training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from latency_tables.kernel import Kernel, parse_kernel
from toolchain.report.chart import (
    Axis,
    LegendEntry,
    Plot,
    Point,
    Series,
    Tick,
    make_axis,
    panel,
)
from toolchain.report.content import Record
from toolchain.report.quantity import SPACE, milliseconds, percent, plain

DEAREST = 20
"""Kernels that get bars of their own."""


def verdict_figure(benchmark: Record) -> Markup:
    """Measured and predicted latency and the budget, on one axis."""
    measured_ms, (low_ms, high_ms) = benchmark["measured_ms"], benchmark["interval_ms"]
    p50_ms, p95_ms = benchmark["predicted_p50_ms"], benchmark["predicted_p95_ms"]
    limits_ms = [] if benchmark["budget_ms"] is None else [benchmark["budget_ms"]]
    rows = [("measured", "first", low_ms, measured_ms, high_ms)]
    if p50_ms is not None:
        rows.append(("predicted", "second", p50_ms, p50_ms, p95_ms))
    values = [value for _, _, *row in rows for value in row]
    ticks = tuple(Tick(-place, name) for place, (name, *_) in enumerate(rows))
    plot = Plot(
        title="Measured and predicted latency",
        x=make_axis("Latency, ms", [*values, *limits_ms]),
        y=Axis(label="", low=0.5 - len(rows), high=1.0, ticks=ticks),
        height=30 + 30 * len(rows),
    )
    marks = []
    for place, (name, series, left, middle, right) in enumerate(rows):
        ends = [Point(end, -place, "") for end in (left, right)]
        note = f"{name} {milliseconds(middle)}, {plain(left)} to {plain(right)}"
        marks.append(plot.line(ends, f"{series} wide"))
        marks.append(plot.points([Point(middle, -place, note)], "dot", series))
    marks += [plot.vertical(limit, f"budget {milliseconds(limit)}") for limit in limits_ms]
    return plot.svg(*marks)


class KernelRow(NamedTuple):
    """A kernel's latencies, measured and, with a table, predicted.

    Attributes:
        label: the kernel in few characters.
        note: the runtime's name for it and its key.
        text: the latencies in µs.
        shares: of each latency in the longest bar, in percent.
    """

    label: str
    note: str
    text: str
    shares: tuple[float, ...]


def kernel_rows(kernels: Sequence[Record]) -> list[KernelRow]:
    """The dearest kernels, from the dearest on."""
    dearest = _dearest_first(kernels)[:DEAREST]
    longest_ms = max((ms for one in dearest for ms in _latencies_ms(one)), default=0) or 1
    return [
        KernelRow(
            label=kernel_text(parse_kernel(one["kernel"])) if one["kernel"] else one["name"],
            note=f"{one['name']}\n{one['kernel'] or ''}",
            text=" / ".join(plain(1000 * ms) for ms in _latencies_ms(one)) + f"{SPACE}µs",
            shares=tuple(100 * max(ms, 0) / longest_ms for ms in _latencies_ms(one)),
        )
        for one in dearest
    ]


class KernelSum(NamedTuple):
    """Latency of some kernels together; the prediction is None without a table."""

    text: str
    measured_ms: float
    predicted_ms: float | None


def kernel_sums(kernels: Sequence[Record]) -> list[KernelSum]:
    """Sums of the kernels in ``kernel_rows``, of the others, and of all."""
    ranked = _dearest_first(kernels)
    parts = [(f"All {len(ranked)} kernels", ranked)]
    if rest := ranked[DEAREST:]:
        parts = [(f"The {DEAREST} above", ranked[:DEAREST]), (f"{len(rest)} others", rest), *parts]
    return [KernelSum(text, *_sums_ms(part)) for text, part in parts]


def training_figure(training: Sequence[Record], test_accuracy: float | None) -> Markup:
    """Losses and accuracy of the final training, epoch by epoch."""
    epochs = make_axis("Epoch", [report["epoch"] for report in training], is_whole=True)

    def points(value: Callable[[Record], float], unit: str) -> list[Point]:
        return [
            Point(one["epoch"], value(one), f"epoch {one['epoch']}: {value(one):.4g}{unit}")
            for one in training
        ]

    def drawn(label: str, *series: Series) -> Markup:
        values = [point.y for one in series for point in one.points]
        plot = Plot(title=f"{label}, by epoch", x=epochs, y=make_axis(label, values))
        return panel(plot, series)

    validation = LegendEntry("dot", "first", "validation")
    losses = (
        Series(LegendEntry("dot", "second", "training"), points(lambda x: x["train_loss"], "")),
        Series(validation, points(lambda x: x["validation_loss"], "")),
    )
    accuracies = [Series(validation, points(lambda x: 100 * x["validation_accuracy"], "%"))]
    if test_accuracy is not None:
        last = Point(training[-1]["epoch"], 100 * test_accuracy, f"test {percent(test_accuracy)}")
        accuracies.append(Series(LegendEntry("star", "best", "test"), [last]))
    return drawn("Loss", *losses) + drawn("Accuracy, %", *accuracies)


def kernel_text(kernel: Kernel) -> str:
    """A kernel in few characters: ``conv2d 1x1 /2, 14x14x96 → 7x7x192``."""
    attributes = dict(kernel.attributes)
    words = [kernel.kind]
    if "kernel" in attributes:
        words.append(attributes["kernel"])
    if attributes.get("stride", "1x1") != "1x1":
        words.append(f"/{kernel.pair('stride')[0]}")
    reads = [_shape(shape) for shape in kernel.inputs]
    source = reads[0] if len(reads) == 1 else f"{len(reads)} inputs"
    return f"{' '.join(words)}, {source} → {_shape(kernel.output)}"


def _shape(shape: Sequence[int]) -> str:
    """A tensor's shape without the batch."""
    return "x".join(map(str, shape[1:]))


def _dearest_first(kernels: Sequence[Record]) -> list[Record]:
    return sorted(kernels, key=lambda one: one["measured_ms"], reverse=True)


def _latencies_ms(kernel: Record) -> list[float]:
    pair = (kernel["measured_ms"], kernel["predicted_ms"])
    return [value for value in pair if value is not None]


def _sums_ms(kernels: Sequence[Record]) -> tuple[float, float | None]:
    predicted = [one["predicted_ms"] for one in kernels]
    measured_ms = sum(one["measured_ms"] for one in kernels)
    return measured_ms, None if None in predicted else sum(predicted)
