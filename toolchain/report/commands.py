"""The commands that made a run, or that would go on with it, to be copied from the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolchain.config import PROXIES
from toolchain.methods.method import make_settings
from toolchain.report.content import Content
from toolchain.spaces.space import make_space, space_to_json
from toolchain.train.recipe import TrainSettings

FROM_DATA = ("input_shape", "classes")
"""Settings of a space that the task's data decide."""


def search_command(content: Content, folder: Path) -> str:
    """The search that has the run's configuration.

    Args:
        content: the run.
        folder: where the command is to put its run.
    """
    config = content.config
    method, space = config["method"], config["space"]
    proxy, proxy_defaults = _nearest_proxy(config["proxy"])
    words = ["pocketnas", "search", "--output", str(folder), "--task", config["task"]]
    for option, value in (("--data", config["data"]), ("--image-size", config["image_size"])):
        if value is not None:
            words += [option, str(value)]
    space_defaults = space_to_json(make_space(space["name"], {}))["settings"]
    space_settings = {
        name: value for name, value in space["settings"].items() if name not in FROM_DATA
    }
    words += ["--space", space["name"], *_changed("--set", space_settings, space_defaults)]
    method_defaults = asdict(make_settings(method["name"], {}))
    words += ["--method", method["name"]]
    words += _changed("--method-set", method["settings"], method_defaults)
    words += ["--proxy", proxy, *_changed("--proxy-set", config["proxy"], proxy_defaults)]
    epochs = config["training"]["epochs"]
    training_defaults = asdict(TrainSettings(epochs=epochs))
    words += ["--epochs", str(epochs)]
    words += _changed("--train-set", config["training"], training_defaults)
    if content.table is not None:
        words += ["--table", str(_table_path(content))]
    if content.budget is not None:
        words += ["--budget-ms", repr(content.budget.limit_ms)]
        words += ["--confidence", repr(content.budget.confidence)]
    return shlex.join([*words, "--seed", str(config["seed"])])


def resume_command(content: Content) -> str:
    """Goes on with the run's search."""
    return f"{search_command(content, content.path)} --resume"


def train_command(content: Content) -> str:
    """Trains the run's answer."""
    return shlex.join(["pocketnas", "train", str(content.path)])


def export_command(content: Content) -> str:
    """Exports the run's trained network."""
    return shlex.join(["pocketnas", "export", str(content.path)])


def benchmark_command(content: Content) -> str:
    """Measures the run's exported network and keeps the result in the folder."""
    words = ["pocketnas", "benchmark", str(content.path / "network.tflite")]
    if content.table is not None:
        words += ["--table", str(_table_path(content))]
    if content.budget is not None:
        words += ["--budget-ms", repr(content.budget.limit_ms)]
    return shlex.join(words) + f" --json > {shlex.quote(str(content.path / 'benchmark.json'))}"


def _table_path(content: Content) -> Path:
    return content.path / "latency.table"


def _nearest_proxy(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The named proxy with the fewest settings that differ, and its settings."""
    named = {name: asdict(make()) for name, make in PROXIES.items()}
    nearest = min(named, key=lambda name: len(_changed("", settings, named[name])))
    return nearest, named[nearest]


def _changed(option: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Words that set what differs from the defaults."""
    plain_defaults = flatten(defaults)
    words = []
    for name, value in flatten(settings).items():
        if value != plain_defaults.get(name):
            words += [option, f"{name}={value}"]
    return words


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with dots in the names and lists as tuples."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = tuple(value) if isinstance(value, list) else value
    return flat
