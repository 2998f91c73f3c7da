"""CamVid: frames of driving through Cambridge, 11 classes.

Source: Semantic object classes in video: A high-definition ground truth database, Pattern
Recognition Letters 30 (2009). The 32 classes of the authors are merged into the 11 of SegNet
(arXiv 1511.00561), in its order; SegNet's parts are 367, 101 and 233 frames.

Two layouts: `train/` beside `trainannot/` (SegNet's, masks of ids 0 to 11, the last one void), and
`train/` beside `train_labels/` (masks `NAME_L.png` in the authors' colors). `val` and `test`
likewise.
"""

from __future__ import annotations

from pathlib import Path

from toolchain.errors import DataUnusable
from toolchain.tasks.archive import data_folder
from toolchain.tasks.image_file import IMAGE_SUFFIXES
from toolchain.tasks.label_map import LabelMap, class_ids
from toolchain.tasks.masked_files import MaskedFile, paired, read_masked
from toolchain.tasks.segmentation import (
    IGNORE,
    Color,
    SegmentationData,
    assemble_segmentation,
)

MERGED: dict[str, dict[str, Color]] = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0),
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {
        "Road": (128, 64, 128),
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
    },
    "pavement": {
        "Sidewalk": (0, 0, 192),
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
    },
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {
        "SignSymbol": (192, 128, 128),
        "Misc_Text": (128, 128, 64),
        "TrafficLight": (0, 64, 64),
    },
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}
"""The authors' classes and colors by the class that they are merged into, in label order."""

VOID: Color = (0, 0, 0)
CLASSES = tuple(MERGED)
COLORS = tuple(next(iter(own.values())) for own in MERGED.values())
VOID_ID = len(CLASSES)
PARTS = ("train", "val", "test")


def load_camvid(path: Path, size_HW: tuple[int, int] | None = None) -> SegmentationData:
    """Load CamVid from a folder or a tar archive of one.

    Args:
        path: Folder that holds `train/` and its companions, directly or one folder down; or a
            tar archive of such a folder.
        size_HW: Rows and columns to resize images and masks to; None keeps their size.

    Raises:
        DataUnusable: Something is missing, broken, or not laid out like that.
    """
    root = data_folder(path, "train")
    ids = {**class_ids(len(CLASSES)), VOID_ID: IGNORE}
    colors = {color: label for label, own in enumerate(MERGED.values()) for color in own.values()}
    labels = LabelMap(ids=ids, colors={**colors, VOID: IGNORE})
    train, validation, test = read_masked(
        [_files(root, part) for part in PARTS], labels, size_HW, root
    )
    return assemble_segmentation(
        "camvid", train=train, validation=validation, test=test, classes=CLASSES, colors=COLORS
    )


def _files(root: Path, part: str) -> list[MaskedFile]:
    folder = root / part
    if not folder.is_dir():
        raise DataUnusable(f"{root} has no {part}/ folder: expected {', '.join(PARTS)}")
    companions = (root / f"{part}annot", root / f"{part}_labels")
    masks = next((found for found in companions if found.is_dir()), None)
    if masks is None:
        raise DataUnusable(f"{folder} has no masks: expected {part}annot/ or {part}_labels/")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    by_name = {file.stem.removesuffix("_L"): file for file in masks.glob("*.png")}
    return paired(files, by_name, folder)
