"""Training for pose: heatmaps, with tags where all persons are found at once; scored by COCO's AP.

Shapes: N examples, C channels, H rows, W columns, L maps, h, w of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from toolchain.errors import DataUnusable
from toolchain.tasks.augmentation import STILL, Movement
from toolchain.tasks.images import ChannelStatistics
from toolchain.tasks.keypoint_scores import Detection, KeypointScores, keypoint_scores
from toolchain.tasks.pose import PoseImage, labelled_persons
from toolchain.train.epoch import normalize
from toolchain.train.pose_approaches import PoseApproach

CALIBRATION_BATCHES = 4
CALIBRATION_EXAMPLES = 64
MEASURED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseObjective:
    """See Objective.

    Attributes:
        approach: How people are found.
        training: What to learn from, the approach's examples.
        validation: Images to choose by.
        statistics: Of the training images' channels.
        movement: How training examples are moved about.
    """

    approach: PoseApproach
    training: Sequence[Any]
    validation: Sequence[PoseImage]
    statistics: ChannelStatistics
    movement: Movement = STILL

    def __post_init__(self) -> None:
        """Check that there is something to learn from and to score by.

        Raises:
            DataUnusable: No training or no validation image has a person with labelled keypoints.
        """
        if not self.training:
            raise DataUnusable(
                "none of the training images has a person with labelled keypoints: train on more "
                "of the images"
            )
        if not labelled_persons(self.validation):
            raise DataUnusable(
                f"none of the {len(self.validation)} validation images has a person with labelled "
                "keypoints: set more of the training images aside"
            )

    @property
    def images(self) -> int:
        """See Objective."""
        return len(self.training)

    def batch(self, indices_N: Tensor, generator: torch.Generator) -> tuple[Tensor, Any]:
        """See Objective; targets are the approach's."""
        drawn = [self.training[index] for index in indices_N.tolist()]
        made = self.approach.prepared(drawn, self.movement, generator)
        return normalize(made.images, self.statistics, torch.device("cpu")), made.targets

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """See Objective."""
        return self.approach.loss(outputs, targets)

    def imitation(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """See Objective."""
        return self.approach.imitation(outputs, taught)

    def calibration(self) -> Iterator[Tensor]:
        """See Objective: the first training examples, not moved."""
        few = self.training[: CALIBRATION_BATCHES * CALIBRATION_EXAMPLES]
        for first in range(0, len(few), CALIBRATION_EXAMPLES):
            made = self.approach.prepared(few[first : first + CALIBRATION_EXAMPLES])
            yield normalize(made.images, self.statistics, torch.device("cpu"))

    def score(self, network: nn.Module) -> float:
        """See Objective: the average precision, in [0, 1]."""
        scores = measure_pose(network, self.validation, self.approach, self.statistics)
        assert scores.ap is not None, "there are persons"
        return scores.ap

    def scoring(self) -> Self:
        """See Objective."""
        few = self.training[: CALIBRATION_BATCHES * CALIBRATION_EXAMPLES]
        return replace(self, training=few)


def measure_pose(
    network: nn.Module,
    images: Sequence[PoseImage],
    approach: PoseApproach,
    statistics: ChannelStatistics,
) -> KeypointScores:
    """COCO's figures of a network on images; its mode is left as it was."""
    found = find_people(network, images, approach, statistics)
    return keypoint_scores(images, found, approach.skeleton)


@torch.no_grad()
def find_people(
    network: nn.Module,
    images: Sequence[PoseImage],
    approach: PoseApproach,
    statistics: ChannelStatistics,
) -> list[Detection]:
    """The persons that a network finds in images; its mode is left as it was."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    examples = approach.examples(images)
    found: list[Detection] = []
    for first in range(0, len(examples), MEASURED_AT_ONCE):
        part = examples[first : first + MEASURED_AT_ONCE]
        made = approach.prepared(part)
        outputs_NLhw = network(normalize(made.images, statistics, device)).cpu()
        found += approach.found(outputs_NLhw, made.maps, part)
    network.train(was_training)
    return found
