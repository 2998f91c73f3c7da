from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toolchain.errors import DataUnusable
from toolchain.tasks.coco_keypoints import load_coco_keypoints
from toolchain.tasks.keypoint_scores import keypoint_scores
from toolchain.tasks.pose import labelled_persons
from toolchain.tasks.skeleton import COCO_PERSON
from toolchain.tasks.top_down import CropSettings, crops, detections

DATA = Path(os.environ.get("POCKETNAS_DATA", "/nonexistent"))
PERSON = {"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETNAS_CACHE", str(tmp_path / "cache"))


def person(number: int, image: int, **changes: Any) -> dict[str, Any]:
    """A person whose keypoint k is at (k, 2 k), all visible but the last."""
    keypoints = [value for k in range(17) for value in (k, 2 * k, 2 if k < 16 else 0)]
    plain = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": 16,
        "bbox": [0, 0, 16, 32],
        "area": 300.5,
        "iscrowd": 0,
        "segmentation": [[0, 0, 16, 0, 16, 32]],
    }
    return {**plain, **changes}


def write(root: Path, part: str, people: list[dict[str, Any]], images: int = 2) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / part).mkdir(exist_ok=True)
    listed = []
    for number in range(1, images + 1):
        name = f"{number:012d}.png"
        Image.fromarray(np.full((40, 30, 3), number, dtype=np.uint8)).save(root / part / name)
        listed.append({"id": number, "file_name": name, "width": 30, "height": 40})
    content = {"images": listed, "annotations": people, "categories": [PERSON]}
    (root / "annotations" / f"person_keypoints_{part}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images to train on, with people in the first alone; two to test on, likewise."""
    root = tmp_path / "coco"
    nobody = person(3, 1, keypoints=[0] * 51, num_keypoints=0)
    nobody["segmentation"] = [[20, 20, 28, 20, 28, 30, 20, 30]]
    write(root, "train2017", [person(1, 1), nobody])
    write(root, "val2017", [person(2, 2, area=0)])
    return root


def test_people_are_those_of_the_file(folder: Path) -> None:
    data = load_coco_keypoints(folder)
    (image,) = data.train
    assert image.pixels.unique().tolist() == [1]
    assert image.pixels.shape == (3, 40, 30)
    assert image.points[0].tolist() == [[k, 2 * k] for k in range(17)]
    assert image.visibility[0].tolist() == [2] * 16 + [0]
    assert image.boxes[0].tolist() == [0, 0, 16, 32]
    assert image.areas[0].item() == 300.5
    assert [one.row for one in labelled_persons(data.train)] == [0]


def test_images_without_people_are_tested_on_but_not_trained_on(folder: Path) -> None:
    data = load_coco_keypoints(folder)
    assert [image.number for image in data.train] == [1]
    assert [image.number for image in data.test] == [1, 2]
    assert data.test[0].points.shape == (0, 17, 2)
    assert data.test[1].areas.tolist() == [1.0]
    assert data.validation is None
    with pytest.raises(DataUnusable, match="coco-keypoints has 1 training images; 1 for validat"):
        data.split(validation=1, seed=0)


def test_people_without_keypoints_are_marked_as_unlabelled(folder: Path) -> None:
    unlabelled = load_coco_keypoints(folder).train[0].unlabelled
    assert unlabelled is not None
    expected = torch.zeros(40, 30, dtype=torch.bool)
    expected[20:30, 20:28] = True
    # A polygon of Pillow holds its border.
    assert (unlabelled ^ expected).sum() <= 2 * (10 + 8) + 4
    assert unlabelled[21:29, 21:27].all()
    assert load_coco_keypoints(folder).test[1].unlabelled is None


def test_crowds_are_outlined_by_run_lengths_down_the_columns(folder: Path) -> None:
    # Two columns outside, then one and a half inside.
    counts = [80, 60, 30 * 40 - 140]
    crowd = person(
        4, 2, iscrowd=1, keypoints=[0] * 51, segmentation={"counts": counts, "size": [40, 30]}
    )
    write(folder, "train2017", [person(1, 1), crowd])
    image = load_coco_keypoints(folder).train[1]
    assert image.unlabelled is not None
    assert image.unlabelled[:, 2].all()
    assert image.unlabelled[:20, 3].all()
    assert image.unlabelled.sum() == 60
    assert image.is_crowd.tolist() == [True]


def test_reduced_images_take_their_keypoints_along(folder: Path) -> None:
    image = load_coco_keypoints(folder, longer_side=20).train[0]
    assert image.pixels.shape == (3, 20, 15)
    assert image.points[0, 4].tolist() == [1.75, 3.75]
    assert image.boxes[0].tolist() == [0, 0, 8, 16]
    assert image.areas[0].item() == pytest.approx(300.5 / 4)
    assert image.unlabelled is not None
    assert image.unlabelled.shape == (20, 15)
    assert load_coco_keypoints(folder, longer_side=99).train[0].pixels.shape == (3, 40, 30)


def edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        file = root / "annotations" / "person_keypoints_train2017.json"
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "annotations/person_keypoints_val2017.json").unlink(),
            "val2017.json is missing: expected COCO's keypoint annotations",
        ),
        (
            lambda root: (root / "annotations/person_keypoints_val2017.json").write_text("{"),
            "val2017.json is not readable JSON",
        ),
        (lambda root: (root / "annotations").rename(root / "a"), "has no annotations/ folder"),
        (
            edited(lambda content: content["categories"][0].update(keypoints=["nose"])),
            "does not describe persons of COCO's 17 keypoints, nose to right_ankle",
        ),
        (edited(lambda content: content.pop("annotations")), "KeyError: 'annotations'"),
        (edited(lambda content: content["annotations"][0].pop("bbox")), "KeyError: 'bbox'"),
        (
            edited(lambda content: content["annotations"][0].update(keypoints=[1, 2])),
            "person 1 of train2017 has 2 numbers of keypoints, not 17 times",
        ),
        (
            edited(lambda content: content["annotations"][0].update(image_id=77)),
            "has keypoints of 1 images that it does not list, such as 77",
        ),
        (
            edited(lambda content: content["images"][0].update(width=31)),
            "png is 30x40 but its annotations are of an image of 31x40",
        ),
        (
            edited(
                lambda content: content["annotations"][1].update(segmentation={"counts": [3, 4]})
            ),
            "the outline of person 3 is not the lengths of runs over 30x40 pixels",
        ),
        (
            lambda root: (root / "train2017/000000000001.png").unlink(),
            r"000000000001.png is not a readable image",
        ),
        (
            lambda root: write(root, "val2017", []),
            "none of the 2 test images of coco-keypoints has a person with labelled keypoints",
        ),
    ],
)
def test_each_damage_is_told_in_one_line_with_its_place(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(DataUnusable, match=message) as caught:
        load_coco_keypoints(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "coco_persons.tar").is_file(), reason="POCKETNAS_DATA has no coco_persons.tar"
)
def test_targets_of_real_people_lead_back_to_them() -> None:
    data = load_coco_keypoints(DATA / "coco_persons.tar")
    assert len(data.train) + len(data.test) == 101
    persons = labelled_persons(data.test)
    cut = crops(persons, CropSettings(), COCO_PERSON)
    found = detections(cut.heatmaps, cut.maps, persons, CropSettings())
    scores = keypoint_scores(data.test, found, COCO_PERSON)
    assert scores.ap is not None
    assert scores.ap > 0.98
