"""Image classification; see `task.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from toolchain.evaluation import ProxyTraining
from toolchain.export.artifact import Normalization
from toolchain.kinds.image_task import CLASSIFICATION, Array, HeldOut, ImageTask, spread
from toolchain.kinds.metric import Metric
from toolchain.kinds.task import OnStep, Record
from toolchain.spaces.protocol import Space
from toolchain.spaces.space import require_images
from toolchain.tasks.classification import ClassificationData
from toolchain.train.epoch import Step, evaluate, place
from toolchain.train.loop import train
from toolchain.train.objective import Objective
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings

HELD_OUT_SHARE = 0.1
"""Share of each class's training images that watches the final training."""


@dataclass(frozen=True, eq=False)
class Classification(ImageTask):
    """See Task.

    Attributes:
        data: Images with a label each.
    """

    metric: ClassVar = Metric(key="accuracy", name="accuracy")
    default_epochs: ClassVar = 10
    shares_weights: ClassVar = False
    proxies: ClassVar = {"quick": ProxySettings.quick, "paper": ProxySettings.paper}
    recipes: ClassVar = {"imagenet": TrainSettings.imagenet}
    verb: ClassVar = "classifies images"

    data: ClassificationData

    @classmethod
    def training(cls, epochs: int, *, is_inherited: bool) -> TrainSettings:
        """See Task."""
        return TrainSettings(epochs=epochs)

    @property
    def name(self) -> str:
        """See Task."""
        return self.data.name

    @property
    def head(self) -> str:
        """See ImageTask."""
        return CLASSIFICATION

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """See ImageTask."""
        return self.data.input_shape

    @property
    def classes(self) -> int:
        """See ImageTask."""
        return len(self.data.classes)

    @property
    def normalization(self) -> Normalization:
        """See ImageTask."""
        return Normalization(mean=self.data.train.mean, std=self.data.train.std)

    def candidate_training(
        self, space: Space, settings: ProxySettings, seed: int
    ) -> ProxyTraining:
        """See Task."""
        training, validation = settings.draw(self.data, seed=seed)
        return ProxyTraining(
            space=require_images(space),
            training=training,
            validation=validation,
            settings=settings,
            seed=seed,
        )

    def objective(self, seed: int) -> Objective:
        """See Task."""
        raise ValueError(
            f"task {self.name} {self.verb}, for which there is no supernet: take --weights own"
        )

    def train(
        self,
        module: nn.Module,
        settings: TrainSettings,
        *,
        seed: int,
        checkpoint: Path,
        on_step: OnStep | None = None,
    ) -> Iterator[Record]:
        """See Task."""
        per_class = len(self.data.train) // len(self.data.classes)
        training, validation = self.data.split(
            validation_per_class=max(1, round(HELD_OUT_SHARE * per_class)), seed=seed
        )

        def tell(epoch: int, step: Step) -> None:
            if on_step is not None:
                done = (epoch - 1) * step.steps + step.index + 1
                on_step(done, settings.epochs * step.steps, step.loss)

        reports = train(
            module, training, validation, settings,
            seed=seed, checkpoint=checkpoint, resume=True, on_step=tell,
        )  # fmt: skip
        for report in reports:
            yield vars(report)

    def test(self, module: nn.Module) -> Record:
        """See Task."""
        place(module, "auto")
        result = evaluate(module, self.data.test)
        return {"accuracy": result.accuracy, "images": len(self.data.test)}

    def figure(self, module: nn.Module) -> bytes | None:
        """See Task."""
        return None

    def parity_inputs(self, count: int) -> Tensor:
        """See ImageTask."""
        return self.normalized(self.data.test.images[:count])

    def calibration_inputs(self, count: int, seed: int) -> Tensor:
        """See ImageTask."""
        generator = torch.Generator().manual_seed(seed)
        drawn_N = torch.randperm(len(self.data.train), generator=generator)[:count]
        return self.normalized(self.data.train.images[drawn_N])

    def held_out(self, images: int) -> HeldOut:
        """See ImageTask."""
        part = self.data.test.select(torch.tensor(spread(len(self.data.test), images)))
        labels_N = part.labels.numpy()

        def accuracy(outputs_NK: Array) -> float:
            return float((outputs_NK.argmax(axis=1) == labels_N).mean())

        return HeldOut(self.normalized(part.images), accuracy)


def data_of(task: Any) -> ClassificationData:
    """The images of a classification task.

    Raises:
        ValueError: The task is of another kind.
    """
    if not isinstance(task, Classification):
        raise ValueError(f"{task.name} is no task of classification")
    return task.data
