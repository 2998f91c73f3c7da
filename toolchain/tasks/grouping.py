"""From the heatmaps and tags of a whole image to the persons in it.

Source: HigherHRNet, arXiv 1908.10357, and its released code; tags are of Associative Embedding,
arXiv 1611.05424. Coordinates are those of the module `pose`, without the half pixel that the
released code adds at the end.

Shapes: K keypoints, H rows and W columns, M candidates of a keypoint, P persons, T numbers of a
tag (2 where an image and its mirror image each give one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.heatmaps import leaning
from toolchain.tasks.skeleton import Skeleton

Array = np.ndarray[Any, np.dtype[np.float64]]

_NO_PERSON = 1e10
"""Cost of a pair that only fills up the table."""


@dataclass(frozen=True, kw_only=True)
class GroupingSettings:
    """When a peak is a keypoint, and when two keypoints are of one person.

    Attributes:
        candidates: Peaks of each keypoint that are looked at.
        detection_threshold: Height above which a peak is a keypoint.
        tag_threshold: Distance of tags below which keypoints may be of one person.
        window: Pixels, odd, along both axes, in which a peak is the highest.
    """

    candidates: int = 30
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    window: int = 5


class Candidate(NamedTuple):
    """A pixel that may be a keypoint.

    Attributes:
        row: Of the map.
        column: Likewise.
        score: Height there.
        tag: Of shape T.
    """

    row: int
    column: int
    score: float
    tag: Array


class FoundPerson(NamedTuple):
    """A person.

    Attributes:
        points: Keypoints (x, y) on the maps, of shape K2.
        scores: Height of the heatmap at each, of shape K, at least 0.
        score: Mean height of all K, those that no candidate was for counted as 0.
    """

    points: Tensor
    scores: Tensor
    score: float


@dataclass
class Group:
    """The keypoints of one person, while they are found.

    Attributes:
        found: Candidate of each keypoint that was found, by its number.
    """

    found: dict[int, Candidate] = field(default_factory=dict)

    @property
    def tag(self) -> Array:
        """Mean tag of what was found, of shape T."""
        tag_T: Array = np.mean([candidate.tag for candidate in self.found.values()], axis=0)
        return tag_T


def found_persons(
    heatmaps_KHW: Tensor, tags_KHWT: Tensor, skeleton: Skeleton, settings: GroupingSettings
) -> list[FoundPerson]:
    """Find the persons in an image.

    A keypoint that no candidate was for is where the heatmap, less the distance of the tags, is
    highest; its score is 0 where even there the heatmap is not positive.

    Args:
        heatmaps_KHW: Heatmaps, at the size at which keypoints are wanted.
        tags_KHWT: Tags of each pixel.
        skeleton: The order in which keypoints are gathered.
        settings: Thresholds.
    """
    by_keypoint = candidates(heatmaps_KHW, tags_KHWT, settings)
    groups = group(by_keypoint, skeleton.grouping_order, settings)
    return [_refined(one, heatmaps_KHW, tags_KHWT) for one in groups]


def candidates(
    heatmaps_KHW: Tensor, tags_KHWT: Tensor, settings: GroupingSettings
) -> list[list[Candidate]]:
    """List the highest peaks of each keypoint that reach the threshold, the highest first."""
    columns = heatmaps_KHW.shape[2]
    highest_KHW = F.max_pool2d(
        heatmaps_KHW.unsqueeze(0), settings.window, stride=1, padding=settings.window // 2
    ).squeeze(0)
    peaks_KL = heatmaps_KHW.where(heatmaps_KHW == highest_KHW, 0.0).flatten(1)
    scores_KM, places_KM = peaks_KL.topk(min(settings.candidates, peaks_KL.shape[1]), dim=1)
    found = []
    for keypoint, (scores_M, places_M) in enumerate(zip(scores_KM, places_KM, strict=True)):
        listed = []
        for score, place in zip(scores_M.tolist(), places_M.tolist(), strict=True):
            if score <= settings.detection_threshold:
                break
            row, column = divmod(place, columns)
            tag_T = tags_KHWT[keypoint, row, column].double().numpy()
            listed.append(Candidate(row, column, score, tag_T))
        found.append(listed)
    return found


def group(
    by_keypoint: Sequence[Sequence[Candidate]], order: Sequence[int], settings: GroupingSettings
) -> list[Group]:
    """Gather candidates into persons, one kind of keypoint after the other.

    Each kind is given to the persons found so far such that the sum of costs, 100 times the
    distance of the tags rounded to a whole number, less the score, is least. What is left over, or
    is as far as the threshold from its person, begins a new one.

    Args:
        by_keypoint: Candidates of each keypoint.
        order: Kinds of keypoints, first to last.
        settings: Thresholds.
    """
    from scipy.optimize import linear_sum_assignment

    groups: list[Group] = []
    for keypoint in order:
        found = by_keypoint[keypoint]
        if not found:
            continue
        distance_MP = _distances(found, groups)
        scores_M1 = np.array([[candidate.score] for candidate in found])
        cost_MP = np.full((len(found), max(len(found), len(groups))), _NO_PERSON)
        cost_MP[:, : len(groups)] = 100 * distance_MP.round() - scores_M1
        new: list[Group] = []
        for row, column in zip(*linear_sum_assignment(cost_MP), strict=True):
            is_near = column < len(groups) and distance_MP[row, column] < settings.tag_threshold
            if not is_near:
                new.append(Group())
            (groups[column] if is_near else new[-1]).found[keypoint] = found[row]
        groups += new
    return groups


def _distances(found: Sequence[Candidate], groups: Sequence[Group]) -> Array:
    """Distance of each candidate's tag to the mean tag of each person, of shape MP."""
    if not groups:
        return np.zeros((len(found), 0))
    tags_M1T = np.array([candidate.tag for candidate in found])[:, None]
    tags_1PT = np.array([one.tag for one in groups])[None]
    distances_MP: Array = np.linalg.norm(tags_M1T - tags_1PT, axis=2)
    return distances_MP


def _refined(one: Group, heatmaps_KHW: Tensor, tags_KHWT: Tensor) -> FoundPerson:
    """All keypoints of a person, those not found looked for by its tag."""
    columns = heatmaps_KHW.shape[2]
    distance_KHW = (tags_KHWT - torch.from_numpy(one.tag).float()).norm(dim=3)
    places_K = (heatmaps_KHW - distance_KHW.round()).flatten(1).argmax(dim=1)
    for keypoint, candidate in one.found.items():
        places_K[keypoint] = candidate.row * columns + candidate.column
    scores_K = heatmaps_KHW.flatten(1).gather(1, places_K.unsqueeze(1)).squeeze(1).clamp(min=0)
    points_1K2 = leaning(
        heatmaps_KHW.unsqueeze(0),
        (places_K // columns).unsqueeze(0),
        (places_K % columns).unsqueeze(0),
    )
    score = sum(candidate.score for candidate in one.found.values()) / len(heatmaps_KHW)
    return FoundPerson(points_1K2.squeeze(0), scores_K, score)
