from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import small_config

from latency_tables.budget import Budget
from toolchain.config import RunConfig, config_from_json, make_proxy
from toolchain.errors import NameUnknown, RunUnusable
from toolchain.kinds.classification import Classification
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace
from toolchain.train.proxy import ProxySettings
from toolchain.train.recipe import TrainSettings


def stored(config: RunConfig) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_json()))


@pytest.mark.parametrize("method", ["autoshrink", "random"])
@pytest.mark.parametrize("proxy", Classification.proxies)
@pytest.mark.parametrize("budget", [None, Budget(limit_ms=0.25, confidence=0.9)])
def test_a_configuration_is_read_back_from_json(
    method: str, proxy: str, budget: Budget | None
) -> None:
    config = small_config(
        method, proxy=proxy, budget=budget, image_size=24, train_set=["schedule=cosine"]
    )
    assert config_from_json(stored(config)) == config


def test_what_is_typed_reaches_the_settings(tmp_path: Path) -> None:
    config = small_config(
        "autoshrink",
        space=ShrinkCnnSpace(nodes=6),
        data=tmp_path / "x" / ".." / "images",
        method_set=["mode=paper", "candidates_per_step=7"],
        proxy_set=["training.epochs=4", "train_per_class=9"],
        epochs=12,
        train_set=["optimizer=adam", "learning_rate=0.01"],
    )
    assert config.data == str(tmp_path / "images")
    assert (config.method_settings.mode, config.method_settings.candidates_per_step) == (
        "paper",
        7,
    )
    assert (config.proxy.training.epochs, config.proxy.train_per_class) == (4, 9)
    assert config.proxy.patience_epochs == ProxySettings.quick().patience_epochs
    assert (config.training.epochs, config.training.optimizer) == (12, "adam")


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"method": "darts"}, NameUnknown, "unknown method 'darts'"),
        ({"proxy": "slow"}, NameUnknown, "unknown proxy 'slow'; known are: paper, quick"),
        ({"method_set": ["speed=3"]}, NameUnknown, "'speed'"),
        ({"method_set": ["mode"]}, ValueError, "expected name=value, got 'mode'"),
        ({"proxy_set": ["training.epoch=3"]}, NameUnknown, "TrainSettings 'epoch'"),
        ({"proxy_set": ["train_per_class=many"]}, ValueError, "got 'many'"),
        ({"train_set": ["optimizer=lion"]}, ValueError, "optimizer is one of sgd, adam"),
        ({"train_set": ["schedule=linear"]}, ValueError, "schedule is one of one-cycle, cosine"),
        ({"train_set": ["augment=cutout"]}, ValueError, "augment is one of none, crop-flip"),
        ({"epochs": 0}, ValueError, "epochs 0 is out of range"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        small_config(**{"method_set": [], **changes})


def test_a_recipe_by_name_has_its_own_epochs_unless_told_otherwise() -> None:
    typed = {"recipe": "imagenet", "train_set": ["batch_size=32"]}
    config = small_config(epochs=None, **typed)
    assert config.training == dataclasses.replace(TrainSettings.imagenet(300), batch_size=32)
    assert config_from_json(stored(config)) == config
    short = small_config(epochs=6, **typed).training
    assert (short.epochs, short.warm_up_epochs) == (6, 0.2)


def test_a_recipe_of_no_such_name_is_refused() -> None:
    with pytest.raises(NameUnknown, match="recipe of this kind of task 'cifar'; known are: imag"):
        small_config(recipe="cifar")


def test_proxies_are_made_by_name() -> None:
    assert make_proxy(Classification, "paper", {}) == ProxySettings.paper()
    assert make_proxy(Classification, "quick", {"train_per_class": 3}).train_per_class == 3


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.pop("seed"),
        lambda data: data.pop("space"),
        lambda data: data.update(space="shrinkcnn"),
        lambda data: data["space"]["settings"].update(nodes=99),
        lambda data: data["training"].update(epochs="many"),
        lambda data: data.update(budget={"limit_ms": -1}),
        lambda data: data.update(budget={"milliseconds": 1}),
    ],
)
def test_a_damaged_configuration_is_refused(edit: Edit) -> None:
    data = stored(small_config())
    edit(data)
    with pytest.raises(RunUnusable, match=r"config\.json is damaged or of another version"):
        config_from_json(data)


def test_names_of_another_version_are_refused() -> None:
    for part, name in (("space", "of-tomorrow"), ("method", "to-come")):
        data = stored(small_config())
        data[part]["name"] = name
        with pytest.raises(NameUnknown, match=name):
            config_from_json(data)
