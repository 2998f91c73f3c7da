"""Random movements of images, which their masks and keypoints follow.

Sources of the ranges: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, appendices A.8 to A.10, and
its released code; there angle and factor of a single person are drawn from a clipped normal
distribution, here all are uniform.

Shapes: N images, C channels, H rows, W columns, P persons, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toolchain.tasks.affine import moved_images, moved_masks, moved_points, placing
from toolchain.tasks.skeleton import Skeleton


class Moves(NamedTuple):
    """Movements that were drawn.

    Attributes:
        maps: Affine maps of shape N23, float64, from the image to the result.
        is_mirrored: Whether left and right changed places, of shape N.
    """

    maps: Tensor
    is_mirrored: Tensor


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What images may be moved by. Nothing, unless said otherwise.

    Attributes:
        least_scale: Smallest factor of all lengths, more than 0.
        most_scale: Largest factor.
        degrees: Largest angle to turn by, either way, in [0, 180].
        mirrors: Share of the images in which left and right change places, in [0, 1].
        crops: Whether the part that is kept, or the place of a smaller image in the result, is
            drawn; else the center stays the center.
        shift: Largest shift on top, either way, as a share of the sides of the result.
    """

    least_scale: float = 1.0
    most_scale: float = 1.0
    degrees: float = 0.0
    mirrors: float = 0.0
    crops: bool = False
    shift: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers outside their range.

        Raises:
            ValueError: A number is out of range; the message names it.
        """
        ranges = {
            "least_scale": self.least_scale > 0,
            "most_scale": self.least_scale <= self.most_scale,
            "degrees": 0 <= self.degrees <= 180,
            "mirrors": 0 <= self.mirrors <= 1,
            "shift": self.shift >= 0,
        }
        for field, is_in_range in ranges.items():
            if not is_in_range:
                raise ValueError(f"{field} {getattr(self, field)} is out of range")

    def draw(
        self,
        count: int,
        source_HW: tuple[int, int],
        result_HW: tuple[int, int],
        generator: torch.Generator,
    ) -> Moves:
        """Draw movements.

        Args:
            count: Number of images, all of one size.
            source_HW: Their rows and columns.
            result_HW: Rows and columns of what they are moved into.
            generator: Chooses.
        """
        source_2, result_2 = (
            torch.tensor(size[::-1], dtype=torch.float64) for size in (source_HW, result_HW)
        )
        scale_N = self.least_scale + (self.most_scale - self.least_scale) * _uniform(
            (count,), generator
        )
        degrees_N = self.degrees * _either_way((count,), generator)
        is_mirrored_N = _uniform((count,), generator) < self.mirrors
        slack_N2 = (scale_N.unsqueeze(1) * source_2 - result_2).abs() / 2
        crop_N2 = slack_N2 * _either_way((count, 2), generator) * self.crops
        shift_N2 = self.shift * result_2 * _either_way((count, 2), generator)
        maps_N23 = placing(
            ((source_2 - 1) / 2).expand(count, 2),
            (result_2 - 1) / 2 + crop_N2 + shift_N2,
            scale_N,
            degrees_N,
            is_mirrored_N,
        )
        return Moves(maps_N23, is_mirrored_N)


STILL = Movement()
SEGMENTATION = Movement(least_scale=0.5, most_scale=2.0, mirrors=0.5, crops=True)
TOP_DOWN = Movement(least_scale=0.65, most_scale=1.35, degrees=45.0, mirrors=0.5)
BOTTOM_UP = Movement(least_scale=0.75, most_scale=1.5, degrees=30.0, mirrors=0.5, shift=40 / 512)


def moved_with_masks(
    images_NCHW: Tensor,
    masks_NHW: Tensor,
    movement: Movement,
    size_HW: tuple[int, int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return images and masks after a movement that is drawn for each.

    Args:
        images_NCHW: Pixels, uint8.
        masks_NHW: Labels, uint8.
        movement: What to draw from.
        size_HW: Rows and columns of the results.
        generator: Chooses.
    """
    count, _, rows, columns = images_NCHW.shape
    maps_N23, _ = movement.draw(count, (rows, columns), size_HW, generator)
    return (
        moved_images(images_NCHW, maps_N23, size_HW),
        moved_masks(masks_NHW, maps_N23, size_HW),
    )


def moved_keypoints(
    points_NPK2: Tensor, visibility_NPK: Tensor, moves: Moves, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """Return keypoints and their visibility after movements.

    In a mirrored image what was a left wrist is a right one: the keypoints change names.

    Args:
        points_NPK2: Keypoints; any number of persons.
        visibility_NPK: Whether and how they are labelled.
        moves: Of each image.
        skeleton: Says which keypoints change places.
    """
    mirrored_K = torch.tensor(skeleton.mirrored)
    points_NPK2 = moved_points(points_NPK2, moves.maps)
    is_mirrored_N11 = moves.is_mirrored[:, None, None]
    return (
        torch.where(is_mirrored_N11.unsqueeze(-1), points_NPK2[:, :, mirrored_K], points_NPK2),
        torch.where(is_mirrored_N11, visibility_NPK[:, :, mirrored_K], visibility_NPK),
    )


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _either_way(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * _uniform(shape, generator) - 1
