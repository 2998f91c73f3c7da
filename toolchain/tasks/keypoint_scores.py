"""How well keypoints are found: object keypoint similarity, and COCO's average precision.

Source: Microsoft COCO, arXiv 1405.0312, and its evaluation code, which faster-coco-eval computes.

Shapes: K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolchain.tasks.pose import PoseImage
from toolchain.tasks.skeleton import Skeleton


class Detection(NamedTuple):
    """A person that was found.

    Attributes:
        image: Number of the image.
        points: Keypoints in it, of shape K2.
        scores: How sure each is, of shape K; 0 for one that was not found.
        score: How sure the person is; only the order of scores counts.
    """

    image: int
    points: Tensor
    scores: Tensor
    score: float


@dataclass(frozen=True, kw_only=True)
class KeypointScores:
    """COCO's figures, each in [0, 1], or None where no person is of that kind.

    Attributes:
        ap: Average precision, mean over similarities of 0.5, 0.55, ... 0.95.
        ap50: That of similarity 0.5.
        ap75: That of 0.75.
        ap_medium: `ap` of persons of 32^2 to 96^2 square pixels.
        ap_large: `ap` of larger persons.
        recall: Share of the persons that were found, mean over the same similarities.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_medium: float | None
    ap_large: float | None
    recall: float | None


def similarity(
    points_K2: Tensor, truth_K2: Tensor, visibility_K: Tensor, area: float, skeleton: Skeleton
) -> float:
    """Object keypoint similarity of found keypoints to those of one person, in [0, 1].

    Args:
        points_K2: The found ones.
        truth_K2: The person's.
        visibility_K: Of the person; keypoints of 0 do not count, and one must count.
        area: Of the person, in square pixels.
        skeleton: Says how exact each keypoint can be.
    """
    distance_K = (points_K2.double() - truth_K2.double()).square().sum(dim=1)
    spread_K = (2 * torch.tensor(skeleton.sigmas, dtype=torch.float64)).square() * area
    return torch.exp(-distance_K / (2 * spread_K))[visibility_K > 0].mean().item()


def keypoint_scores(
    images: Sequence[PoseImage], found: Sequence[Detection], skeleton: Skeleton
) -> KeypointScores:
    """Compute COCO's figures, at most 20 persons found in an image.

    Args:
        images: The truth; crowds are not counted, nor is what is found on them.
        found: Persons found in any of the images, in any order.
        skeleton: The keypoints.

    Raises:
        ValueError: A detection is of an image that is not among `images`, or a number in it is
            not finite.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    numbers = {image.number for image in images}
    for detection in found:
        if detection.image not in numbers:
            raise ValueError(f"image {detection.image} of a detection is not among the images")
        if not detection.points.isfinite().all():
            raise ValueError(f"a detection in image {detection.image} has no finite coordinates")
    truth = COCO(_truth(images))
    results = truth.loadRes([_result(detection) for detection in found])
    evaluation = COCOeval_faster(
        truth, results, iouType="keypoints", kpt_oks_sigmas=list(skeleton.sigmas)
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = [None if value < 0 else float(value) for value in evaluation.stats[:6]]
    ap, ap50, ap75, ap_medium, ap_large, recall = stats
    return KeypointScores(
        ap=ap, ap50=ap50, ap75=ap75, ap_medium=ap_medium, ap_large=ap_large, recall=recall
    )


def _truth(images: Sequence[PoseImage]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image in images:
        for row in range(len(image.points)):
            labelled = int((image.visibility[row] > 0).sum())
            keypoints_K3 = torch.cat(
                [image.points[row], image.visibility[row].unsqueeze(1).float()], dim=1
            )
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.number,
                    "category_id": 1,
                    "keypoints": keypoints_K3.flatten().tolist(),
                    "num_keypoints": labelled,
                    "bbox": image.boxes[row].tolist(),
                    "area": image.areas[row].item(),
                    "iscrowd": int(image.is_crowd[row]),
                }
            )
    return {
        "images": [{"id": image.number} for image in images],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }


def _result(detection: Detection) -> dict[str, Any]:
    keypoints_K3 = torch.cat([detection.points, detection.scores.unsqueeze(1)], dim=1)
    return {
        "image_id": detection.image,
        "category_id": 1,
        "keypoints": keypoints_K3.flatten().tolist(),
        "score": detection.score,
    }
