"""How well pixels are told apart: which class was taken for which, and the mIoU of that.

Source of the mean over classes: the evaluation scripts of Cityscapes, arXiv 1604.01685.

Shapes: N images, H rows, W columns, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """Pixels counted by what they are and what they were taken for. Counts add up.

    Attributes:
        counts: Pixels of the row's class that were taken for the column's; shape KK, int64.
    """

    counts: Tensor

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(counts=self.counts + other.counts)

    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """Intersection over union of each class, in [0, 1].

        None for a class that no pixel has and none was taken for: nothing is known of it. A class
        that pixels were taken for although none has it scores 0.
        """
        right_K = self.counts.diagonal()
        union_K = self.counts.sum(dim=0) + self.counts.sum(dim=1) - right_K
        return tuple(
            right / union if union else None
            for right, union in zip(right_K.tolist(), union_K.tolist(), strict=True)
        )

    @property
    def mean_iou(self) -> float:
        """Mean of the classes of which something is known, in [0, 1].

        Raises:
            ValueError: No pixel was counted.
        """
        known = [iou for iou in self.class_iou if iou is not None]
        if not known:
            raise ValueError("no labelled pixel was counted: there is no mean IoU of nothing")
        return sum(known) / len(known)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that were taken for what they are, in [0, 1].

        Raises:
            ValueError: No pixel was counted.
        """
        pixels = int(self.counts.sum())
        if not pixels:
            raise ValueError("no labelled pixel was counted: there is no accuracy of nothing")
        return int(self.counts.diagonal().sum()) / pixels


def confusion(predicted_NHW: Tensor, masks_NHW: Tensor, classes: int) -> Confusion:
    """Count pixels.

    Args:
        predicted_NHW: Class that each pixel was taken for, in 0..K-1, any integer type.
        masks_NHW: Its label; a label that is no class, such as IGNORE, is not counted.
        classes: K.
    """
    truth, predicted = masks_NHW.flatten().long(), predicted_NHW.flatten().long()
    counts = truth < classes
    cells = truth[counts] * classes + predicted[counts]
    return Confusion(
        counts=torch.bincount(cells, minlength=classes * classes).view(classes, classes)
    )
