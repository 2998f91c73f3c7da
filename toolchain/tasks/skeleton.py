"""Which keypoints a person has, how they are joined, and how exactly people agree on them.

Sources: Microsoft COCO, arXiv 1405.0312, and the code of its keypoint evaluation (the sigmas). The
sticks are those of the module `scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """The keypoints of a kind of body.

    Attributes:
        names: Name of each keypoint.
        mirrored: For each keypoint, the one whose place it takes in a mirrored image.
        bones: Pairs of keypoints that drawings join.
        sigmas: For each keypoint, the error of a careful person as a share of the square root of
            the body's area; more than 0.
        grouping_order: Keypoints in the order in which persons are put together, the best
            visible first.
        upper: Keypoints of the upper half of the body.
    """

    names: tuple[str, ...]
    mirrored: tuple[int, ...]
    bones: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    grouping_order: tuple[int, ...]
    upper: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that all parts speak of the same keypoints.

        Raises:
            ValueError: They do not.
        """
        count = len(self.names)
        all_keypoints = list(range(count))
        if any(self.mirrored[other] != own for own, other in enumerate(self.mirrored)):
            raise ValueError(f"mirroring twice must change nothing, but mirrored {self.mirrored}")
        if sorted(self.mirrored) != all_keypoints or sorted(self.grouping_order) != all_keypoints:
            raise ValueError(
                f"mirrored and grouping_order must name each of {count} keypoints once"
            )
        if len(self.sigmas) != count or min(self.sigmas) <= 0:
            raise ValueError(
                f"{count} keypoints need as many sigmas greater than 0: {self.sigmas}"
            )
        if not set(self.upper) <= set(all_keypoints):
            raise ValueError(f"upper {self.upper} names keypoints of which there are {count}")
        if any(not 0 <= end < count for bone in self.bones for end in bone):
            raise ValueError(f"bones {self.bones} join keypoints of which there are {count}")

    def __len__(self) -> int:
        return len(self.names)


def _mirrored(names: tuple[str, ...]) -> tuple[int, ...]:
    """Left for right, by name."""
    swap = {"left": "right", "right": "left"}
    sides = [name.partition("_") for name in names]
    return tuple(names.index(swap.get(side, side) + line + rest) for side, line, rest in sides)


_COCO_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

COCO_PERSON = Skeleton(
    names=_COCO_NAMES,
    mirrored=_mirrored(_COCO_NAMES),
    bones=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
        0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16),
    upper=tuple(range(11)),
)  # fmt: skip
"""The order of grouping is HigherHRNet's, arXiv 1908.10357."""

STICK_PERSON = Skeleton(
    names=("head", "pelvis", "red_hand", "blue_hand", "red_foot", "blue_foot"),
    # A mirror leaves colors as they are.
    mirrored=(0, 1, 2, 3, 4, 5),
    bones=((0, 1), (0, 2), (0, 3), (1, 4), (1, 5)),
    sigmas=(0.05,) * 6,
    grouping_order=(0, 1, 2, 3, 4, 5),
    upper=(0, 2, 3),
)
"""Left limbs are red and right ones blue, so that a side can be seen in a limb alone."""
