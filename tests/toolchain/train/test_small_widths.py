from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from toolchain.module import SubsamplingConv2d

TRAIN_NARROW = """
import sys
import torch
from toolchain.module import GraphModule
from toolchain.spaces.mobilenet import MobileNetSpace
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.tasks.classification import assemble
from toolchain.train.epoch import place, train_epoch
from toolchain.train.recipe import TrainSettings, build_optimizer, initialize

torch.set_num_threads(1)
images = torch.randint(0, 256, (256, 1, 28, 28), dtype=torch.uint8)
labels = torch.arange(256) % 10
part = (images, labels)
data = assemble("noise", train=part, test=part, classes=tuple("0123456789"))
settings = TrainSettings(epochs=1)
spaces = (
    ShrinkCnnSpace(base_width=4, stem_channels=8, input_shape=(1, 28, 28)),
    MobileNetSpace(input_shape=(1, 28, 28)),
)
module = GraphModule(spaces[int(sys.argv[1])].decode(sys.argv[2]))
initialize(module, seed=0)
place(module, "cpu")
optimizer = build_optimizer(module, settings)
for step in train_epoch(module, optimizer, data.train, settings, seed=0, epoch=0):
    assert 0 < step.loss < 100
"""


@pytest.mark.parametrize(
    ("space", "genotype"),
    [
        ("0", "c0"),
        ("1", "v2-w0.25-s1-d3"),
        ("1", "v3s-w0.25-s1-d3"),
        ("1", "v3s-w0.25-s2-d4-h"),
    ],
)
def test_narrow_networks_train_without_warning_or_corrupting_memory(
    space: str, genotype: str
) -> None:
    environment = {**os.environ, "MALLOC_CHECK_": "3", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", TRAIN_NARROW, space, genotype]
    done = subprocess.run(command, check=False, env=environment)
    assert done.returncode == 0


def test_a_subsampling_convolution_computes_the_same_in_training() -> None:
    convolution = SubsamplingConv2d(4, 8, 1, stride=2)
    for size in (7, 8):
        x_NCHW = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(convolution.train()(x_NCHW), convolution.eval()(x_NCHW))
