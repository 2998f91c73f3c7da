"""Tasks of images whose networks are trained for an objective, and can share weights."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from toolchain.errors import TrainingDiverged
from toolchain.evaluation import Judgement
from toolchain.kinds.image_task import ImageTask
from toolchain.kinds.task import OnStep, Record
from toolchain.module import GraphModule
from toolchain.spaces.image_space import ImageSpace
from toolchain.spaces.protocol import Space
from toolchain.spaces.space import require_images
from toolchain.train.fitting import FitSettings, fit
from toolchain.train.objective import Objective
from toolchain.train.recipe import initialize

INHERITED_LEARNING_RATE = 5e-4
"""Of what goes on from a supernet's weights, which a high rate would undo."""

NEAR_ZERO = 0.01

VALIDATION_SHARE = 0.1
"""Share of the training images that is set aside where a data set has no validation images."""


@dataclass(frozen=True, kw_only=True)
class ShortFit:
    """A short training of a candidate.

    Attributes:
        train: Training examples, the same for all candidates; all where there are fewer.
        training: The recipe.
    """

    train: int = 1024
    training: FitSettings = field(default_factory=lambda: FitSettings(epochs=4))

    def __post_init__(self) -> None:
        if self.train < 2 or self.training.epochs < 1:
            raise ValueError(
                "train must be 2 or more and training.epochs 1 or more, got "
                f"{self.train} and {self.training.epochs}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitting:
    """Work: a short training from fresh weights; see ``evaluation.py``.

    Attributes:
        space: Of the networks.
        near_zero: Layers whose weights begin near zero.
        objective: With as many training examples as candidates get.
        settings: The recipe.
        seed: Shared by all candidates.
    """

    space: ImageSpace
    near_zero: tuple[str, ...]
    objective: Objective
    settings: FitSettings
    seed: int

    def judge(self, genotype: str) -> Judgement:
        """See Work: the score after the last epoch; 0 if the training diverged."""
        start_s = time.process_time()
        module = GraphModule(self.space.decode(genotype))
        initialize_fitting(module, self.near_zero, self.seed)
        score, epochs, reason = 0.0, 0, "all epochs"
        try:
            for report in fit(module, self.objective, self.settings, seed=self.seed):
                score, epochs = report.validation_score, report.epoch
        except TrainingDiverged:
            score, epochs, reason = 0.0, epochs + 1, "diverged"
        cpu_s = round(time.process_time() - start_s, 3)
        return Judgement(
            metric=score, cost={"cpu_s": cpu_s, "epochs": epochs, "stopped_because": reason}
        )


class ObjectiveTask(ImageTask):
    """Base of such tasks; see Task."""

    default_epochs: ClassVar[int] = 30
    shares_weights: ClassVar[bool] = True
    proxies: ClassVar = {"quick": ShortFit}

    @classmethod
    def training(cls, epochs: int, *, is_inherited: bool) -> FitSettings:
        """See Task."""
        if is_inherited:
            return FitSettings(epochs=epochs, learning_rate=INHERITED_LEARNING_RATE)
        if epochs < 1:
            raise ValueError(f"fresh weights need an epoch of training or more, got {epochs}")
        return FitSettings(epochs=epochs)

    @abstractmethod
    def objective_of(self, train: int | None, seed: int) -> Objective:
        """What networks are trained for, on so many training images; on all when None."""

    @property
    def near_zero(self) -> tuple[str, ...]:
        """Names of layers whose weights begin near zero."""
        return ()

    def initialize(self, module: nn.Module, seed: int) -> None:
        """See Task."""
        initialize_fitting(module, self.near_zero, seed)

    def objective(self, seed: int) -> Objective:
        """See Task."""
        return self.objective_of(None, seed)

    def candidate_training(self, space: Space, settings: ShortFit, seed: int) -> Fitting:
        """See Task."""
        return Fitting(
            space=require_images(space),
            near_zero=self.near_zero,
            objective=self.objective_of(settings.train, seed),
            settings=settings.training,
            seed=seed,
        )

    def train(
        self,
        module: nn.Module,
        settings: FitSettings,
        *,
        seed: int,
        checkpoint: Path,
        on_step: OnStep | None = None,
    ) -> Iterator[Record]:
        """See Task."""
        objective = self.objective(seed)
        for report in fit(
            module, objective, settings, seed=seed, checkpoint=checkpoint, on_step=on_step
        ):
            record = vars(report).copy()
            record[f"validation_{self.metric.key}"] = record.pop("validation_score")
            yield record


def initialize_fitting(module: nn.Module, near_zero: Sequence[str], seed: int) -> None:
    """Give a network or a supernet first weights that depend on it and the seed alone.

    Args:
        module: Changed in place.
        near_zero: Names of layers whose weights are drawn with a deviation of 0.01, like those of
            heatmaps in HRNet's code (0.001 there): else the first losses are in the hundreds.
        seed: Chooses.
    """
    initialize(module, seed=seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for name, layer in module.named_modules():
            if name.rpartition(".")[2] in near_zero:
                for convolution in layer.modules():
                    if isinstance(convolution, nn.Conv2d):
                        nn.init.normal_(convolution.weight, std=NEAR_ZERO)


def aside(images: int, has_validation: bool, asked: int) -> int | None:
    """Training images to set aside for choosing; None for the data set's own.

    Args:
        images: Training images there are.
        has_validation: Whether the data set has validation images of its own.
        asked: What the user wants; 0 for the data set's own, or a tenth where it has none.
    """
    if asked or has_validation:
        return asked or None
    return max(1, round(VALIDATION_SHARE * images))
