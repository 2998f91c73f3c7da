"""Losses of pose: heatmaps, and the tags by which keypoints find their person.

Sources: HRNet, arXiv 1902.09212, and HigherHRNet, arXiv 1908.10357, in the form of their released
code, as ScaleNAS uses them; tags are of Associative Embedding, arXiv 1611.05424.

Shapes: N images, K keypoints, H rows and W columns of a map, P persons at most.
"""

from __future__ import annotations

import torch
from torch import Tensor

TAG_WEIGHT = 1e-3
"""HigherHRNet's weight of both losses of tags, beside that of the heatmaps."""


def heatmap_loss(heatmaps_NKHW: Tensor, targets_NKHW: Tensor, weights_NK: Tensor) -> Tensor:
    """Half the mean squared error of the maps of one person.

    Args:
        heatmaps_NKHW: From the network.
        targets_NKHW: What it should give.
        weights_NK: 0 for keypoints that nobody labelled: they count as right.
    """
    error_NKHW = (heatmaps_NKHW - targets_NKHW) * weights_NK[:, :, None, None]
    return 0.5 * error_NKHW.square().mean()


def masked_heatmap_loss(
    heatmaps_NKHW: Tensor, targets_NKHW: Tensor, is_labelled_NHW: Tensor
) -> Tensor:
    """Mean squared error of the maps of all persons.

    Args:
        heatmaps_NKHW: From the network.
        targets_NKHW: What it should give.
        is_labelled_NHW: False for pixels of people whom nobody labelled: they count as right.
    """
    error_NKHW = (heatmaps_NKHW - targets_NKHW) * is_labelled_NHW.unsqueeze(1)
    return error_NKHW.square().mean()


def tag_losses(tags_NKHW: Tensor, places_NPK: Tensor) -> tuple[Tensor, Tensor]:
    """How far the tags of one person are apart, and how near those of two are.

    With m the mean tag of a person: ``pull`` is the mean over persons of the mean over keypoints
    of (tag - m)^2; ``push`` is half the mean over pairs of persons of exp(-(m - m')^2), and 0 for
    fewer than two persons. Both are means over images.

    Args:
        tags_NKHW: From the network, one number for each keypoint at each pixel.
        places_NPK: Pixel of each keypoint, row W + column; -1 for one that is not labelled, and
            for persons that are not there.

    Returns:
        pull and push.
    """
    is_labelled_NPK = places_NPK >= 0
    tag_NKP = tags_NKHW.flatten(2).gather(2, places_NPK.clamp(min=0).mT)
    tag_NPK = tag_NKP.mT.where(is_labelled_NPK, 0)
    count_NP = is_labelled_NPK.sum(dim=2)
    is_there_NP = count_NP > 0
    persons_N = is_there_NP.sum(dim=1)
    mean_NP = tag_NPK.sum(dim=2) / count_NP.clamp(min=1)
    spread_NPK = (tag_NPK - mean_NP.unsqueeze(2)).square() * is_labelled_NPK
    pull_N = (spread_NPK.sum(dim=2) / count_NP.clamp(min=1)).sum(dim=1) / persons_N.clamp(min=1)

    nearness_NPP = torch.exp(-(mean_NP.unsqueeze(1) - mean_NP.unsqueeze(2)).square())
    is_other_NPP = is_there_NP.unsqueeze(1) & is_there_NP.unsqueeze(2)
    is_other_NPP = is_other_NPP & ~torch.eye(
        is_there_NP.shape[1], dtype=torch.bool, device=is_there_NP.device
    )
    pairs_N = (persons_N * (persons_N - 1)).clamp(min=1)
    push_N = 0.5 * (nearness_NPP * is_other_NPP).sum(dim=(1, 2)) / pairs_N
    return pull_N.mean(), push_N.mean()
