"""Cityscapes: streets of 50 cities, 2048x1024, 19 classes.

Source: The Cityscapes Dataset for Semantic Urban Scene Understanding, arXiv 1604.01685; ids and
colors are those of its authors' scripts.

The layout is the authors': `leftImg8bit/PART/CITY/NAME_leftImg8bit.png` with
`gtFine/PART/CITY/NAME_gtFine_labelIds.png` (or `..._labelTrainIds.png`). The masks of the
authors' `test` are not public, so papers report on `val`; it is our test set, and what a search
chooses by is drawn from `train`.

All images are held in memory: 3,475 of them take 22 GB at full size, 1.4 GB at 512x256.
"""

from __future__ import annotations

from pathlib import Path

from toolchain.errors import DataUnusable
from toolchain.tasks.archive import data_folder
from toolchain.tasks.label_map import LabelMap, class_ids
from toolchain.tasks.masked_files import MaskedFile, paired, read_masked
from toolchain.tasks.segmentation import (
    IGNORE,
    Color,
    SegmentationData,
    assemble_segmentation,
)

LABELS: dict[str, tuple[int, Color]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Id and color of each class that counts, in the order of the train ids."""

IDS = 34
"""Ids 0 to 33; those of no class that counts are ignored."""

CLASSES = tuple(LABELS)
COLORS = tuple(color for _, color in LABELS.values())
IMAGE_ENDING = "_leftImg8bit.png"
MASK_ENDINGS = {
    "_gtFine_labelIds.png": LabelMap(
        ids=dict.fromkeys(range(IDS), IGNORE)
        | {own_id: label for label, (own_id, _) in enumerate(LABELS.values())}
    ),
    "_gtFine_labelTrainIds.png": LabelMap(ids=class_ids(len(LABELS))),
}


def load_cityscapes(path: Path, size_HW: tuple[int, int] | None = None) -> SegmentationData:
    """Load Cityscapes from a folder or a tar archive of one.

    Args:
        path: Folder that holds `leftImg8bit/` and `gtFine/`, directly or one folder down; or a
            tar archive of such a folder.
        size_HW: Rows and columns to resize images and masks to; None keeps their size.

    Raises:
        DataUnusable: Something is missing, broken, or not laid out like that.
    """
    root = data_folder(path, "leftImg8bit")
    ending = next(
        (ending for ending in MASK_ENDINGS if any(root.glob(f"gtFine/train/*/*{ending}"))), None
    )
    if ending is None:
        raise DataUnusable(
            f"{root / 'gtFine' / 'train'} has no masks: expected CITY/*{next(iter(MASK_ENDINGS))}"
        )
    parts = [_files(root, part, ending) for part in ("train", "val")]
    train, test = read_masked(parts, MASK_ENDINGS[ending], size_HW, root)
    return assemble_segmentation(
        "cityscapes", train=train, validation=None, test=test, classes=CLASSES, colors=COLORS
    )


def _files(root: Path, part: str, ending: str) -> list[MaskedFile]:
    folder = root / "leftImg8bit" / part
    files = sorted(folder.glob(f"*/*{IMAGE_ENDING}"))
    masks = {
        file.name.removesuffix(ending) + IMAGE_ENDING.removesuffix(".png"): file
        for file in root.glob(f"gtFine/{part}/*/*{ending}")
    }
    return paired(files, masks, folder)
