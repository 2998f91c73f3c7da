"""Measure single networks that a search asks for, each once, whatever becomes of the search.

The measurements go to a journal: a search that was interrupted and asks for the same network again
gets the same answer, so that it takes the same way as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from latency_tables.kernel import Kernel
from latency_tables.target import Target
from profilers.journal import Journal
from profilers.journal_table import measured_networks
from profilers.measure import Progress, measure
from profilers.probes import Probe
from profilers.runner import Runner
from profilers.settings import ProfileSettings

Build = Callable[[str], bytes]
"""Makes the TFLite file of a genotype's network."""


class NetworkMeter:
    """Measures networks end to end as a profile does: a ``latency_tables.learning.Measure``."""

    def __init__(
        self,
        runner: Runner,
        build: Build,
        journal: Journal,
        settings: ProfileSettings,
        on_progress: Progress | None = None,
    ) -> None:
        self._runner = runner
        self._build = build
        self._journal = journal
        self._settings = settings
        self._on_progress = on_progress

    def __call__(self, subject: str, kernels: Sequence[Kernel]) -> float:
        """Latency of a network in ms; from the journal if that has it.

        Raises:
            ModelRejected: the runtime does not take the network's file.
            DeviceError: the phone is lost.
            JournalNotWritten: the disk is full; what was measured before is safe.
        """
        probe = Probe(subject=subject, kernels=tuple(kernels), build=lambda: self._build(subject))
        measure(
            [], [probe], self._runner, self._journal, self._settings,
            seed=0, on_progress=self._on_progress,
        )  # fmt: skip
        rows = [row for row in self._journal.rows() if row.subject == f"network {subject}"]
        (network,) = measured_networks(rows)
        return network.measured_ms


@contextmanager
def network_meter(
    path: Path,
    runner: Runner,
    build: Build,
    settings: ProfileSettings,
    *,
    target: Target,
    space: str,
    on_progress: Progress | None = None,
) -> Iterator[NetworkMeter]:
    """A meter whose journal goes on if it is there.

    Args:
        path: the journal.
        runner: the device.
        build: makes the file of a genotype.
        settings: sessions, runs, warm-up.
        target: of the table that shall learn.
        space: description of the space, for the record.
        on_progress: called before each measurement.

    Raises:
        TargetMismatch: the device is not the table's target.
        JournalMismatch: the journal is of another device, space or settings.
        JournalInUse: another search measures into it.
    """
    target.require_same(runner.target)
    identity = {
        **{f"target.{name}": str(value) for name, value in target.to_json().items()},
        "space": space,
        "sessions": str(settings.sessions),
        "runs": str(settings.runs),
        "warmup": str(settings.warmup),
    }
    with Journal.open(path, identity, resume=True) as journal:
        yield NetworkMeter(runner, build, journal, settings, on_progress)
