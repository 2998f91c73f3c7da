"""The report's first sentence: was the budget met, and if nobody knows yet, what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.report.commands import (
    benchmark_command,
    export_command,
    resume_command,
    train_command,
)
from toolchain.report.content import Content, Record
from toolchain.report.quantity import SPACE, between, milliseconds


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run stands.

    Attributes:
        state: ``met``, ``missed``, ``undecided`` or ``open``.
        headline: in few words.
        detail: in a sentence.
        next_command: what brings the run on; None when it is complete.
    """

    state: str
    headline: str
    detail: str
    next_command: str | None


def judge(content: Content) -> Verdict:
    """How a run stands, by the latest of its stages."""
    if content.benchmark is not None:
        return _measured(content, content.benchmark)
    stages = (
        (content.search, "The search has not finished", resume_command),
        (content.test, "The network is not trained yet", train_command),
        (content.card, "The network is not exported yet", export_command),
        (content.benchmark, "The network is not measured yet", benchmark_command),
    )
    reason, command = next((text, make) for done, text, make in stages if done is None)
    budget = f"The budget is {content.budget}." if content.budget else "The run has no budget."
    return Verdict(
        state="open",
        headline="Not measured",
        detail=f"{reason}. {budget}",
        next_command=command(content),
    )


def _measured(content: Content, benchmark: Record) -> Verdict:
    measured_ms, limit_ms = benchmark["measured_ms"], benchmark["budget_ms"]
    interval = f"95% interval {between(*benchmark['interval_ms'])}{SPACE}ms"
    if limit_ms is None:
        return Verdict(
            state="open",
            headline="Measured, without a budget",
            detail=f"The network takes {milliseconds(measured_ms)} ({interval}).",
            next_command=None,
        )
    side = "below" if measured_ms <= limit_ms else "above"
    is_undecided = benchmark["verdict"] == "undecided"
    doubt = ""
    if is_undecided:
        doubt = " Other load slowed the machine all the time: measure again when it is idle."
    elif not benchmark["is_certain"]:
        doubt = " The limit lies inside the interval: measure longer."
    return Verdict(
        state=benchmark["verdict"],
        headline=f"Budget {benchmark['verdict']}",
        detail=(
            f"The network takes {milliseconds(measured_ms)} ({interval}), "
            f"{abs(1 - measured_ms / limit_ms):.1%} {side} the limit of "
            f"{milliseconds(limit_ms)}.{doubt}"
        ),
        next_command=benchmark_command(content) if is_undecided else None,
    )
