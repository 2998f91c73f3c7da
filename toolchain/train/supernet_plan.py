"""How the supernet of a run is trained: first its teacher, then the weights that all share.

The defaults are the small configuration that takes about eight minutes of one core for images of
64x64: see docs/methods.md, ScaleNAS.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.train.supernet_training import SupernetSettings


@dataclass(frozen=True, kw_only=True)
class SupernetPlan:
    """The settings of both trainings; see SupernetSettings.

    Attributes:
        teacher_steps: Gradient steps of the largest network alone; 0 for no teacher.
        teacher_learning_rate: Of these steps, at first.
        steps: Gradient steps of the shared weights, each of one network.
        learning_rate: Of these steps, at first.
        batch_size: Examples of a step of either.
        weight_decay: L2 term added to the gradient of every weight.
        clip_norm: Largest norm of a step's gradient.
        sampling: Which networks are trained: grouped, sandwich or uniform.
        distillation: Weight of the distance to the teacher's outputs beside the loss.
        report_steps: Steps between two points of the curve, each with a checkpoint.
    """

    teacher_steps: int = 1000
    teacher_learning_rate: float = 3e-3
    steps: int = 1500
    learning_rate: float = 1.5e-3
    batch_size: int = 32
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    sampling: str = "grouped"
    distillation: float = 1.0
    report_steps: int = 100

    def __post_init__(self) -> None:
        if self.teacher_steps < 0:
            raise ValueError(f"teacher_steps must be 0 or more, got {self.teacher_steps}")
        if self.report_steps < 1:
            raise ValueError(f"report_steps must be 1 or more, got {self.report_steps}")
        assert self.shared.steps == self.steps  # SupernetSettings check the rest.
        if self.teacher_steps:
            assert self.teacher.steps == self.teacher_steps

    @property
    def teacher(self) -> SupernetSettings:
        """The training of the largest network; there are teacher_steps."""
        return SupernetSettings(
            steps=self.teacher_steps,
            batch_size=self.batch_size,
            learning_rate=self.teacher_learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            sampling="largest",
            distillation=0.0,
        )

    @property
    def shared(self) -> SupernetSettings:
        """The training of the shared weights."""
        return SupernetSettings(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            sampling=self.sampling,
            distillation=self.distillation if self.teacher_steps else 0.0,
        )
