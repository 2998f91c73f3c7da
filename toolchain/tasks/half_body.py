"""Half of a person instead of the whole, so that a network learns to do without the other half.

Source: the released code of HRNet, arXiv 1902.09212; ScaleNAS (AutoML-Conf 2022, arXiv 2011.14584,
appendix A.9) draws it for three persons of ten.

Shapes: N persons.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from toolchain.tasks.pose import Person
from toolchain.tasks.skeleton import Skeleton

SHARE = 0.3
LEAST_LABELLED = 9
"""Labelled keypoints of a person of whom half is enough."""

LEAST_OF_HALF = 3
MARGIN = 1.2
"""Factor of the half's box: keypoints lie within a body, not at its edge."""


def half_body_boxes(
    persons: Sequence[Person],
    boxes_N4: Tensor,
    skeleton: Skeleton,
    share: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the boxes, some replaced by one around the upper or the lower keypoints alone.

    Args:
        persons: Whose boxes they are.
        boxes_N4: Left, top, width and height.
        skeleton: Says which keypoints are the upper ones.
        share: Of the persons, in [0, 1], of whom half is shown if enough keypoints are labelled.
        generator: Chooses.
    """
    is_upper_K = torch.zeros(len(skeleton), dtype=torch.bool)
    is_upper_K[list(skeleton.upper)] = True
    is_halved_N, is_upper_N = torch.rand((2, len(persons)), generator=generator) < torch.tensor(
        [[share], [0.5]]
    )
    boxes_N4 = boxes_N4.clone()
    for index in is_halved_N.nonzero().flatten().tolist():
        image, row = persons[index]
        is_labelled_K = image.visibility[row] > 0
        if is_labelled_K.sum() < LEAST_LABELLED:
            continue
        half_K = is_labelled_K & (is_upper_K == is_upper_N[index])
        if half_K.sum() < LEAST_OF_HALF:
            half_K = is_labelled_K & (is_upper_K != is_upper_N[index])
        points_P2 = image.points[row][half_K]
        low_2, high_2 = points_P2.amin(dim=0), points_P2.amax(dim=0)
        # Points in one line span no area, and a box needs one.
        sides_2 = MARGIN * (high_2 - low_2).clamp(min=1)
        boxes_N4[index] = torch.cat([(low_2 + high_2 + 1 - sides_2) / 2, sides_2])
    return boxes_N4
