"""Every error that a measurement can meet, in one tree.

.. code-block:: text

    ProfilerError
    ├── RuntimeUnavailable      LiteRT is missing, of another version, or does not behave as known
    ├── ModelRejected           a file that is no TFLite model, or one that LiteRT cannot run
    ├── EventsDiffer            two runs of one model reported different operators
    ├── OperatorsDiffer         the runtime ran other operators than the ones that were planned
    └── JournalError
        ├── JournalExists       the file is there already and nobody asked to resume
        ├── JournalMismatch     the file belongs to another target, space or settings
        ├── JournalInUse        another process is writing to the file
        ├── JournalBroken       the file is not a journal, or is damaged
        └── JournalNotWritten   the disk is full or the file may not be written

A wrong argument is a ``ValueError`` and is not in this tree.
"""

from __future__ import annotations


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


class JournalError(ProfilerError):
    """Base of the errors of the measurement journal."""


class JournalExists(JournalError):
    """A journal is already at the path and resuming was not asked for."""


class JournalMismatch(JournalError):
    """A journal was started with another identity than the one it is resumed with."""


class JournalInUse(JournalError):
    """Another process has the journal open."""


class JournalBroken(JournalError):
    """A file is not a journal, or its content is damaged."""


class JournalNotWritten(JournalError):
    """A row could not be written; every earlier row is still in the journal."""
