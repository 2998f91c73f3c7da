"""Every error that a measurement can meet, in one tree.

.. code-block:: text

    ProfilerError
    ├── RuntimeUnavailable      LiteRT is missing, of another version, or does not behave as known
    ├── ModelRejected           a file that is no TFLite model, or one that LiteRT cannot run
    ├── EventsDiffer            two runs of one model reported different operators
    ├── OperatorsDiffer         the runtime ran other operators than the ones that were planned
    ├── BinaryUnavailable       benchmark_model is not where it should be and cannot be fetched
    ├── BinaryUnusable          a file that is no benchmark_model, or one for another kind of CPU
    ├── OptionUnsupported       this build of benchmark_model cannot do what was asked of it
    ├── BenchmarkFailed         benchmark_model failed on the device; its cause tells how
    │   └── ToolKilled          the phone killed it; another try may fare better
    ├── NothingToVerify         a table has too few kernels of its space to be verified
    ├── AnotherPhone            the phone that came back is not the one that went away
    ├── Cancelled               the user wants to stop
    ├── OutputUnreadable        a text or profile that benchmark_model has not written
    └── JournalError
        ├── JournalExists       the file is there already and nobody asked to resume
        ├── JournalMissing      the file is not where it should be
        ├── JournalMismatch     the file belongs to another target, space or settings
        ├── JournalInUse        another process is writing to the file
        ├── JournalBroken       the file is not a journal, or is damaged
        └── JournalNotWritten   the disk is full or the file may not be written

A wrong argument is a ``ValueError`` and is not in this tree.
"""

from __future__ import annotations

from device_farm.errors import printable
from profilers.failure_cause import FailureCause


class ProfilerError(Exception):
    """Base of all errors of this package; its text says what to do about it."""


class RuntimeUnavailable(ProfilerError):
    """LiteRT is not installed, is of an unknown version, or fails its self-test."""


class ModelRejected(ProfilerError):
    """A model file is missing or damaged, or LiteRT cannot load or run it."""


class EventsDiffer(ProfilerError):
    """Two runs of one model reported different operators, so times cannot be paired."""


class OperatorsDiffer(ProfilerError):
    """The runtime ran other operators than the plan says, so times cannot be assigned."""


class BinaryUnavailable(ProfilerError):
    """The benchmark_model for a phone is neither here nor to be had from the network."""


class BinaryUnusable(ProfilerError):
    """A file is no benchmark_model, is damaged, or is made for another kind of CPU."""


class OptionUnsupported(ProfilerError):
    """A build of benchmark_model does not know what an option needs."""


class BenchmarkFailed(ProfilerError):
    """A run of benchmark_model on a device gave no time that may be used.

    Attributes:
        cause: What went wrong; its scope tells whether another model, or another try, may fare
            better.
        detail: The line of the output that says most, or the values at fault; safe to print.
    """

    def __init__(self, serial: str, cause: FailureCause, detail: str) -> None:
        super().__init__(serial, cause, detail)
        self.serial = serial
        self.cause = cause
        self.detail = printable(detail)

    def __str__(self) -> str:
        said = f" ({self.detail})" if self.detail else ""
        return f"{printable(self.serial)}: {self.cause.what}{said}; {self.cause.remedy}"


class ToolKilled(BenchmarkFailed):
    """The phone killed a run of benchmark_model, most often for want of memory."""


class NothingToVerify(ProfilerError):
    """A table has too few kernels of its space for a network of them to be measured again."""


class AnotherPhone(ProfilerError):
    """After a loss, another phone or another build answers where the first one was."""


class Cancelled(ProfilerError):
    """Nothing more is begun, because the user wants to stop."""


class OutputUnreadable(ProfilerError):
    """What should be output of benchmark_model holds nothing that benchmark_model writes."""


class JournalError(ProfilerError):
    """Base of the errors of the measurement journal."""


class JournalExists(JournalError):
    """A journal is already at the path and resuming was not asked for."""


class JournalMissing(JournalError):
    """There is no journal where one was to be read."""


class JournalMismatch(JournalError):
    """A journal was started with another identity than the one it is resumed with."""


class JournalInUse(JournalError):
    """Another process has the journal open."""


class JournalBroken(JournalError):
    """A file is not a journal, or its content is damaged."""


class JournalNotWritten(JournalError):
    """A row could not be written; every earlier row is still in the journal."""
