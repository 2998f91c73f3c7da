"""People with keypoints in the layout of COCO, in folders and JSON.

Source: Microsoft COCO: Common Objects in Context, arXiv 1405.0312.

`annotations/person_keypoints_train2017.json` describes the images in `train2017/`, and `val2017`
likewise. Papers report on `val2017`; it is our test set, and what a search chooses by is drawn
from `train2017`. Training images without people are left out.

All images are held in memory, some 0.9 MB each at their own size: full COCO has 64,000 training
images with people, 14 GB at a longer side of 320.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from toolchain.errors import DataUnusable
from toolchain.tasks.archive import data_folder
from toolchain.tasks.image_file import opened
from toolchain.tasks.pose import PoseData, PoseImage, assemble_pose
from toolchain.tasks.skeleton import COCO_PERSON

logger = logging.getLogger(__name__)

PARTS = ("train2017", "val2017")
KEYPOINTS = len(COCO_PERSON)

Entry = dict[str, Any]


def load_coco_keypoints(path: Path, longer_side: int | None = None) -> PoseData:
    """Load people with keypoints from a folder or a tar archive of one.

    Args:
        path: Folder that holds `annotations/`, `train2017/` and `val2017/`, directly or one
            folder down; or a tar archive of such a folder.
        longer_side: Pixels that the longer side of larger images is reduced to; None keeps sizes.

    Raises:
        DataUnusable: Something is missing, broken, or not laid out like that.
    """
    root = data_folder(path, "annotations")
    train, test = (_load_part(root, part, longer_side) for part in PARTS)
    with_people = [image for image in train if len(image.points)]
    return assemble_pose(
        "coco-keypoints", COCO_PERSON, train=with_people, validation=None, test=test
    )


def _load_part(root: Path, part: str, longer_side: int | None) -> list[PoseImage]:
    file = root / "annotations" / f"person_keypoints_{part}.json"
    content = _content(file)
    entries: dict[int, list[Entry]] = defaultdict(list)
    try:
        for entry in content["annotations"]:
            entries[entry["image_id"]].append(entry)
        images = sorted(content["images"], key=lambda image: int(image["id"]))
        if strangers := entries.keys() - {image["id"] for image in images}:
            raise DataUnusable(
                f"{file} has keypoints of {len(strangers)} images that it does not list, such as "
                f"{min(strangers)}: fetch it again"
            )
        return [_image(root / part, image, entries[image["id"]], longer_side) for image in images]
    except (KeyError, TypeError) as problem:
        raise DataUnusable(
            f"{file} is not laid out as COCO's keypoints are ({type(problem).__name__}: "
            f"{problem}): give COCO's own file"
        ) from problem


def _content(file: Path) -> Entry:
    try:
        content: Entry = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataUnusable(f"{file} is missing: expected COCO's keypoint annotations") from None
    except (OSError, ValueError) as problem:
        raise DataUnusable(f"{file} is not readable JSON ({problem}): fetch it again") from problem
    categories = content.get("categories", ()) if isinstance(content, dict) else ()
    named = [tuple(category.get("keypoints", ())) for category in categories]
    if COCO_PERSON.names not in named:
        raise DataUnusable(
            f"{file} does not describe persons of COCO's {KEYPOINTS} keypoints, "
            f"{COCO_PERSON.names[0]} to {COCO_PERSON.names[-1]}: give COCO's own file"
        )
    return content


def _image(
    folder: Path, listed: Entry, entries: list[Entry], longer_side: int | None
) -> PoseImage:
    file = folder / listed["file_name"]
    with opened(file) as image:
        pixels = image.convert("RGB")
    if pixels.size != (listed["width"], listed["height"]):
        raise DataUnusable(
            f"{file} is {pixels.width}x{pixels.height} but its annotations are of an image of "
            f"{listed['width']}x{listed['height']}: use the original image"
        )
    unlabelled = _unlabelled(entries, pixels.size)
    scale = 1.0 if longer_side is None else min(1.0, longer_side / max(pixels.size))
    if scale < 1:
        size = (max(1, round(scale * pixels.width)), max(1, round(scale * pixels.height)))
        pixels = pixels.resize(size, Image.Resampling.BILINEAR)
        unlabelled = unlabelled and unlabelled.resize(size, Image.Resampling.NEAREST)
    # One scale for both axes moves a keypoint by less than half a pixel of the reduced image.
    keypoints_PK3 = torch.tensor(
        [_keypoints(entry, folder) for entry in entries], dtype=torch.float32
    ).reshape(len(entries), KEYPOINTS, 3)
    boxes_P4 = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float32)
    return PoseImage(
        number=int(listed["id"]),
        pixels=torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous(),
        points=scale * (keypoints_PK3[..., :2] + 0.5) - 0.5,
        visibility=keypoints_PK3[..., 2].byte(),
        boxes=scale * boxes_P4.reshape(len(entries), 4),
        areas=torch.tensor([scale**2 * max(1.0, entry["area"]) for entry in entries]),
        is_crowd=torch.tensor([bool(entry["iscrowd"]) for entry in entries], dtype=torch.bool),
        unlabelled=None if unlabelled is None else torch.from_numpy(np.array(unlabelled)) > 0,
    )


def _keypoints(entry: Entry, folder: Path) -> list[list[float]]:
    values = entry["keypoints"]
    if len(values) != 3 * KEYPOINTS:
        raise DataUnusable(
            f"person {entry['id']} of {folder.name} has {len(values)} numbers of keypoints, not "
            f"{KEYPOINTS} times x, y and visibility: fetch the annotations again"
        )
    return [values[start : start + 3] for start in range(0, len(values), 3)]


def _unlabelled(entries: list[Entry], size: tuple[int, int]) -> Image.Image | None:
    """Mark crowds, and people of whom no keypoint is labelled."""
    without = [entry for entry in entries if not any(entry["keypoints"][2::3])]
    if not without:
        return None
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for entry in without:
        outline = entry.get("segmentation") or []
        if isinstance(outline, dict):
            mask.paste(255, mask=_run_lengths(outline["counts"], size, entry["id"]))
        for polygon in outline if isinstance(outline, list) else ():
            draw.polygon([x - 0.5 for x in polygon], fill=255)
    return mask


def _run_lengths(counts: list[int] | str, size: tuple[int, int], person: int) -> Image.Image:
    """Draw runs of pixels, outside and inside in turn, down one column after the other."""
    width, height = size
    if isinstance(counts, str) or sum(counts) != width * height:
        raise DataUnusable(
            f"the outline of person {person} is not the lengths of runs over {width}x{height} "
            "pixels: give COCO's own file"
        )
    is_inside = np.arange(len(counts)) % 2 == 1
    inside = np.repeat(is_inside, counts)
    return Image.fromarray(np.where(inside, 255, 0).astype(np.uint8).reshape(width, height).T)
