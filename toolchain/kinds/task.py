"""What the loop needs to know of a task: one protocol, implemented once for each kind.

A task brings its data, what fits a space to it, how a candidate is judged, the full training, the
metric with its test, and the inputs of export. Pipeline, command line and report ask the task;
they know no kind by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import nn

from toolchain.evaluation import Work
from toolchain.export.artifact import Artifact
from toolchain.kinds.metric import Metric
from toolchain.spaces.protocol import Space
from toolchain.train.objective import Objective

Record = Mapping[str, Any]
"""Plain JSON values, for a journal or a file of the run."""

OnStep = Callable[[int, int, float], None]
"""Called after each gradient step with steps done, steps of the training, and the step's loss."""


class Task(Protocol):
    """A task with its data.

    Attributes:
        metric: What its networks are measured by.
        examples: What its data consist of, in the plural; ``test.json`` counts them by this name.
        default_epochs: Of the full training.
        shares_weights: Whether ScaleNAS judges its candidates by the weights of a supernet, unless
            told otherwise.
        proxies: Short trainings of candidates by name, the default one first; each makes a frozen
            dataclass of settings.
        recipes: Full trainings by name, other than the customary one; each takes epochs, and has a
            number of its own without them.
    """

    metric: ClassVar[Metric]
    examples: ClassVar[str]
    default_epochs: ClassVar[int]
    shares_weights: ClassVar[bool]
    proxies: ClassVar[Mapping[str, Callable[[], Any]]]
    recipes: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    @classmethod
    def training(cls, epochs: int, *, is_inherited: bool) -> Any:
        """Settings of the full training, a frozen dataclass with these epochs.

        Args:
            epochs: Passes over the data.
            is_inherited: Whether it begins with a supernet's weights, not with fresh ones.

        Raises:
            ValueError: There cannot be so many.
        """

    @property
    def name(self) -> str:
        """What messages call the data."""

    def fitted(self, space: Space) -> dict[str, Any]:
        """Settings of the space that follow from the data.

        Raises:
            ValueError: The networks of the space are not for this kind of task.
        """

    def candidate_training(self, space: Space, settings: Any, seed: int) -> Work:
        """Work that judges a candidate by a short training of its own.

        Args:
            space: Of the candidates.
            settings: As one of `proxies` makes them.
            seed: Shared by all candidates.

        Raises:
            DataUnusable: There are fewer data than the settings ask for.
        """

    def objective(self, seed: int) -> Objective:
        """What a supernet is trained for, and scored on.

        Args:
            seed: Draws the validation data.

        Raises:
            ValueError: Networks of this kind of task share no weights.
        """

    def initialize(self, module: nn.Module, seed: int) -> None:
        """Give a network, or a supernet, its first weights."""

    def network(self, space: Space, genotype: str) -> nn.Module:
        """The network of a genotype, with weights of no meaning.

        Raises:
            GenotypeInvalid: The text stands for no network of the space.
        """

    def train(
        self,
        module: nn.Module,
        settings: Any,
        *,
        seed: int,
        checkpoint: Path,
        on_step: OnStep | None = None,
    ) -> Iterator[Record]:
        """Train in full from the weights that the module has; a record for each epoch.

        A record has ``epoch``, ``epochs``, ``train_loss``, ``learning_rate``, ``seconds``, and
        the metric's key after ``validation_``. It comes after the checkpoint of its epoch is on
        disk; called again, the training goes on from there.

        Raises:
            CheckpointUnusable: The checkpoint belongs to another training.
            TrainingDiverged: The loss is infinite or not a number.
        """

    def test(self, module: nn.Module) -> Record:
        """Measure on the test data: the metric's key, `examples`, and what else there is to know.

        ``details`` are further shares by name, where there are any.
        """

    def figure(self, module: nn.Module) -> bytes | None:
        """What the network makes of some test data, as PNG; None where that shows nothing."""

    def export(self, module: nn.Module, space: Space, genotype: str, directory: Path) -> Artifact:
        """Lower a trained network to TFLite, proven on test data.

        Raises:
            ExportFailed: An operator cannot be lowered, or the outputs differ.
        """

    def quantize(self, artifact: Artifact, path: Path, calibration: int, seed: int) -> Artifact:
        """Make an int8 file of an exported network, and say what it cost on test data.

        Args:
            artifact: The float network.
            path: The file to write.
            calibration: Training examples that give the ranges, 1 or more.
            seed: Draws them.

        Raises:
            NotInteger: Operators would still compute in floating point.
            ExportFailed: The quantizer does not take the network.
        """
