"""Published networks of the ScaleNet space, and the ends of the space.

Sources:
    scalenet-s1, -s2, -p1, -p2: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, tables 1 and 2; their
        depths and fusions are the masks that came with the released code.
    hrnet-*: HRNet, arXiv 1908.07919: the network of the space whose branches are all of depth 4
        and fused at the end of every module.
    higherhrnet-w32: HigherHRNet, arXiv 1908.10357: the same body.

Parameters are stated with batch norm. The authors count multiply-accumulates of convolutions alone
and print them divided by 2**30, at 1024x2048 for segmentation and 256x192 for poses; HigherHRNet's
by 10**9, at 512x512. These are the figures of ``pocketnas zoo show``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from toolchain.spaces.scalenet import PAPER, ScaleNetSpace
from toolchain.spaces.scalenet_json import CLASSES, Architecture

SEGMENTATION_W32 = ScaleNetSpace(
    head="segmentation", classes=CLASSES["segmentation"], input_shape=(3, 1024, 2048), **PAPER
)
"""Cityscapes outline of the paper."""

POSE_W32 = ScaleNetSpace(head="pose", classes=CLASSES["pose"], input_shape=(3, 256, 192), **PAPER)
"""COCO outline of the paper, for one person."""

BOTTOM_UP_W32 = replace(POSE_W32, head="bottom-up", input_shape=(3, 512, 512))
"""COCO outline of HigherHRNet, for all persons of an image."""

SEGMENTATION_W48 = replace(SEGMENTATION_W32, width=48)
POSE_W48 = replace(POSE_W32, width=48)
"""The paper's wider networks."""

HRNET_DEPTH = 4

S1 = (
    "202.0010/240.05.303/42.40.10/64.05.21/62.551.32/ae.14.30.275/84.cd5.92b.161/ee8.c5c4.ba2.4675"
)
S2 = (
    "022.1111/024.1554.2132/660.5005.223/24.55.12/260.400.301/a2e.8d1.322.763/eea8.5dd.3a8b.713/"
    "ee8.c5c4.ba2.4675"
)
P1 = (
    "202.0101/624.440.1021/4606.5555.313/6606.1154.133/6240.1515.020/eea.09c1.b23.271/"
    "8ee.9948.8239.7766/e6e.8580.8a0.560"
)
P2 = (
    "00220.01000/246.414.0222/6602.5541.332/66246.41545.2331/6204.0505.1113/e2ee.c1dc1.8ab0.37366/"
    "ee0.d51c.8931.7626/eeee.cdcd0.bbb0.3760"
)

_NETWORKS = (
    ("scalenet-s1", SEGMENTATION_W32, S1),
    ("scalenet-s2", SEGMENTATION_W32, S2),
    ("scalenet-p1", POSE_W32, P1),
    ("scalenet-p2", POSE_W32, P2),
    ("scalenet-w32-smallest", SEGMENTATION_W32, SEGMENTATION_W32.smallest()),
    ("scalenet-w32-largest", SEGMENTATION_W32, SEGMENTATION_W32.largest()),
    ("scalenet-w48-smallest", SEGMENTATION_W48, SEGMENTATION_W48.smallest()),
    ("scalenet-w48-largest", SEGMENTATION_W48, SEGMENTATION_W48.largest()),
    ("hrnet-w32", SEGMENTATION_W32, SEGMENTATION_W32.regular(HRNET_DEPTH)),
    ("hrnet-w48", SEGMENTATION_W48, SEGMENTATION_W48.regular(HRNET_DEPTH)),
    ("hrnet-w32-pose", POSE_W32, POSE_W32.regular(HRNET_DEPTH)),
    ("hrnet-w48-pose", POSE_W48, POSE_W48.regular(HRNET_DEPTH)),
    ("higherhrnet-w32", BOTTOM_UP_W32, BOTTOM_UP_W32.regular(HRNET_DEPTH)),
)

SCALENETS: Mapping[str, Architecture] = {
    name: Architecture(name, space, genotype) for name, space, genotype in _NETWORKS
}
"""Every network by its name."""
