"""What can go wrong in the toolchain and is not a bug: one base, one class for each remedy.

ToolchainError
├── NameUnknown          a name that the table asked does not hold (task, space, method)
├── DataUnusable         a data set that is missing, broken, too small or laid out otherwise
├── CheckpointUnusable   saved weights that cannot be read or belong to another network or run
├── TrainingDiverged     a loss that is no longer a finite number
├── GenotypeInvalid      a text stands for no network of the space
├── BudgetUnreachable    no network of the space keeps the budget; names the fastest seen
├── RunUnusable          a folder is no run, is in use, or was made with other settings
├── ExportFailed         a network cannot be lowered, or the result computes something else
├── NotInteger           a quantized network would still compute in floating point
├── ArtifactUnusable     the card of an exported model, or the model, is missing or damaged
├── WorkerLost           an item whose worker process died each time it was tried
├── ClusterUnusable      a Ray cluster out of reach, without CPUs, or with other versions
└── ExtraMissing         an optional package that was asked for is not installed
"""

from __future__ import annotations

from collections.abc import Iterable


class ToolchainError(Exception):
    """Base of every error that the toolchain raises about a state of the world."""


class NameUnknown(ToolchainError):
    """A name is not in the table that was asked; the message lists the names that are."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        """Say what kind of name, which one, and those there are."""
        super().__init__(f"unknown {what} {name!r}; known are: {', '.join(sorted(known))}")


class DataUnusable(ToolchainError):
    """A data set is missing, broken, too small, or not laid out as the loader needs."""


class CheckpointUnusable(ToolchainError):
    """Saved weights cannot be read, or belong to another network, recipe or seed."""


class TrainingDiverged(ToolchainError):
    """The training loss became infinite or not a number."""


class WorkerLost(ToolchainError):
    """The worker process of one item died in every attempt."""


class ClusterUnusable(ToolchainError):
    """A Ray cluster is out of reach, has no CPU for workers, or runs other versions than we."""


class ExtraMissing(ToolchainError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, purpose: str, extra: str) -> None:
        """Say what cannot be done without, and how to install it."""
        super().__init__(
            f"{purpose} needs packages that are not installed: pip install 'pocketnas[{extra}]'"
        )


class GenotypeInvalid(ToolchainError):
    """A text stands for no network of the space."""

    def __init__(self, genotype: str, reason: str) -> None:
        """Say which text and why."""
        super().__init__(f"{genotype!r} is no genotype of this space: {reason}")


class BudgetUnreachable(ToolchainError):
    """No network of the space keeps the budget."""


class RunUnusable(ToolchainError):
    """A folder is no run, is in use by another process, or was made with other settings."""


class ExportFailed(ToolchainError):
    """A network cannot be lowered to TFLite, or what came out computes something else."""


class NotInteger(ToolchainError):
    """Operators of a quantized network would still compute in floating point."""


class ArtifactUnusable(ToolchainError):
    """The card of an exported model is missing or damaged, or the model beside it changed."""
