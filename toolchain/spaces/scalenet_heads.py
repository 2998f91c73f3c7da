"""What a ScaleNet ends in: one head for each kind of task. Heads are not searched.

Sources: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, and its released code: ``segmentation`` and
``pose`` (heatmaps of one person). HigherHRNet, arXiv 1908.10357, and its released code:
``bottom-up`` (heatmaps of all persons and tags that tell them apart). ``classification`` is
HRNet's body with the simplest head there is (our choice), so that every task for classifiers runs
on this space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolchain.graph import GraphBuilder
from toolchain.layers import Conv2d, ConvTranspose2d, GlobalAveragePool, Linear
from toolchain.spaces.interned import CONCAT
from toolchain.spaces.scalenet_body import add_block, upsample


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What decides the layers of a head.

    Attributes:
        width: channels of branch 0.
        classes: classes, labels or keypoints.
        deconv_blocks: residual blocks at the doubled resolution of ``bottom-up``.
    """

    width: int
    classes: int
    deconv_blocks: int


class Head(NamedTuple):
    """A head.

    Attributes:
        add: adds its layers, the last one being the output; gets the branches by name.
        reads_all_branches: or only branch 0, of the highest resolution.
    """

    add: Callable[[GraphBuilder, Sequence[str], HeadSettings], object]
    reads_all_branches: bool


def _classification(builder: GraphBuilder, maps: Sequence[str], head: HeadSettings) -> None:
    """Scores of classes from the means of all branches."""
    means = [builder.add(f"mean{branch}", GlobalAveragePool(), x) for branch, x in enumerate(maps)]
    x = builder.add("means", CONCAT, *means)
    builder.add("logits", Linear(features=head.classes), x)


def _segmentation(builder: GraphBuilder, maps: Sequence[str], head: HeadSettings) -> None:
    """Scores of labels for each pixel of branch 0, a quarter of the image in both directions."""
    same_size = [
        builder.add(f"b{branch}_up", upsample(1 << branch, "bilinear"), x) if branch else x
        for branch, x in enumerate(maps)
    ]
    x = builder.add("pyramid", CONCAT, *same_size)
    channels = sum(head.width << branch for branch in range(len(maps)))
    x = builder.add("mix", Conv2d(channels=channels, bias=True), x)
    builder.add("logits", _scores(head.classes), x)


def _pose(builder: GraphBuilder, maps: Sequence[str], head: HeadSettings) -> None:
    """A heatmap for each keypoint, a quarter of the image in both directions."""
    builder.add("heatmaps", _scores(head.classes), maps[0])


def _bottom_up(builder: GraphBuilder, maps: Sequence[str], head: HeadSettings) -> None:
    """For K keypoints 3 K maps, half of the image in both directions.

    First K heatmaps and then K tags, both computed at a quarter (``low``) and enlarged, as the
    authors do before they average; last K heatmaps computed at a half (``high``). A loss at the
    quarter reads ``low``.
    """
    low = builder.add("low", _scores(2 * head.classes), maps[0])
    x = builder.add("deconv_in", CONCAT, maps[0], low)
    x = builder.add("deconv", ConvTranspose2d(channels=head.width), x)
    for block in range(head.deconv_blocks):
        x = add_block(builder, f"deconv_n{block}", x, head.width)
    high = builder.add("high", _scores(head.classes), x)
    enlarged = builder.add("low_up", upsample(2, "bilinear"), low)
    builder.add("maps", CONCAT, enlarged, high)


def _scores(channels: int) -> Conv2d:
    return Conv2d(channels=channels, bias=True, norm=False, activation="linear")


HEADS: Mapping[str, Head] = {
    "classification": Head(_classification, reads_all_branches=True),
    "segmentation": Head(_segmentation, reads_all_branches=True),
    "pose": Head(_pose, reads_all_branches=False),
    "bottom-up": Head(_bottom_up, reads_all_branches=False),
}
"""Every head by its name."""
