"""The table of tasks: which data, of which kind, with which choices of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from toolchain.errors import DataUnusable, NameUnknown
from toolchain.kinds.classification import Classification
from toolchain.kinds.language import Language
from toolchain.kinds.pose import Pose, PoseSettings
from toolchain.kinds.segmentation import Segmentation, SegmentationSettings
from toolchain.kinds.task import Task
from toolchain.settings import override
from toolchain.tasks.camvid import load_camvid
from toolchain.tasks.cityscapes import load_cityscapes
from toolchain.tasks.classification import ClassificationData
from toolchain.tasks.coco_keypoints import load_coco_keypoints
from toolchain.tasks.fashion_mnist import load_fashion_mnist
from toolchain.tasks.image_folder import load_image_folder
from toolchain.tasks.language import BROWN_VOCABULARY, load_brown, load_language
from toolchain.tasks.people_and_shapes import people_and_shapes, stick_people
from toolchain.tasks.segmentation import SegmentationData

ImageSize = int | tuple[int, int] | None
"""Rows and columns, alike or not; None for the size that the images have."""

SCENES = (3072, 1024, 1024)
COCO_SIZES = {"top-down": (256, 192), "bottom-up": (512, 512)}
STICK_SIZES = {"top-down": (64, 48), "bottom-up": (64, 64)}
"""What networks read, by approach, where no image size is given."""


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The choices of a task that offers none."""


@dataclass(frozen=True, kw_only=True)
class DrawnSegmentationSettings(SegmentationSettings):
    """See SegmentationSettings.

    Attributes:
        scenes: How many are drawn to train on, to choose by and to report on.
    """

    scenes: tuple[int, int, int] = SCENES
    augment: Literal["none", "moves"] = "none"


@dataclass(frozen=True, kw_only=True)
class DrawnPoseSettings(PoseSettings):
    """See PoseSettings.

    Attributes:
        scenes: How many are drawn to train on, to choose by and to report on.
    """

    scenes: tuple[int, int, int] = SCENES
    sigma: float = 1.0
    augment: Literal["none", "moves"] = "none"
    half_bodies: float = 0.0
    tag_weight: float = 1e-2


@dataclass(frozen=True, kw_only=True)
class PhotographedPoseSettings(PoseSettings):
    """See PoseSettings.

    Attributes:
        longer_side: Pixels that the longer side of larger images is reduced to when they are
            read; 0 keeps their sizes.
    """

    longer_side: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longer_side < 0:
            raise ValueError(f"longer_side {self.longer_side} is out of range")


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """What a user may choose of a text.

    Attributes:
        vocabulary: Most frequent words to keep, ``<unk>`` included; 0 for all of them.
    """

    vocabulary: int = 0

    def __post_init__(self) -> None:
        if self.vocabulary < 0 or self.vocabulary == 1:
            raise ValueError(f"vocabulary is 2 or more, or 0 for all words, got {self.vocabulary}")


@dataclass(frozen=True, kw_only=True)
class BrownSettings(TextSettings):
    """See TextSettings."""

    vocabulary: int = BROWN_VOCABULARY


class Entry(NamedTuple):
    """A task of the table.

    Attributes:
        kind: What implements it.
        settings: Makes the choices that a user has, a frozen dataclass.
        load: Takes the place of the data (None when the task finds its own), the image size and
            the choices; raises DataUnusable, or ValueError for a size that cannot be.
    """

    kind: type[Task]
    settings: Callable[[], Any]
    load: Callable[[Path | None, ImageSize, Any], Task]


def entry(name: str) -> Entry:
    """What the table says of a task.

    Raises:
        NameUnknown: There is no task of this name.
    """
    if name not in TASKS:
        raise NameUnknown("task", name, TASKS)
    return TASKS[name]


def make_task_settings(name: str, values: Mapping[str, Any]) -> Any:
    """A user's choices of a task; what is not given keeps its default.

    Raises:
        NameUnknown: There is no such task or choice.
        ValueError: A value is out of range.
    """
    return override(entry(name).settings(), values)


def open_task(
    name: str, data: Path | None = None, image_size: ImageSize = None, settings: Any = None
) -> Task:
    """A task with its data.

    Args:
        name: In the table.
        data: Folder or archive of the data; None lets the task find its own.
        image_size: To resize to.
        settings: As `make_task_settings` makes them; None for the defaults.

    Raises:
        NameUnknown: There is no task of this name.
        DataUnusable: The data cannot be found or read.
        ValueError: The task cannot have images of this size.
    """
    found = entry(name)
    return found.load(data, image_size, found.settings() if settings is None else settings)


