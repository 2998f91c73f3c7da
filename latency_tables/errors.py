"""What can go wrong with latency tables.

::

    TableError
    |-- KernelMissing      a kernel has no row; names the nearest ones
    |-- TargetMismatch     two latencies of different targets were about to meet
    |-- TableUnreadable    not a table, truncated, or of a newer schema version
    |-- TableNotWritten    the disk is full or the path cannot be written
    |-- TablesDisagree     two tables of one target whose shared kernels differ too much to merge
    |-- TableForeign       an imported table was about to be used as if its target were known
    |-- ForeignUnreadable  a table of another tool is not in a format that is read
    |-- ExportImpossible   a table has nothing that another tool's format could hold
    |-- NothingShared      too few kernels were measured on two devices to carry a table over
    |-- NetworkUnreadable  a TFLite file is missing, damaged, or its work cannot be told from it
    `-- CalibrationFailed  too few networks, or their latencies cannot be explained
"""

from __future__ import annotations


class TableError(Exception):
    """Base of everything that this package raises on purpose."""


class KernelMissing(TableError):
    """A kernel has no row in the table.

    Attributes:
        missing: text keys of the kernels without a row.
    """

    def __init__(self, missing: tuple[str, ...], nearest: tuple[str, ...], target: str) -> None:
        """Name the kernels without a row and the nearest that have one."""
        self.missing = missing
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        near = "; ".join(nearest) or "none of this kind"
        super().__init__(
            f"the table of {target} has no kernel '{missing[0]}'{more}; nearest: {near}. "
            "Profile the space again on this target, or pass --measure-missing"
        )


class TargetMismatch(TableError):
    """Latencies of two different targets were about to be compared or mixed."""


class TableUnreadable(TableError):
    """A file is not a latency table, is damaged, or needs a newer pocketnas."""


class TableNotWritten(TableError):
    """A table could not be written; what was there before is untouched."""


class TablesDisagree(TableError):
    """Two tables of one target tell different latencies of the same kernels."""


class TableForeign(TableError):
    """An imported table, whose target is not known, was about to be searched or merged with."""


class ForeignUnreadable(TableError):
    """A file is no table of another tool, or of a kind that cannot be read faithfully."""


class ExportImpossible(TableError):
    """A table has no rows that another tool's format could hold."""


class NothingShared(TableError):
    """Too few kernels were measured on two devices to tell how much faster one of them is."""


class NetworkUnreadable(TableError):
    """A file is no TFLite network, is damaged, or does not tell what will run."""


class CalibrationFailed(TableError):
    """The measured networks do not determine a latency model."""
