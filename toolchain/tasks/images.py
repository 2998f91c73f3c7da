"""Images in memory, as they were read, with the statistics that normalise them.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class ChannelStatistics(Protocol):
    """What normalises images."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over the *training* images, pixels taken in [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, likewise; greater than 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images of one size.

    Attributes:
        images: Pixels of shape NCHW, uint8.
        mean: Mean of each channel over the *training* images, pixels taken in [0, 1].
        std: Standard deviation of each channel, likewise; greater than 0.
    """

    images: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what the training loop would only trip over later.

        Raises:
            ValueError: A dtype, a shape or a number of channels does not fit.
        """
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                "images must be uint8 of shape NCHW, not "
                f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        if not len(self.mean) == len(self.std) == self.images.shape[1]:
            raise ValueError(
                f"{self.images.shape[1]} channels need as many means and deviations, "
                f"not {len(self.mean)} and {len(self.std)}"
            )

    def __len__(self) -> int:
        return len(self.images)


def channel_statistics(images_NCHW: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, exact, from a histogram of its bytes.

    Args:
        images_NCHW: Pixels, uint8; the statistics are of pixels taken in [0, 1].
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel_NHW in images_NCHW.unbind(dim=1):
        counts = torch.bincount(channel_NHW.flatten(), minlength=256).double()
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        means.append(mean.item())
        # A constant channel carries nothing; any deviation but 0 normalises it to 0.
        deviations.append(variance.sqrt().item() or 1.0)
    return tuple(means), tuple(deviations)
