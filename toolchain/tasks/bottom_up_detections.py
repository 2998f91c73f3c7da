"""From what a bottom-up network gives to persons in the original images.

Source: HigherHRNet, arXiv 1908.10357, and its released code: heatmaps of both strides are averaged
at the fine one, all maps enlarged to the size of the network's input, then grouped there.

Shapes: N images, K keypoints, H rows and W columns of the input, h and w of the fine maps, T
numbers of a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.affine import inverse, moved_points
from toolchain.tasks.grouping import GroupingSettings, found_persons
from toolchain.tasks.heatmaps import mirrored_back
from toolchain.tasks.keypoint_scores import Detection
from toolchain.tasks.pose import PoseImage
from toolchain.tasks.skeleton import Skeleton


def network_maps(output_NLhw: Tensor, keypoints: int) -> tuple[Tensor, Tensor]:
    """Split what a ScaleNet of the head ``bottom-up`` gives.

    Args:
        output_NLhw: K heatmaps and K tags of the coarse stride, enlarged, and K heatmaps of the
            fine one.
        keypoints: K.

    Returns:
        The means of both heatmaps, of shape NKhw, and the tags, of shape NKhw1.

    Raises:
        ValueError: There are not 3 K maps.
    """
    if output_NLhw.shape[1] != 3 * keypoints:
        raise ValueError(
            f"{output_NLhw.shape[1]} maps are not 3 for each of {keypoints} keypoints"
        )
    coarse_NKhw, tags_NKhw, fine_NKhw = output_NLhw.chunk(3, dim=1)
    return (coarse_NKhw + fine_NKhw) / 2, tags_NKhw.unsqueeze(-1)


def flip_tested_maps(
    network: Callable[[Tensor], Tensor], x_NCHW: Tensor, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """Return the maps of images together with those of their mirror images.

    Returns:
        The means of the heatmaps, of shape NKhw, and both tags, of shape NKhw2.
    """
    heatmaps_NKhw, tags_NKhw1 = network_maps(network(x_NCHW), len(skeleton))
    others_NKhw, other_tags_NKhw1 = network_maps(network(x_NCHW.flip(3)), len(skeleton))
    other_tags_NKhw = mirrored_back(other_tags_NKhw1.squeeze(-1), skeleton)
    return (
        (heatmaps_NKhw + mirrored_back(others_NKhw, skeleton)) / 2,
        torch.cat([tags_NKhw1, other_tags_NKhw.unsqueeze(-1)], dim=-1),
    )


def bottom_up_detections(
    heatmaps_NKhw: Tensor,
    tags_NKhwT: Tensor,
    maps_N23: Tensor,
    images: Sequence[PoseImage],
    input_hw: tuple[int, int],
    skeleton: Skeleton,
    settings: GroupingSettings,
) -> list[Detection]:
    """Find the persons in images.

    Args:
        heatmaps_NKhw: Mean heatmaps.
        tags_NKhwT: Tags.
        maps_N23: Affine maps from the original images to the network's input.
        images: The original images.
        input_hw: Rows and columns of the network's input.
        skeleton: The keypoints.
        settings: Thresholds.
    """
    heatmaps_NKHW = _enlarged(heatmaps_NKhw, input_hw)
    tags_NKHWT = torch.stack([_enlarged(tags, input_hw) for tags in tags_NKhwT.unbind(-1)], -1)
    back_N23 = inverse(maps_N23)
    found = []
    for index, image in enumerate(images):
        for person in found_persons(heatmaps_NKHW[index], tags_NKHWT[index], skeleton, settings):
            points_K2 = moved_points(person.points.unsqueeze(0), back_N23[index : index + 1])
            found.append(
                Detection(
                    image=image.number,
                    points=points_K2.squeeze(0),
                    scores=person.scores,
                    score=person.score,
                )
            )
    return found


def _enlarged(maps_NKhw: Tensor, size_HW: tuple[int, int]) -> Tensor:
    return F.interpolate(maps_NKhw, size=size_HW, mode="bilinear", align_corners=False)
