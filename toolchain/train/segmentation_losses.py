"""Losses of semantic segmentation; pixels of the label IGNORE have none.

Sources: HRNet's segmentation code for both losses, as ScaleNAS (AutoML-Conf 2022, arXiv
2011.14584) uses them; class weights of ENet, arXiv 1606.02147, section 5.2.

Shapes: N images, H rows, W columns, K classes; h, w of what the network gives, which may be less.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.tasks.segmentation import IGNORE

HARD_BELOW = 0.9
HARD_SHARE = 1 / 12
"""131,072 pixels of three crops of 512x1024, which is ScaleNAS's; a share suits small images."""

ENET_OFFSET = 1.02


def enlarged(logits_NKhw: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """Return scores for each pixel of an image, interpolated from those of a smaller map."""
    if logits_NKhw.shape[2:] == size_HW:
        return logits_NKhw
    return F.interpolate(logits_NKhw, size=size_HW, mode="bilinear", align_corners=False)


def cross_entropy(
    logits_NKhw: Tensor, masks_NHW: Tensor, class_weights_K: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of the labelled pixels, in nats; 0 when there are none.

    Args:
        logits_NKhw: Scores; enlarged to the size of the masks.
        masks_NHW: Labels.
        class_weights_K: Weight of the pixels of each class in the mean; all alike when None.
    """
    losses_NHW, labels_NHW = _pixel_losses(logits_NKhw, masks_NHW, class_weights_K)
    is_labelled = labels_NHW != IGNORE
    if class_weights_K is None:
        total = is_labelled.sum()
    else:
        total = class_weights_K.to(labels_NHW.device)[labels_NHW[is_labelled]].sum()
    return losses_NHW.sum() / total.clamp(min=torch.finfo(losses_NHW.dtype).tiny)


def hard_cross_entropy(
    logits_NKhw: Tensor,
    masks_NHW: Tensor,
    class_weights_K: Tensor | None = None,
    *,
    hard_below: float = HARD_BELOW,
    hard_share: float = HARD_SHARE,
) -> Tensor:
    """Mean cross entropy of the pixels that are hard (OHEM); 0 when none is labelled.

    A pixel is hard if the network gives its label a probability below `hard_below`, or if it is
    among the share `hard_share` of labelled pixels with the lowest.

    Args:
        logits_NKhw: Scores; enlarged to the size of the masks.
        masks_NHW: Labels.
        class_weights_K: Factor of the losses of each class; the mean is over pixels, not weights.
        hard_below: In (0, 1].
        hard_share: In [0, 1].
    """
    losses_NHW, labels_NHW = _pixel_losses(logits_NKhw, masks_NHW, class_weights_K)
    is_labelled = labels_NHW != IGNORE
    if not is_labelled.any():
        return losses_NHW.sum()
    with torch.no_grad():
        logits_NKHW = enlarged(logits_NKhw, _size(masks_NHW))
        label_N1HW = labels_NHW.where(is_labelled, 0).unsqueeze(1)
        probability_NHW = logits_NKHW.softmax(dim=1).gather(1, label_N1HW).squeeze(1)
        labelled = probability_NHW[is_labelled]
        kept = max(1, round(hard_share * len(labelled)))
        is_hard = labelled <= labelled.kthvalue(kept).values
        is_hard |= labelled < hard_below
    return losses_NHW[is_labelled][is_hard].mean()


def class_weights(class_pixels_K: Tensor) -> Tensor:
    """Weights that make rare classes count, ``1 / ln(1.02 + share of the pixels)``, of mean 1.

    Args:
        class_pixels_K: Training pixels of each class, one of them more than 0.
    """
    share_K = class_pixels_K.float() / class_pixels_K.sum()
    weights_K = 1 / torch.log(ENET_OFFSET + share_K)
    return weights_K / weights_K.mean()


def _pixel_losses(
    logits_NKhw: Tensor, masks_NHW: Tensor, class_weights_K: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Weighted loss of each pixel, 0 for unlabelled ones; and the labels as int64."""
    labels_NHW = masks_NHW.long()
    losses_NHW = F.cross_entropy(
        enlarged(logits_NKhw, _size(masks_NHW)),
        labels_NHW,
        weight=None if class_weights_K is None else class_weights_K.to(logits_NKhw.device),
        ignore_index=IGNORE,
        reduction="none",
    )
    return losses_NHW, labels_NHW


def _size(masks_NHW: Tensor) -> tuple[int, int]:
    _, rows, columns = masks_NHW.shape
    return rows, columns