def _fashion_mnist(data: Path | None, size: ImageSize, settings: NoSettings) -> Task:
    return Classification(load_fashion_mnist(data, _side("fashion-mnist", size)))


def _image_folder(data: Path | None, size: ImageSize, settings: NoSettings) -> Task:
    path = _place("image-folder", data)
    images: ClassificationData = load_image_folder(path, _side("image-folder", size))
    return Classification(images)


def _people_and_shapes(
    data: Path | None, size: ImageSize, settings: DrawnSegmentationSettings
) -> Task:
    drawn = people_and_shapes(**_drawing("people-and-shapes", data, size, settings.scenes))
    return Segmentation(drawn, settings)


def _camvid(data: Path | None, size: ImageSize, settings: SegmentationSettings) -> Task:
    return _masked(load_camvid, "camvid", data, size, settings)


def _cityscapes(data: Path | None, size: ImageSize, settings: SegmentationSettings) -> Task:
    return _masked(load_cityscapes, "cityscapes", data, size, settings)


def _masked(
    load: Callable[[Path, tuple[int, int] | None], SegmentationData],
    name: str,
    data: Path | None,
    size: ImageSize,
    settings: SegmentationSettings,
) -> Task:
    return Segmentation(load(_place(name, data), _pair(size)), settings)


def _stick_people(data: Path | None, size: ImageSize, settings: DrawnPoseSettings) -> Task:
    network_hw = _pair(size) or STICK_SIZES[settings.approach]
    # Crops are made of scenes that are as large as the longer side of a crop.
    drawn = stick_people(
        **_drawing("stick-people", data, max(network_hw), settings.scenes),
    )
    return Pose(drawn, settings, network_hw)


def _coco_keypoints(
    data: Path | None, size: ImageSize, settings: PhotographedPoseSettings
) -> Task:
    path = _place("coco-keypoints", data)
    images = load_coco_keypoints(path, settings.longer_side or None)
    return Pose(images, settings, _pair(size) or COCO_SIZES[settings.approach])


def _brown(data: Path | None, size: ImageSize, settings: BrownSettings) -> Task:
    _require_no_size("brown", size)
    return Language(load_brown(data, settings.vocabulary or None))


def _text_folder(data: Path | None, size: ImageSize, settings: TextSettings) -> Task:
    _require_no_size("text-folder", size)
    return Language(load_language(_place("text-folder", data), settings.vocabulary or None))


def _require_no_size(name: str, size: ImageSize) -> None:
    if size is not None:
        raise ValueError(f"task {name} reads words, not images: leave --image-size out")


def _place(name: str, data: Path | None) -> Path:
    if data is None:
        raise DataUnusable(f"task {name} has no data of its own: give a folder or a tar archive")
    return data


def _drawing(
    name: str, data: Path | None, size: ImageSize, scenes: tuple[int, int, int]
) -> dict[str, Any]:
    if data is not None:
        raise DataUnusable(f"task {name} draws its own images: leave --data out, not {data}")
    if len(scenes) != 3 or min(scenes) < 1:
        raise ValueError(
            f"scenes are three numbers, 1 or more: to train on, choose by and report on; got "
            f"{scenes}"
        )
    names = ("train", "validation", "test")
    drawing: dict[str, Any] = dict(zip(names, scenes, strict=True))
    side = _side(name, size)
    return drawing if side is None else {**drawing, "side": side}


def _side(name: str, size: ImageSize) -> int | None:
    if isinstance(size, tuple):
        if size[0] != size[1]:
            raise ValueError(
                f"images of task {name} have as many rows as columns, got {size[0]},{size[1]}: "
                "give one number"
            )
        return size[0]
    return size


def _pair(size: ImageSize) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size


TASKS: Mapping[str, Entry] = {
    "fashion-mnist": Entry(Classification, NoSettings, _fashion_mnist),
    "image-folder": Entry(Classification, NoSettings, _image_folder),
    "people-and-shapes": Entry(Segmentation, DrawnSegmentationSettings, _people_and_shapes),
    "camvid": Entry(Segmentation, SegmentationSettings, _camvid),
    "cityscapes": Entry(Segmentation, SegmentationSettings, _cityscapes),
    "stick-people": Entry(Pose, DrawnPoseSettings, _stick_people),
    "coco-keypoints": Entry(Pose, PhotographedPoseSettings, _coco_keypoints),
    "brown": Entry(Language, BrownSettings, _brown),
    "text-folder": Entry(Language, TextSettings, _text_folder),
}
"""Every task by its name."""
