from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from toolchain.errors import CheckpointUnusable
from toolchain.train.checkpoint import (
    load_checkpoint,
    load_weights,
    read_metadata,
    save_checkpoint,
    save_weights,
)
from toolchain.train.recipe import TrainSettings, build_optimizer

SETTINGS = TrainSettings(epochs=3)


def small_net(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width))


def test_weights_buffers_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    saved = small_net().to(memory_format=torch.channels_last)
    saved.train()(torch.randn(4, 1, 8, 8))
    save_weights(path, saved, {"genotype": "c3-c1", "graph": '{"layers": []}'})
    loaded = small_net()
    assert load_weights(path, loaded) == {"genotype": "c3-c1", "graph": '{"layers": []}'}
    assert read_metadata(path)["genotype"] == "c3-c1"
    for name, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_tied_weights_come_back_tied(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 3, bias=False)
            self.two = nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.two(self.one(x))
            return y

    saved, loaded = Tied(), Tied()
    save_weights(tmp_path / "tied.safetensors", saved, {})
    load_weights(tmp_path / "tied.safetensors", loaded)
    assert torch.equal(loaded.one.weight, saved.one.weight)
    assert loaded.two.weight is loaded.one.weight


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(path, small_net(4), {})
    with pytest.raises(CheckpointUnusable, match="holds the weights of another network"):
        load_weights(path, small_net(5))


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(CheckpointUnusable, match=r"net.safetensors cannot be read"):
        read_metadata(path)
    path.write_bytes(b"broken")
    with pytest.raises(CheckpointUnusable, match=r"net.safetensors cannot be read"):
        load_weights(path, small_net())


def test_a_checkpoint_of_another_recipe_or_seed_is_refused(tmp_path: Path) -> None:
    path, module = tmp_path / "state.safetensors", small_net()
    optimizer = build_optimizer(module, SETTINGS)
    save_checkpoint(path, module, optimizer, epochs_done=2, settings=SETTINGS, seed=5)
    assert load_checkpoint(path, module, optimizer, settings=SETTINGS, seed=5) == 2
    for settings, seed in ((TrainSettings(epochs=4), 5), (SETTINGS, 6)):
        with pytest.raises(CheckpointUnusable, match="belongs to a training with"):
            load_checkpoint(path, module, optimizer, settings=settings, seed=seed)


def test_plain_weights_are_no_checkpoint(tmp_path: Path) -> None:
    path, module = tmp_path / "net.safetensors", small_net()
    save_weights(path, module, {})
    optimizer = build_optimizer(module, SETTINGS)
    with pytest.raises(CheckpointUnusable, match="is no training checkpoint"):
        load_checkpoint(path, module, optimizer, settings=SETTINGS, seed=0)
