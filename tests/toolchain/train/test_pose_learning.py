"""Targets, losses, decoding and scores fit together: small networks learn scenes by heart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.tasks.bottom_up import SceneSettings, scenes
from toolchain.tasks.bottom_up_detections import bottom_up_detections, network_maps
from toolchain.tasks.grouping import GroupingSettings
from toolchain.tasks.keypoint_scores import keypoint_scores
from toolchain.tasks.people_and_shapes import stick_people
from toolchain.tasks.pose import PoseData, labelled_persons
from toolchain.tasks.top_down import CropSettings, crops, detections
from toolchain.train.pose_losses import heatmap_loss, masked_heatmap_loss, tag_losses

KEYPOINTS = 6
LEARNING_RATE = 4e-3
HEATMAP_WEIGHT = 100


@pytest.fixture(scope="module")
def data() -> PoseData:
    return stick_people(train=8, validation=1, test=1)


def convolution(before: int, after: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


def quarter_size() -> nn.Sequential:
    widths = ((3, 24, 2), (24, 32, 2), (32, 48, 1), (48, 48, 1), (48, 48, 1))
    return nn.Sequential(*(convolution(*width) for width in widths))


class BottomUpNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = quarter_size()
        self.low = nn.Conv2d(48, 2 * KEYPOINTS, 1)
        self.up = nn.ConvTranspose2d(48 + 2 * KEYPOINTS, 24, 4, 2, 1)
        self.high = nn.Sequential(convolution(24, 24), nn.Conv2d(24, KEYPOINTS, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        low = self.low(features)
        high = self.high(F.relu(self.up(torch.cat([features, low], dim=1))))
        return low, high


def at(step: int, steps: int, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * (1 - step / steps) ** 0.9


@pytest.mark.slow
def test_one_person_at_a_time_is_learned_by_heart(data: PoseData) -> None:
    torch.manual_seed(0)
    persons = labelled_persons(data.train)
    settings = CropSettings(rows=64, columns=48, sigma=1.5)
    cut = crops(persons, settings, data.skeleton)
    x = cut.images.float() / 255 - 0.5
    network = nn.Sequential(quarter_size(), nn.Conv2d(48, KEYPOINTS, 1))
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(200):
        at(step, 200, optimizer)
        optimizer.zero_grad()
        torch.autograd.backward(heatmap_loss(network(x), cut.heatmaps, cut.weights))
        optimizer.step()
    with torch.no_grad():
        found = detections(network.eval()(x), cut.maps, persons, settings)
    scores = keypoint_scores(data.train, found, data.skeleton)
    assert scores.ap is not None
    assert scores.ap > 0.9


@pytest.mark.slow
def test_all_people_at_once_are_learned_by_heart_and_told_apart(data: PoseData) -> None:
    torch.manual_seed(0)
    settings = SceneSettings(side=64, sigma=1.0)
    made = scenes(data.train, settings, data.skeleton)
    x = made.images.float() / 255 - 0.5
    network = BottomUpNetwork()
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(300):
        at(step, 300, optimizer)
        low, high = network(x)
        pull, push = tag_losses(low[:, KEYPOINTS:], made.places)
        error = masked_heatmap_loss(low[:, :KEYPOINTS], *made.coarse)
        error = error + masked_heatmap_loss(high, *made.fine)
        optimizer.zero_grad()
        torch.autograd.backward(HEATMAP_WEIGHT * error + pull + push)
        optimizer.step()
    with torch.no_grad():
        low, high = network.eval()(x)
    enlarged = F.interpolate(low, scale_factor=2, mode="bilinear")
    heatmaps, tags = network_maps(torch.cat([enlarged, high], dim=1), KEYPOINTS)
    found = bottom_up_detections(
        heatmaps, tags, made.maps, data.train, settings.hw, data.skeleton, GroupingSettings()
    )
    scores = keypoint_scores(data.train, found, data.skeleton)
    assert scores.ap is not None
    assert scores.ap > 0.8
    assert len(found) < 2 * len(labelled_persons(data.train))
