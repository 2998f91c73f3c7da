from __future__ import annotations

from dataclasses import replace

import pytest

from toolchain.tasks.skeleton import COCO_PERSON, STICK_PERSON


def test_a_mirror_swaps_left_and_right_and_leaves_the_nose() -> None:
    for own, other in enumerate(COCO_PERSON.mirrored):
        name, swapped = COCO_PERSON.names[own], COCO_PERSON.names[other]
        if name == "nose":
            assert swapped == name
        else:
            assert {name.partition("_")[0], swapped.partition("_")[0]} == {"left", "right"}
            assert name.partition("_")[2] == swapped.partition("_")[2]
    assert set(STICK_PERSON.mirrored) == set(range(6))


def test_bones_join_neighbours_on_the_body() -> None:
    joined = {
        tuple(sorted((COCO_PERSON.names[one], COCO_PERSON.names[other])))
        for one, other in COCO_PERSON.bones
    }
    assert len(joined) == 19
    assert ("left_ankle", "left_knee") in joined
    assert ("left_hip", "right_hip") in joined
    assert ("left_ankle", "right_knee") not in joined


def test_the_upper_half_ends_at_the_wrists() -> None:
    upper = {COCO_PERSON.names[keypoint] for keypoint in COCO_PERSON.upper}
    assert "left_wrist" in upper
    assert not {name for name in upper if name.endswith(("hip", "knee", "ankle"))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mirrored": (1, 2, 0, 3, 4, 5)}, "mirroring twice must change nothing"),
        ({"grouping_order": (0, 0, 1, 2, 3, 4)}, "name each of 6 keypoints once"),
        ({"sigmas": (0.1,) * 5}, "as many sigmas greater than 0"),
        ({"sigmas": (0.0,) * 6}, "as many sigmas greater than 0"),
        ({"upper": (0, 6)}, "upper .* names keypoints of which there are 6"),
        ({"bones": ((0, 6),)}, "join keypoints of which there are 6"),
    ],
)
def test_parts_that_speak_of_other_keypoints_are_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STICK_PERSON, **change)  # type: ignore[arg-type]
