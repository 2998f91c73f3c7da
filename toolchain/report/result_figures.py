"""The report's charts of a result: the verdict, kernel by kernel, and the final training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from latency_tables.kernel import Kernel, parse_kernel
from toolchain.kinds.metric import Metric
from toolchain.report.chart import Axis, Chart, Point, Series, Tick, make_axis
from toolchain.report.content import Record
from toolchain.report.quantity import SPACE, between, milliseconds, plain

DEAREST = 20
"""Kernels that get bars of their own."""


def verdict_figure(benchmark: Record) -> Markup:
    """Measured and predicted latency and the budget, on one axis."""
    rows = [("measured", "first", benchmark["measured_ms"], *benchmark["interval_ms"])]
    if (p50_ms := benchmark["predicted_p50_ms"]) is not None:
        rows.append(("predicted", "second", p50_ms, p50_ms, benchmark["predicted_p95_ms"]))
    limit_ms = benchmark["budget_ms"]
    limits = [] if limit_ms is None else [Tick(limit_ms, f"budget {milliseconds(limit_ms)}")]
    series = []
    for place, (name, style, middle_ms, *ends_ms) in enumerate(rows):
        ends = [Point(end_ms, -place) for end_ms in ends_ms]
        note = f"{name} {milliseconds(middle_ms)}, {between(*ends_ms)}"
        series.append(Series(name, f"{style} wide", "line", ends, is_joined=True))
        series.append(Series(name, style, "dot", [Point(middle_ms, -place, note)]))
    shown_ms = [
        *(point.x for one in series for point in one.points),
        *(one.value for one in limits),
    ]
    ticks = tuple(Tick(-place, name) for place, (name, *_) in enumerate(rows))
    return Chart(
        title="Measured and predicted latency",
        x=make_axis("Latency, ms", shown_ms),
        y=Axis(label="", low=0.5 - len(rows), high=1.0, ticks=ticks),
        series=series,
        x_limits=limits,
        height=30 + 30 * len(rows),
    ).svg()


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
    """The dearest kernels, from the dearest on; none of those too short for the clock."""
    dearest = _split(kernels)[0]
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
    above, rest = _split(kernels)
    parts = [(f"The {len(above)} above", above), (f"{len(rest)} others", rest)] if rest else []
    whole = (f"All {len(kernels)} kernels", [*above, *rest])
    return [_sum(text, part) for text, part in [*parts, whole]]


def training_figure(
    training: Sequence[Record], metric: Metric, test_value: float | None
) -> Markup:
    """Losses and metric of the final training, epoch by epoch."""
    epochs = make_axis("Epoch", [report["epoch"] for report in training], is_whole=True)

    def points(value: Callable[[Record], float], unit: str) -> list[Point]:
        return [
            Point(one["epoch"], value(one), f"epoch {one['epoch']}: {value(one):.4g}{unit}")
            for one in training
        ]

    def drawn(label: str, *series: Series) -> Markup:
        values = [point.y for one in series for point in one.points]
        y = make_axis(label, values)
        return Chart(title=f"{label}, by epoch", x=epochs, y=y, series=series).with_legend()

    losses = [Series("training", "second", "dot", points(lambda one: one["train_loss"], ""), True)]
    if "validation_loss" in training[0]:
        values = points(lambda one: one["validation_loss"], "")
        losses.append(Series("validation", "first", "dot", values, True))
    values = points(lambda one: metric.drawn(one[f"validation_{metric.key}"]), metric.unit)
    measured = [Series("validation", "first", "dot", values, True)]
    if test_value is not None:
        note = f"test {metric.text(test_value)}"
        last = Point(training[-1]["epoch"], metric.drawn(test_value), note)
        measured.append(Series("test", "best", "star", [last]))
    return drawn("Loss", *losses) + drawn(metric.axis, *measured)


def supernet_figure(curve: Sequence[Record]) -> Markup:
    """Losses of the trainings before the search: of the teacher, and of the shared weights.

    Each has steps of its own; the supernet's loss includes the distance to the teacher.
    """
    styles = {"teacher": "second", "supernet": "first"}
    series = []
    for network, style in styles.items():
        points = [
            Point(one["step"], one["loss"], f"{network}, step {one['step']}: {one['loss']:.4g}")
            for one in curve
            if one["network"] == network
        ]
        if points:
            series.append(Series(network, style, "dot", points, True))
    x = make_axis("Step", [one["step"] for one in curve], is_whole=True)
    y = make_axis("Loss", [one["loss"] for one in curve])
    return Chart(title="Loss by step", x=x, y=y, series=series).with_legend()


def kernel_text(kernel: Kernel) -> str:
    """A kernel in few characters: ``conv2d 1x1 /2, 14x14x96 → 7x7x192``."""
    attributes = dict(kernel.attributes)
    words = [kernel.kind.removesuffix("_conv2d")]
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


def _split(kernels: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The kernels to draw, the dearest first, and the others."""
    ranked = sorted(kernels, key=lambda one: one["measured_ms"], reverse=True)
    seen = [one for one in ranked if max(_latencies_ms(one)) > 0][:DEAREST]
    rest = [one for one in ranked if all(one is not other for other in seen)]
    return seen, rest


def _latencies_ms(kernel: Record) -> list[float]:
    pair = (kernel["measured_ms"], kernel["predicted_ms"])
    return [value for value in pair if value is not None]


def _sum(text: str, kernels: Sequence[Record]) -> KernelSum:
    measured_ms = sum(one["measured_ms"] for one in kernels)
    predicted = [one["predicted_ms"] for one in kernels]
    return KernelSum(text, measured_ms, None if None in predicted else sum(predicted))
